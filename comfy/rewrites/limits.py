"""Limits of size, length and frame rate."""

from __future__ import annotations

import math
from typing import Final

from comfy.rewrites.change import ChangeKind
from comfy.rewrites.draft import Draft
from comfy.rewrites.flow import (
    clip_nodes,
    downstream,
    factor_of,
    fps_at,
    interpolators,
    rates_of,
    whole_number,
)
from comfy.rewrites.rewrite import Rewrite
from comfy.wan.sizes import FRAME_STEP, MIN_SIDE, sides_of


def limit_size(draft: Draft) -> None:
    """Make the clip small enough, in its own proportions."""
    if draft.options.max_width is None and draft.options.max_height is None:
        return
    for node_id, _ in clip_nodes(draft):
        width, height = (whole_number(draft, node_id, name) for name in ("width", "height"))
        if width is None or height is None:
            draft.note(node_id, "stays: its size is computed while it runs")
            continue
        scale = min((draft.options.max_width or width) / width, (draft.options.max_height or height) / height)
        if scale >= 1:
            continue
        step = sides_of(draft.class_of(node_id)).step
        why = f"at most {draft.options.max_width or '–'}×{draft.options.max_height or '–'} was asked for"
        for name, side in (("width", width), ("height", height)):
            draft.set(node_id, name, max(math.floor(side * scale / step) * step, MIN_SIDE), why)


def limit_length(draft: Draft) -> None:
    """Make the clip short enough, in frames, in seconds, and by its frame rate."""
    options = draft.options
    if options.max_frames is None and options.max_seconds is None and options.max_fps is None:
        return
    for node_id, name in clip_nodes(draft):
        frames = whole_number(draft, node_id, name)
        if frames is None:
            draft.note(node_id, "stays: its number of frames is computed while it runs")
            continue
        _shorten(draft, node_id, name, frames)


def _shorten(draft: Draft, node_id: str, name: str, frames: int) -> None:
    options = draft.options
    rates = rates_of(draft, node_id)
    known = [fps for rate in rates if (fps := fps_at(draft, rate)) is not None]
    shown = max(known, default=None)
    most = frames if options.max_frames is None else min(frames, options.max_frames)
    if shown is not None and options.max_fps is not None and shown > options.max_fps:
        # As long a clip: what interpolation could give up, it has given up before.
        most = min(most, math.floor((frames - 1) * options.max_fps / shown) + 1)
        for rate in rates:
            fps = fps_at(draft, rate)
            if fps is not None and fps > options.max_fps:
                draft.set(*rate, options.max_fps, f"at most {options.max_fps:g} fps was asked for")
        shown = options.max_fps
    if options.max_seconds is not None:
        if shown is None:
            draft.note(
                node_id, "its length in seconds is not known: the frame rate is computed while it runs"
            )
        else:
            most = min(most, math.floor(options.max_seconds * shown / _factor(draft, node_id)))
    if most < frames:
        why = f"a clip of {frames} frames is longer than was asked for"
        draft.set(node_id, name, max((most - 1) // FRAME_STEP * FRAME_STEP + 1, 1), why)


def _factor(draft: Draft, node_id: str) -> int:
    """By how much all interpolators after a node multiply its frames."""
    reached = downstream(draft, node_id)
    return math.prod(factor_of(draft, each) or 1 for each in interpolators(draft) if each in reached)


SIZE: Final = Rewrite(
    name="size",
    kind=ChangeKind.DIFFERENT,
    title="makes the clip smaller, in its own proportions",
    when="the job asks for a largest width or height, and the clip has more",
    effect=(
        "time grows faster than pixels, because attention grows with their square: a step of the 14B models "
        "at 1280×720 is 3.8 times the arithmetic of one at 832×480, for 2.3 times the pixels"
    ),
    source="https://github.com/Wan-Video/Wan2.2",
    apply=limit_size,
)
LENGTH: Final = Rewrite(
    name="length",
    kind=ChangeKind.DIFFERENT,
    title="makes the clip shorter, or of fewer frames a second",
    when="the job asks for a largest number of frames, seconds or frames a second, and the clip has more",
    effect="a step at 161 frames and 832×480 is 2.9 times the arithmetic of one at 81; the number stays 4n+1",
    source="https://github.com/Wan-Video/Wan2.2",
    apply=limit_length,
)
