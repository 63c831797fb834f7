"""Frame interpolation: less of it, or none, for as long a clip."""

from __future__ import annotations

import math
from typing import Final

from comfy.rewrites.change import ChangeKind
from comfy.rewrites.draft import Draft
from comfy.rewrites.flow import factor_of, fps_at, frames_input, interpolators, rates_of
from comfy.rewrites.rewrite import Rewrite


def cap_interpolation(draft: Draft) -> None:
    """Lower each interpolator's factor to what the job asks for, and the frame rate with it."""
    if draft.options.interpolation is None and draft.options.max_fps is None:
        return
    for node_id in interpolators(draft):
        _cap(draft, node_id)


def _cap(draft: Draft, node_id: str) -> None:
    old = factor_of(draft, node_id)
    rates = [(rate, fps_at(draft, rate)) for rate in rates_of(draft, node_id)]
    known = [(rate, fps) for rate, fps in rates if fps is not None]
    if old is None:
        return
    new = min(old, _wanted(draft, old, max((fps for _, fps in known), default=None)))
    if new == old:
        return
    if len(known) < len(rates):
        draft.note(node_id, "stays: the clip's frame rate is computed while it runs, and would no longer fit")
        return
    why = f"interpolation by {new} instead of {old}" if new > 1 else "no interpolation"
    if new == 1:
        if not _take_out(draft, node_id, why):
            return
    elif not draft.set(node_id, "multiplier", new, why):
        return
    for rate, fps in known:
        draft.set(*rate, _rate(fps * new / old), f"{why}: as long a clip of fewer frames")


def _wanted(draft: Draft, factor: int, fps: float | None) -> int:
    """The largest factor that the job's options leave."""
    options = draft.options
    by_factor = factor if options.interpolation is None else options.interpolation
    by_rate = factor
    if options.max_fps is not None and fps is not None:
        by_rate = math.floor(options.max_fps / (fps / factor))
    return max(min(by_factor, by_rate), 1)


def _take_out(draft: Draft, node_id: str, why: str) -> bool:
    source = frames_input(draft, node_id)
    if source is None or any(draft.inputs(other)[name][1] for other, name in draft.consumers(node_id)):
        draft.note(node_id, "stays: it does more than hand frames on")
        return False
    draft.relink(node_id, 0, draft.inputs(node_id)[source], why)
    draft.drop(node_id, why)
    return True


def _rate(fps: float) -> float | int:
    return int(fps) if fps == int(fps) else fps


INTERPOLATION: Final = Rewrite(
    name="interpolation",
    kind=ChangeKind.DIFFERENT,
    title="lowers or removes frame interpolation",
    when="the job asks for a largest factor (`--limit interpolation=N`, 1 for none) or a largest frame rate",
    effect=(
        "the clip is as long with fewer frames, fewer to encode as well. RIFE on 81 frames at 832×480 took "
        "36.4 s on a 5090 before March 2026 and takes 0.8 s since"
    ),
    source="https://github.com/Fannovel16/ComfyUI-Frame-Interpolation/pull/102",
    apply=cap_interpolation,
)
