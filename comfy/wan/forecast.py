"""What becomes of a graph on one card, and how long it takes there: memory, seconds, how each is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from comfy.wan.fit import Fit, ModelSizes, fate, fit
from comfy.wan.memory import RESERVE_BYTES
from comfy.wan.models import GIB
from comfy.wan.pace_book import PaceBook
from comfy.wan.paces import PaceKey
from comfy.wan.phase_times import HOST_MARGIN_BYTES, phase_times
from comfy.wan.precision import Precision
from comfy.wan.speed import GB, GGUF_SLOWER, Estimate, Rate, forward_flops, link_bytes_per_s, rate_of
from comfy.wan.weights import Weights
from comfy.wan.workload import DEFAULT_ATTENTION, StageLoad, Workload

EMULATED: Final = "emulated"  # the name of its card, so that its seconds stay among themselves
_STREAMED: Final = "streamed"
_CPU: Final = "cpu"
_WARM_PHASES: Final = ("swap", "text", "vae", "frames", "save")  # of every job, beside its steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A card on which the graph might run: a live worker's, or one by name."""

    name: str  # of the worker, or of the card
    gpu: str  # as NVML names it; `EMULATED` where nothing is computed
    free_bytes: int  # of the card, before anything is loaded
    reserve_bytes: int = RESERVE_BYTES
    ram_bytes: int | None = None  # of the host; None: not known
    streamed_bytes: int | None = None  # of a model in each pass, as a log says; None: as sizes tell
    mode: str = "balanced"  # the load mode
    comfyui: str = ""  # its version
    attention: str = DEFAULT_ATTENTION  # what it was started with; a graph may ask for another


@dataclass(frozen=True, slots=True, kw_only=True)
class StageForecast:
    """One sampler on that card."""

    label: str
    fate: str  # "whole", "streams 23%", "too small"
    steps: int | None
    step: Estimate | None  # None: nobody knows this card's rate
    whole: Estimate | None  # all steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A graph on one card."""

    target: Target
    fate: str  # in the words of docs/load-modes.md, for the largest stage and the VAE
    runs: bool
    stages: tuple[StageForecast, ...]
    phases: Mapping[str, Estimate]  # "swap", "vae", "frames", "save", "load" (of a cold worker), "text"
    warm: Estimate | None  # seconds of a job whose models were loaded by the one before
    cold: Estimate | None  # of the first job
    notes: tuple[str, ...]


def forecast(work: Workload, target: Target, book: PaceBook) -> Forecast:
    """Say what becomes of the graph there. Without a rate for the card the seconds stay open."""
    found = fit(target.free_bytes, _sizes(work), reserve_bytes=target.reserve_bytes)
    emulated = target.gpu == EMULATED
    stages = tuple(_stage(stage, work, target, book) for stage in work.stages)
    phases = {} if emulated else phase_times(work, target.gpu, found, target.ram_bytes)
    phases |= _measured_phases(work, target, book)
    warm = _sum([stage.whole for stage in stages])
    for name in _WARM_PHASES:
        if warm is not None and name in phases:
            warm = warm.plus(phases[name])
    cold = warm.plus(phases["load"]) if warm is not None and "load" in phases else None
    runs = found.runs or emulated or target.mode == _CPU
    return Forecast(
        target=target,
        fate=_fate(target, found, len(work.experts())),
        runs=runs,
        stages=stages,
        phases=phases,
        warm=warm if runs else None,
        cold=cold if runs else None,
        notes=tuple(_notes(work, target, stages)),
    )


def host_bytes(work: Workload) -> int:
    """Host memory that a worker should have: all files, a margin, and the decoded frames."""
    return work.file_bytes + HOST_MARGIN_BYTES + work.frame_bytes


def pace_key(what: str, stage: StageLoad, work: Workload, target: Target) -> PaceKey:
    """Under which kind of job the farm remembers what this takes."""
    return PaceKey(
        what=what,
        gpu=target.gpu,
        family=stage.weights.family.name,
        precision=stage.weights.precision.value,
        size=stage.size.name,
        passes=stage.passes,
        mode=target.mode,
        attention=target.attention if work.attention == DEFAULT_ATTENTION else work.attention,
        loras=stage.loras,
        comfyui=target.comfyui,
        extra=stage.extra,
    )


