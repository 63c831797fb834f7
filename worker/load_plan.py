"""How ComfyUI is started on a card: a pure function, and its reasons in words.

ComfyUI's own memory management is better than its flags' names suggest, so most cards get no flag:
``--lowvram`` does nearly nothing any more, ``--normalvram`` ends newer versions at once, and
``--highvram`` switches dynamic VRAM off and lets a job of another model family meet a full card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from worker.flags import VRAM_FLAGS, AcceptedFlags
from worker.gpu import GIB, GpuCard

# What an idle card shows as used: a context of the driver, not somebody's work.
_IDLE_USED_BYTES: Final = 600 * 2**20
_LEAST_RESERVE_BYTES: Final = 1 * GIB
_LARGEST_RESERVE_BYTES: Final = 4 * GIB
# ComfyUI's own margins. Source: comfy/model_management.py, ``minimum_inference_memory``.
_MARGIN_BYTES: Final = int(1.2 * GIB)
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
class ModelSizes:
    """What the worker's jobs load, in bytes; file sizes, since weights take as much on the card."""

    experts: tuple[int, ...]  # diffusion models of one job: two for WAN 2.2 A14B
    others: int = 0  # text encoder, VAE and the like, together
    activations: int = 0  # while sampling the usual clip


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """How to start ComfyUI."""

    mode: LoadMode
    flags: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    reserve_bytes: int = 0  # kept free for others on the card
    reasons: tuple[str, ...] = ()  # in words, for a person; never empty


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
    """
    forced = next((flag for flag in extra_args if flag in VRAM_FLAGS), None)
    if forced is not None:
        return LoadPlan(
            mode=_MODE_OF[forced],
            env=_environment(card),
            reasons=(f"the arguments given for ComfyUI hold {forced}, which decides",),
        )
    if card is None:
        return _without_card(accepted, emulated=emulated)
    plan = _with_card(card, accepted, wanted, models, single_family=single_family)
    return _with_remarks(plan, host_ram_bytes, models)


def _without_card(accepted: AcceptedFlags, *, emulated: bool) -> LoadPlan:
    if emulated:
        return LoadPlan(mode=LoadMode.BALANCED, reasons=("the emulator loads no model and needs no card",))
    flags = ("--cpu",) if "--cpu" in accepted else ()
    reason = "no card: everything runs on the CPU, some hundred times slower than on one"
    # Threads that wait spin by default, and with every core busy a job takes several times as long.
    env = {**_environment(None), "OMP_WAIT_POLICY": "PASSIVE"}
    return LoadPlan(mode=LoadMode.CPU, flags=flags, env=env, reasons=(reason,))


def plan_attached() -> LoadPlan:
    """The plan for a ComfyUI that runs already: nothing is ours to choose."""
    return LoadPlan(mode=LoadMode.BALANCED, reasons=("it runs already: its flags are not ours to choose",))


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
        if wanted is LoadMode.RESIDENT:
            reasons += _doubts_of_resident(card, accepted, models)
        return wanted, reasons
    if accepted.has_dynamic_vram:
        return LoadMode.BALANCED, [
            "dynamic VRAM: ComfyUI keeps what fits and streams the rest without a flag"
        ]
    alone = single_family and not _reserve_bytes(card)
    if alone and models is not None and _fits_all(card, models):
        reason = (
            f"both experts and their activations fit into the {_gib(card.free_bytes)} that are free, and "
            "this worker serves one model family: no swap between the experts"
        )
        return LoadMode.RESIDENT, [reason]
    return LoadMode.BALANCED, ["no flag: ComfyUI keeps models while there is room for them"]


def _doubts_of_resident(card: GpuCard, accepted: AcceptedFlags, models: ModelSizes | None) -> list[str]:
    doubts = []
    if accepted.has_dynamic_vram:
        doubts.append("it switches dynamic VRAM off, and saves about a second for each swap of experts")
    if models is not None and not _fits_all(card, models):
        doubts.append(
            f"{_gib(_all_bytes(models))} would be needed and {_gib(card.free_bytes)} are free: "
            "jobs will run out of memory"
        )
    return doubts


def _with_remarks(plan: LoadPlan, host_ram_bytes: int, models: ModelSizes | None) -> LoadPlan:
    if models is None:
        return plan
    files_bytes = sum(models.experts) + models.others
    if host_ram_bytes >= files_bytes + _HOST_MARGIN_BYTES:
        return plan
    remark = (
        f"the model files are {_gib(files_bytes)} and the host has {_gib(host_ram_bytes)} of memory: "
        "experts will be read from disk again for each job"
    )
    return LoadPlan(
        mode=plan.mode,
        flags=plan.flags,
        env=plan.env,
        reserve_bytes=plan.reserve_bytes,
        reasons=(*plan.reasons, remark),
    )


def _fits_all(card: GpuCard, models: ModelSizes) -> bool:
    return _all_bytes(models) <= card.free_bytes


def _all_bytes(models: ModelSizes) -> int:
    return sum(models.experts) + models.activations + _MARGIN_BYTES


def _reserve_bytes(card: GpuCard) -> int:
    """What to leave to others: ComfyUI sees what they hold now, but not what they will take yet."""
    if card.used_bytes <= _IDLE_USED_BYTES:
        return 0
    return min(max(card.used_bytes // 4, _LEAST_RESERVE_BYTES), _LARGEST_RESERVE_BYTES)


def _environment(card: GpuCard | None) -> dict[str, str]:
    # By UUID: CUDA's own numbering of several cards is not that of the driver.
    return {"CUDA_VISIBLE_DEVICES": card.uuid if card is not None else "-1"}


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.1f} GiB"
