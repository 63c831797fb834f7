"""What is tried when a job runs out of GPU memory, from the cheapest on, or its clip is spoilt. Decides."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Final

from comfy.rewrites.tiled_decode import WHOLE
from farm.job import VRAM_CLASSES_GIB
from farm.status.worker import WorkerStatus
from worker.gpu.card import GIB
from worker.plan.flags import VRAM_FLAGS, AcceptedFlags
from worker.plan.load_plan import LoadMode, LoadPlan

_MORE_RESERVE_BYTES: Final = 2 * GIB


class FallbackStep(StrEnum):
    """One thing to try. The first two need no restart of ComfyUI."""

    FREE = "free"  # unload all models, drop the cache
    TILED = "tiled_decode"  # decode in tiles
    RESERVE = "more_reserve"  # ComfyUI again, leaving more of the card alone
    STREAM = "streamed"  # ComfyUI again, with nothing kept on the card
    LARGER = "larger_class"  # the job waits for a larger card
    # Of a clip that another attention has spoilt: ComfyUI again, with PyTorch's.
    SDPA = "sdpa"


_SDPA: Final = "--use-pytorch-cross-attention"
# Of which ComfyUI takes one at most. Source: ComfyUI comfy/cli_args.py, ``attn_group``.
_ATTENTIONS: Final = (
    "--use-split-cross-attention",
    "--use-quad-cross-attention",
    "--use-sage-attention",
    "--use-flash-attention",
    "--use-ck-attention",
)
_HERE: Final = (FallbackStep.FREE, FallbackStep.TILED, FallbackStep.RESERVE, FallbackStep.STREAM)


def next_step(
    taken: Collection[FallbackStep], offered: Collection[FallbackStep], node_type: str | None
) -> FallbackStep | None:
    """What to try next on this worker; None when there is nothing left.

    Args:
        offered: what this worker and its ComfyUI can do.
        node_type: class of the node that ran out of memory; tiles only help a decode.
    """
    for step in _HERE:
        helps = step is not FallbackStep.TILED or node_type == WHOLE
        if step in offered and step not in taken and helps:
            return step
    return None


def humbler(
    plan: LoadPlan, step: FallbackStep, accepted: AcceptedFlags, extra: Sequence[str]
) -> LoadPlan | None:
    """The plan after that step; None when this ComfyUI has no such way, or is there already.

    Args:
        extra: arguments of the operator; a memory flag among them decides, whatever we would do.
    """
    if step is FallbackStep.SDPA:
        return _with_sdpa(plan, accepted)
    given = {argument.partition("=")[0] for argument in extra}
    if plan.mode in (LoadMode.CPU, LoadMode.STREAMED) or given & {*VRAM_FLAGS, "--reserve-vram"}:
        return None
    reasons = (*plan.reasons, "a job ran out of memory")
    kept = _without_memory_flags(plan.flags)
    if step is FallbackStep.STREAM and "--novram" in accepted:
        return replace(
            plan, mode=LoadMode.STREAMED, flags=(*kept, "--novram"), reserve_bytes=0, reasons=reasons
        )
    if step is FallbackStep.RESERVE and "--reserve-vram" in accepted:
        reserve = plan.reserve_bytes + _MORE_RESERVE_BYTES
        flags = (*kept, "--reserve-vram", f"{reserve / GIB:.1f}")
        return replace(plan, mode=LoadMode.RESERVED, flags=flags, reserve_bytes=reserve, reasons=reasons)
    return None


def _with_sdpa(plan: LoadPlan, accepted: AcceptedFlags) -> LoadPlan | None:
    if _SDPA not in accepted or _SDPA in plan.flags:
        return None
    kept = tuple(flag for flag in plan.flags if flag not in _ATTENTIONS)
    reasons = (*plan.reasons, "a clip was black or noise with another attention")
    return replace(plan, flags=(*kept, _SDPA), dropped=(*plan.dropped, *_ATTENTIONS, _SDPA), reasons=reasons)


def larger_class(workers: Sequence[WorkerStatus], worker: str) -> int | None:
    """The next VRAM class above that of `worker` which some live worker serves; None when none does."""
    served = {each.name: each.vram_gib or 0 for each in workers}
    largest, ours = max(served.values(), default=0), served.get(worker, VRAM_CLASSES_GIB[-1])
    return next((gib for gib in VRAM_CLASSES_GIB if ours < gib <= largest), None)


def _without_memory_flags(flags: Sequence[str]) -> tuple[str, ...]:
    kept: list[str] = []
    words = iter(flags)
    for word in words:
        if word == "--reserve-vram":
            next(words, None)
        elif word not in VRAM_FLAGS:
            kept.append(word)
    return tuple(kept)
