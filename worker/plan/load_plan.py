"""How ComfyUI is started on a card: a pure function, and its reasons in words.

ComfyUI's own memory management is better than its flags' names suggest, so most cards get no flag:
``--lowvram`` does nearly nothing any more, ``--normalvram`` ends newer versions at once, and
``--highvram`` switches dynamic VRAM off and lets a job of another model family meet a full card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from comfy.wan.fit import Fit, ModelSizes, fit
from comfy.wan.memory import RESERVE_BYTES
from worker.gpu.card import GIB, GpuCard
from worker.plan.flags import VRAM_FLAGS, AcceptedFlags

# What an idle card shows as used: a context of the driver, not somebody's work.
_IDLE_USED_BYTES: Final = 600 * 2**20
_LEAST_RESERVE_BYTES: Final = 1 * GIB
_LARGEST_RESERVE_BYTES: Final = 4 * GIB
_HOST_MARGIN_BYTES: Final = 8 * GIB


class LoadMode(StrEnum):
    """How models are held."""

    RESIDENT = "resident"  # diffusion models stay on the card for good
    BALANCED = "balanced"  # ComfyUI decides: on the card while there is room, streamed when there is not
    RESERVED = "reserved"  # the same, with a part of the card left to somebody else
    STREAMED = "streamed"  # nothing stays on the card: every layer comes from host memory
    CPU = "cpu"  # no card at all


_FLAG_OF: Final = {LoadMode.RESIDENT: "--highvram", LoadMode.STREAMED: "--novram", LoadMode.CPU: "--cpu"}
_MODE_OF: Final = {
    "--gpu-only": LoadMode.RESIDENT,
    "--highvram": LoadMode.RESIDENT,
    "--normalvram": LoadMode.BALANCED,
    "--lowvram": LoadMode.BALANCED,
    "--novram": LoadMode.STREAMED,
    "--cpu": LoadMode.CPU,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """How to start ComfyUI."""

    mode: LoadMode
    flags: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    reserve_bytes: int = 0  # kept free for others on the card
    dynamic: bool = False  # dynamic VRAM should be at work
    whole: bool | None = None  # an expert should lie on the card whole; None: not known
    reasons: tuple[str, ...] = ()  # in words, for a person; never empty
    dropped: tuple[str, ...] = ()  # arguments of the operator that are left out for now
    is_ours: bool = True  # False: it runs already, and was started by somebody else's plan

    def with_reasons(self, *more: str) -> LoadPlan:
        """The same plan with more to say."""
        return replace(self, reasons=(*self.reasons, *more))


def plan_load(
    card: GpuCard | None,
    host_ram_bytes: int,
    accepted: AcceptedFlags,
    *,
    emulated: bool = False,
    wanted: LoadMode | None = None,
    models: ModelSizes | None = None,
    single_family: bool = False,
    extra_args: Sequence[str] = (),
    preload: str | None = None,
) -> LoadPlan:
    """Choose mode and flags.

    Args:
        card: None on a machine without one.
        accepted: what this ComfyUI takes; no other flag is ever given.
        emulated: no model will be loaded.
        wanted: a mode that the operator forces.
        models: what the jobs load, where it is known.
        single_family: this worker serves one model family only.
        extra_args: arguments that the operator adds; a memory flag among them decides.
        preload: a library that the process is to load first (`worker.comfyui.preload`).
    """
    plan = _chosen(card, accepted, emulated, wanted, models, single_family=single_family)
    forced = next((flag for flag in extra_args if flag in VRAM_FLAGS), None)
    if forced is not None:
        reason = f"the arguments given for ComfyUI hold {forced}, which decides"
        plan = LoadPlan(
            mode=_MODE_OF[forced], env=_environment(card, cpu=forced == "--cpu"), reasons=(reason,)
        )
    if emulated and card is None:
        return plan
    dynamic = (
        card is not None
        and accepted.has_dynamic_vram
        and "--disable-dynamic-vram" not in extra_args
        and plan.mode in (LoadMode.BALANCED, LoadMode.RESERVED)
    )
    plan = replace(plan, dynamic=dynamic)
    if models is not None and card is not None and plan.mode is not LoadMode.CPU:
        plan = _sized(plan, card, models)
    return _with_environment(plan, host_ram_bytes, models, preload, extra_args)


def _chosen(
    card: GpuCard | None,
    accepted: AcceptedFlags,
    emulated: bool,
    wanted: LoadMode | None,
    models: ModelSizes | None,
    *,
    single_family: bool,
) -> LoadPlan:
    if card is not None:
        return _with_card(card, accepted, wanted, models, single_family=single_family)
    if emulated:
        return LoadPlan(mode=LoadMode.BALANCED, reasons=("the emulator loads no model and needs no card",))
    return _without_card(accepted, wanted)


def _without_card(accepted: AcceptedFlags, wanted: LoadMode | None) -> LoadPlan:
    flags = ("--cpu",) if "--cpu" in accepted else ()
    reasons = ["no card: everything runs on the CPU, some hundred times slower than on one"]
    if wanted is not None and wanted is not LoadMode.CPU:
        reasons.append(f"mode {wanted} was asked for, and needs a card")
    return LoadPlan(mode=LoadMode.CPU, flags=flags, env=_environment(None, cpu=True), reasons=tuple(reasons))


def plan_attached() -> LoadPlan:
    """The plan for a ComfyUI that runs already: nothing is ours to choose."""
    reason = "it runs already: its flags are not ours to choose"
    return LoadPlan(mode=LoadMode.BALANCED, reasons=(reason,), is_ours=False)


def _with_card(
    card: GpuCard,
    accepted: AcceptedFlags,
    wanted: LoadMode | None,
    models: ModelSizes | None,
    *,
    single_family: bool,
) -> LoadPlan:
    env = _environment(card)
    chosen, reasons = _choose(card, accepted, wanted, models, single_family=single_family)
    flag = _FLAG_OF.get(chosen)
    if flag is not None and flag not in accepted:
        reasons.append(f"this ComfyUI does not take {flag}: it decides by itself")
        chosen, flag = LoadMode.BALANCED, None
    if flag is not None:
        return LoadPlan(mode=chosen, flags=(flag,), env=env, reasons=tuple(reasons))
    reserve = _reserve_bytes(card)
    if chosen is LoadMode.RESERVED and not reserve:
        reserve = _LEAST_RESERVE_BYTES
    if not reserve:
        return LoadPlan(mode=LoadMode.BALANCED, env=env, reasons=tuple(reasons))
    if "--reserve-vram" not in accepted:
        reasons.append("other processes hold memory of the card, but this ComfyUI cannot leave them any")
        return LoadPlan(mode=LoadMode.BALANCED, env=env, reasons=tuple(reasons))
    reasons.append(f"{_gib(card.used_bytes)} are held by others: {_gib(reserve)} are left for their growth")
    flags = ("--reserve-vram", f"{reserve / GIB:.1f}")
    return LoadPlan(
        mode=LoadMode.RESERVED, flags=flags, env=env, reserve_bytes=reserve, reasons=tuple(reasons)
    )


def _choose(
    card: GpuCard,
    accepted: AcceptedFlags,
    wanted: LoadMode | None,
    models: ModelSizes | None,
    *,
    single_family: bool,
) -> tuple[LoadMode, list[str]]:
    """The mode, before it is known whether its flag is accepted."""
    if wanted is not None:
        reasons = [f"mode {wanted} was asked for"]
        return wanted, reasons + _doubts(wanted, card, accepted, models)
    if accepted.has_dynamic_vram:
        return LoadMode.BALANCED, [
            "dynamic VRAM: ComfyUI keeps what fits and streams the rest without a flag"
        ]
    alone = single_family and not _reserve_bytes(card)
    # A single model stays anyway: only a pair is swapped.
    if alone and models is not None and len(models.experts) > 1 and _all_stay(card, models):
        reason = (
            f"both experts and their activations fit into the {_gib(card.free_bytes)} that are free, and "
            "this worker serves one model family: no swap between the experts"
        )
        return LoadMode.RESIDENT, [reason]
    return LoadMode.BALANCED, ["no flag: ComfyUI keeps models while there is room for them"]


def _doubts(wanted: LoadMode, card: GpuCard, accepted: AcceptedFlags, models: ModelSizes | None) -> list[str]:
    """What the plan thinks of a mode that is forced."""
    doubts = []
    if wanted in (LoadMode.RESIDENT, LoadMode.STREAMED) and accepted.has_dynamic_vram:
        doubts.append("it switches dynamic VRAM off")
    if wanted is LoadMode.RESIDENT:
        doubts.append("it saves about a second for each swap of experts, and other models meet a full card")
        if models is not None and not _all_stay(card, models):
            doubts.append(
                f"all models together need more than the {_gib(card.free_bytes)} that are free: "
                "jobs will run out of memory"
            )
    if wanted is LoadMode.STREAMED:
        doubts.append("every layer crosses the bus in each step, and the text encoder runs on the CPU")
        if models is not None and not fit(card.free_bytes, models).streamed_bytes:
            doubts.append("each expert would fit the card whole: this is slower for nothing")
    if wanted is LoadMode.CPU:
        doubts.append(f"the {card.name} is left idle: some hundred times slower")
    return doubts


def _sized(plan: LoadPlan, card: GpuCard, models: ModelSizes) -> LoadPlan:
    """The same plan with what becomes of the models under it."""
    found = fit(card.free_bytes, models, reserve_bytes=max(plan.reserve_bytes, RESERVE_BYTES))
    keeps = plan.mode in (LoadMode.BALANCED, LoadMode.RESERVED)
    whole = found.runs and not found.streamed_bytes if keeps else plan.mode is LoadMode.RESIDENT
    words = _words_of(plan, models, found) if keeps else []
    if not found.runs:
        words.append(
            f"the largest usual clip takes {_gib(found.least_bytes)} at least, and {_gib(card.free_bytes)} "
            "are free: it will run out of memory here (FARM_LARGEST_CLIP names that clip)"
        )
    if not found.decodes_whole:
        words.append("the VAE decodes in tiles, since the whole clip does not fit")
    return replace(plan, whole=whole).with_reasons(*words)


def _words_of(plan: LoadPlan, models: ModelSizes, found: Fit) -> list[str]:
    clip = f"beside {_gib(models.activations)} for the largest usual clip"
    if not found.streamed_bytes:
        stay = ", and the other one with it" if len(models.experts) > 1 and found.all_stay else ""
        return [f"an expert of {_gib(found.expert_bytes)} lies on the card whole {clip}{stay}"]
    about = "about " if plan.dynamic else ""
    part = f"{about}{_gib(found.streamed_bytes)} of an expert's {_gib(found.expert_bytes)}"
    return [f"{part} stream from host memory in each step, {clip}"]


def _with_environment(
    plan: LoadPlan,
    host_ram_bytes: int,
    models: ModelSizes | None,
    preload: str | None,
    extra_args: Sequence[str],
) -> LoadPlan:
    env, reasons = dict(plan.env), []
    if (
        models is not None
        and host_ram_bytes < (files := sum(models.experts) + models.others) + _HOST_MARGIN_BYTES
    ):
        reasons.append(
            f"the model files are {_gib(files)} and the host has {_gib(host_ram_bytes)} of memory: "
            "experts will be read from disk again for each job"
        )
    if preload is not None:
        env["LD_PRELOAD"] = preload
        reasons.append("tcmalloc is preloaded: host memory grows less with each swap of models")
    if plan.mode is not LoadMode.CPU and not plan.dynamic and "--disable-cuda-malloc" in extra_args:
        # ComfyUI's default is the driver's own pool, to which this does not apply; dynamic VRAM has its own.
        env["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"
        reasons.append("torch's own allocator is in use: expandable segments keep it from fragmenting")
    return replace(plan, env=env).with_reasons(*reasons)


def _all_stay(card: GpuCard, models: ModelSizes) -> bool:
    return fit(card.free_bytes, models).all_stay


def _reserve_bytes(card: GpuCard) -> int:
    """What to leave to others: ComfyUI sees what they hold now, but not what they will take yet."""
    if card.used_bytes <= _IDLE_USED_BYTES:
        return 0
    return min(max(card.used_bytes // 4, _LEAST_RESERVE_BYTES), _LARGEST_RESERVE_BYTES)


def _environment(card: GpuCard | None, *, cpu: bool = False) -> dict[str, str]:
    # By UUID: CUDA's own numbering of several cards is not that of the driver.
    env = {"CUDA_VISIBLE_DEVICES": card.uuid if card is not None else "-1"}
    # Threads that wait spin by default, and with every core busy a job takes several times as long.
    return env | {"OMP_WAIT_POLICY": "PASSIVE"} if cpu else env


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.1f} GiB"