def _all(target: Target) -> bool:
    return target.mode == _STREAMED


def _fate(target: Target, found: Fit, experts: int) -> str:
    if target.gpu == EMULATED:
        return "computes nothing"
    if target.mode == _CPU:
        return "on the CPU"
    return fate(found, experts=experts, streamed=_all(target))


def _layer_bytes(weights: Weights) -> int:
    return weights.family.largest_layer_bytes * (2 if weights.precision is Precision.WIDE else 1)


def _sizes(work: Workload) -> ModelSizes:
    largest = max(work.stages, key=lambda stage: stage.memory.activation_bytes)
    return ModelSizes(
        experts=tuple(sorted((each.resident_bytes for each in work.experts()), reverse=True)),
        others=work.of_folder("text_encoders", "vae", "loras", "clip_vision", "audio_encoders"),
        activations=largest.memory.activation_bytes,
        decode=work.decode_bytes,
        layer=max(_layer_bytes(each) for each in work.experts()),
    )


def _stage(stage: StageLoad, work: Workload, target: Target, book: PaceBook) -> StageForecast:
    sizes = ModelSizes(
        experts=(stage.weights.resident_bytes,),
        activations=stage.memory.activation_bytes,
        decode=0,
        layer=_layer_bytes(stage.weights),
    )
    found = fit(target.free_bytes, sizes, reserve_bytes=target.reserve_bytes)
    measured = book.seconds(pace_key("step", stage, work, target))
    rate = rate_of(target.gpu, stage.weights.precision)
    step = measured or (_derived_step(stage, target, found, rate) if rate is not None else None)
    return StageForecast(
        label=stage.label,
        fate=_fate(target, found, 1),
        steps=stage.steps,
        step=step,
        whole=step.times(stage.steps) if step is not None and stage.steps is not None else None,
    )


def _derived_step(stage: StageLoad, target: Target, found: Fit, rate: Rate) -> Estimate:
    one = rate.seconds(stage.size.batch * forward_flops(stage.size, stage.weights.family))
    if stage.weights.precision is Precision.GGUF:
        best, taken, worst = GGUF_SLOWER
        one = Estimate(
            seconds=one.seconds * taken,
            low=one.low * best,
            high=one.high * worst,
            source=f"{one.source}; GGUF unpacks each layer at each use: {best:g} to {worst:g} times as long",
        )
    streamed = stage.weights.resident_bytes if _all(target) else found.streamed_bytes
    if target.streamed_bytes is not None:
        streamed = target.streamed_bytes
    if streamed:
        slow, link, fast = link_bytes_per_s(target.gpu)
        # The copy runs beside the computing: only what it takes longer is felt.
        one = Estimate(
            seconds=max(one.seconds, streamed / link),
            low=max(one.low, streamed / fast),
            high=max(one.high, streamed / slow),
            source=f"{one.source}; {streamed / GIB:.1f} GiB stream in each pass at {link / GB:g} GB/s",
        )
    return one.times(stage.passes * stage.windows * (stage.rounds or 1))


def _measured_phases(work: Workload, target: Target, book: PaceBook) -> dict[str, Estimate]:
    found = {}
    for name in ("load", *_WARM_PHASES):
        seconds = book.seconds(pace_key(name, work.stages[0], work, target))
        if seconds is not None:
            found[name] = seconds
    return found


def _notes(work: Workload, target: Target, stages: tuple[StageForecast, ...]) -> list[str]:
    notes = []
    if target.gpu == EMULATED:
        return ["it is the emulator: it loads and computes nothing"]
    if all(stage.step is None for stage in stages):
        notes.append("no measured rate for this card yet")
    if target.ram_bytes is not None and target.ram_bytes < host_bytes(work):
        short = (
            f"{target.ram_bytes / GIB:.0f} GiB of host memory, {host_bytes(work) / GIB:.0f} GiB are wanted"
        )
        notes.append(short)
    return notes


def _sum(parts: list[Estimate | None]) -> Estimate | None:
    whole: Estimate | None = None
    for part in parts:
        if part is None:
            return None
        whole = part if whole is None else whole.plus(part)
    return whole
