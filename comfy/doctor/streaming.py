"""Rules about models of which a part streams from host memory in each pass, and what that costs.

The measured step holds the copies, so it does not tell what they cost: the forecast of the step does, or the
time that the copies take at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from comfy.doctor.record import Run, evidence
from comfy.doctor.report import Confidence, Cost, PromptReport, Question, Severity
from comfy.doctor.rule import Case, Found, Rule, estimated
from comfy.doctor.sampling import SLOW
from comfy.doctor.words import numbers_words
from comfy.generations import Generation
from comfy.log.entry import LogEntry
from comfy.log.facts import (
    BarFact,
    GgufFact,
    LoadState,
    ModelLoadedFact,
    ModelRequestedFact,
    OffloadingFact,
    PinnedMemoryFact,
    QuantisedOpsFact,
    VersionFact,
    WeightsFact,
)
from comfy.wan.models import GIB
from comfy.wan.precision import Precision
from comfy.wan.speed import GB, link_bytes_per_s

_LINK_SOURCE: Final = "PCIe x16 from pinned memory: 22 GB/s (PCIe 4), 45 GB/s (PCIe 5); half of it by x8"
_USUAL_GPU: Final = "RTX 4090"  # where nobody names the card
_LITTLE: Final = 0.1  # of the sampling
_LEAST_BYTES: Final = 0.05 * GIB  # are copied in 2 to 5 ms: no step shows it
_WIDE_WEIGHTS: Final = ("torch.float16", "torch.bfloat16", "torch.float32")


def _partial(case: Case) -> Iterator[Found]:
    for run, prompt, streamed in _streaming(case):
        words, cost = _felt(case, prompt, streamed)
        sampling = sum(one.seconds for one in prompt.samplers)
        if 0 < streamed < _LEAST_BYTES:
            continue
        is_little = cost is not None and cost.high < _LITTLE * sampling
        yield Found(
            message=f"{streamed / GIB:.1f} GiB of a model come from host memory in each pass{words}"
            if streamed
            else "a part of a model comes from host memory in each pass",
            evidence=evidence([entry for entry, _ in _partial_loads(run)]),
            cost=cost,
            prompt=run.number,
            confidence=Confidence.LIKELY if words else Confidence.PROVEN,
            remedy=("leave it, or " if is_little else "") + _smaller(case, run),
        )


def undecided(case: Case) -> Iterator[Question]:
    """Prompts of which a part streams, and nothing tells what that costs."""
    numbers = [
        run.number
        for run, prompt, streamed in _streaming(case)
        if prompt.samplers and _felt(case, prompt, streamed)[1] is None
    ]
    if numbers:
        missing = [
            *(["the graph (--graph FILE)"] if case.work is None else []),
            *(["the card (--card NAME)"] if not case.gpu else []),
        ]
        yield Question(
            what=f"{numbers_words(numbers)}: whether steps wait for the weights that stream",
            decides=(" and ".join(missing) or "a graph whose steps are those of the log")
            + ", by which a step is predicted; or a log with `Enabled pinned memory`: how fast they come",
        )


def _streaming(case: Case) -> Iterator[tuple[Run, PromptReport, float]]:
    """The prompts in which a diffusion model is loaded in part, and bytes of it that stream; 0: not told."""
    for run, prompt in case.logged():
        loads = _partial_loads(run)
        if loads and case.on_gpu:
            yield run, prompt, max(_offloaded_mib(case, fact) or 0.0 for _, fact in loads) * 2**20


def _partial_loads(run: Run) -> list[tuple[LogEntry, ModelLoadedFact]]:
    return [
        (entry, fact)
        for entry, fact in run.of(ModelLoadedFact)
        if fact.state is LoadState.PARTIAL and (fact.is_diffusion or _is_sampled(run, entry, fact))
    ]


def _is_sampled(run: Run, load: LogEntry, fact: ModelLoadedFact) -> bool:
    """Whether a model whose name is not told is a diffusion model: a sampler runs right after its load."""
    after = (entry.fact for entry in run.entries if entry.number > load.number)
    told = next((each for each in after if isinstance(each, BarFact | ModelRequestedFact)), None)
    return fact.model_class is None and isinstance(told, BarFact) and not told.label


def _offloaded_mib(case: Case, fact: ModelLoadedFact) -> float | None:
    """Before 0.3.68 the line does not say how much is left out; the file does."""
    if fact.offloaded_mib is not None:
        return fact.offloaded_mib
    experts = case.work.experts() if case.work is not None else ()
    if fact.loaded_mib is None or not experts:
        return None
    return max(max(each.resident_bytes for each in experts) / 2**20 - fact.loaded_mib, 0.0)


def _felt(case: Case, prompt: PromptReport, streamed: float) -> tuple[str, Cost | None]:
    """What is felt of the copies, in words and in seconds; None: it cannot be told."""
    paces = [(one.steps, one.seconds_per_step) for one in prompt.samplers if one.seconds_per_step]
    if not paces or not streamed:
        return "", None
    steps = sum(count for count, _ in paces)
    pace = sum(count * each for count, each in paces) / steps
    slow, link, _ = link_bytes_per_s(case.gpu or _USUAL_GPU)
    passes = max((stage.passes for _, stage in case.stages_of(prompt)), default=None)
    copy = (passes or 1) * streamed / link
    pinned = case.record.server.last(PinnedMemoryFact)
    at_known_rate = pinned is not None and pinned.limit_mib * 2**20 >= streamed
    rate = f"{streamed / GIB:.1f} GiB / {link / GB:g} GB/s"
    if at_known_rate and pace <= 1.2 * (passes or 1) * streamed / slow:
        # A step that takes no longer than its copy waits for the bus; how long it would compute is not told.
        felt = steps * min(copy, pace)
        formula = f"{steps} steps × {passes or 1} × {rate} = {felt:.1f} s, of which computing hides a part"
        return ": steps wait for it", estimated(felt / 2, 0.0, felt, formula, _LINK_SOURCE)
    predicted = _beyond_predicted(case, prompt)
    if predicted is not None:
        words = "longer" if predicted.seconds else "no longer"
        return f": steps take {words} than predicted", predicted
    if not at_known_rate:
        return "", None
    most = min(steps * (passes or 2) * streamed / (slow / 2), steps * pace)
    formula = f"{steps} steps × {passes or '1 or 2'} × {rate}, at half that rate at most {most:.1f} s"
    if _overlaps(case):
        return ": copies overlap", estimated(0.0, 0.0, most, formula, _LINK_SOURCE)
    return "", estimated(min(steps * copy, most), 0.0, most, formula, _LINK_SOURCE)


def _beyond_predicted(case: Case, prompt: PromptReport) -> Cost | None:
    """What steps take beyond their forecast, which knows how long they compute; None: there is none."""
    plan = case.forecast
    if plan is None:
        return None
    found = [0.0, 0.0, 0.0]
    sources = []
    for (one, _), expected in zip(case.stages_of(prompt), plan.stages, strict=False):
        pace, step = one.seconds_per_step, expected.step
        if pace is None or step is None:
            return None
        sources.append(step.source)
        if pace > max(SLOW * step.seconds, step.high):
            for at, each in enumerate((step.seconds, step.high, step.low)):
                found[at] += one.steps * (pace - each)
    if not sources:
        return None
    formula = f"steps × (measured − predicted): {found[0]:.1f} s"
    # Other causes may take a part of it.
    return estimated(found[0] / 2, 0.0, found[2], formula, sources[0])


def _overlaps(case: Case) -> bool:
    """Whether copies run beside the computing, as the server has said."""
    return bool(case.record.server.count(OffloadingFact))


def _smaller(case: Case, run: Run) -> str:
    """What leaves more of a model on the card; fewer bits only where there are such."""
    # What is kept from one prompt to the next is read, and named, once.
    told = [each for each in case.runs if each.server is run.server]
    dtypes = {fact.dtype for each in told for _, fact in each.of(WeightsFact)}
    is_packed = any(each.count(GgufFact) or each.count(QuantisedOpsFact) for each in told)
    experts = case.work.experts() if case.work is not None else ()
    if dtypes or is_packed:
        is_wide = dtypes <= set(_WIDE_WEIGHTS) and not is_packed
    else:
        is_wide = not experts or any(each.precision in (Precision.FULL, Precision.WIDE) for each in experts)
    return ("an fp8_scaled file, " if is_wide else "") + "fewer frames or a smaller size"


def _no_streams(case: Case) -> Iterator[Found]:
    server = case.record.server.last(VersionFact)
    partial = [entry for run in case.runs for entry, _ in _partial_loads(run)]
    if server is None or not partial or not case.gpu or not case.on_gpu:
        return
    if Generation.of(server.version).tells_offloading and not _overlaps(case):
        yield Found(
            message=f"ComfyUI {server.version} streams weights, and not beside the computing",
            evidence=evidence(partial),
            confidence=Confidence.LIKELY,
        )


def _patched_in_each_step(case: Case) -> Iterator[Found]:
    """LoRAs of weights that stream are put onto them anew whenever they come; so are those of GGUF."""
    for run in case.runs:
        lines = [
            entry
            for entry, fact in run.of(ModelLoadedFact)
            if fact.state is LoadState.PARTIAL and fact.is_diffusion and fact.patches
        ]
        if not lines or not case.on_gpu:
            continue
        count = max(
            fact.patches or 0 for _, fact in run.of(ModelLoadedFact) if fact.state is LoadState.PARTIAL
        )
        yield Found(
            message=f"{count} layers of a LoRA are put onto streamed weights anew in each pass",
            evidence=evidence(lines),
            prompt=run.number,
        )


RULES: Final = (
    Rule(
        id="partial-load",
        severity=Severity.WARNING,
        title="a diffusion model does not fit beside its activations: a part streams in each pass",
        remedy="an fp8_scaled file where it has 16 bits, fewer frames or a smaller size",
        check=_partial,
        cost="what steps take beyond their forecast; without one, at most steps × passes × bytes / link",
        source="https://github.com/Comfy-Org/ComfyUI/pull/10953",
    ),
    Rule(
        id="lora-on-streamed-weights",
        severity=Severity.INFO,
        title="a LoRA is put onto weights that stream, anew in each pass",
        remedy="as for partial-load; or a model into which the LoRA is merged already",
        check=_patched_in_each_step,
        source="https://github.com/Comfy-Org/ComfyUI (comfy/model_patcher.py, LowVramPatch)",
    ),
    Rule(
        id="no-async-offload",
        severity=Severity.WARNING,
        title="weights stream, and not beside the computing",
        remedy="take --disable-async-offload out of ComfyUI's arguments",
        check=_no_streams,
        source="https://github.com/Comfy-Org/ComfyUI/pull/10953",
    ),
)
