"""Whether a clip is good, by numbers that were measured in its frames: `faults_of`, with its thresholds.

Whoever decodes the frames measures (`ClipLook`); what follows from it is decided here, so that a report can
be made anew with other thresholds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from statistics import median
from typing import Any, Final

_NUMBER: Final = re.compile(r"\d{1,9}(\.\d{1,9})?")
_TAIL_FRAMES: Final = 4  # a flash is shorter
_FADED: Final = 0.5  # of the detail that was there before
_SQUARE: Final = 64  # pixels a side of those in which structure is looked for
_NEAR: Final = 4  # frames on either side by which chance is taken out of what is measured in one


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameLook:
    """What was measured in one frame; brightness from 0 to 255."""

    mean: float  # brightness
    spread: float  # standard deviation of the brightness
    detail: float  # the largest standard deviation of brightness and colours in squares of 4 pixels
    peak: float  # how far the farthest pixel is from the mean
    structure: float  # spread in squares of 64 pixels over that in 16: 0.25 in noise, above 0.6 in pictures
    flicker: (
        float | None
    )  # mean change of squares of 16 pixels over their spread, or less by motion; None: the first
    changed: float | None  # largest change of a square of 4 pixels within eight frames; None: of the first
    drift: float | None  # the mean change of them over their spread; None: of the first
    hole_corners: int  # of areas of black or white whose hard edges lie on the grid of the VAE
    hole_edge: float  # the part of such areas' outline that does
    hole_boxes: int  # such areas that are rectangles with four hard sides; two for each that lies on the grid


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipLook:
    """What was measured in a clip's frames, and what its file says of it."""

    name: str
    frames: tuple[FrameLook, ...]  # each that was decoded, in their order; of a large movie not all are
    width: int  # pixels
    height: int
    count: int
    fps: float  # 0: it is written picture by picture
    has_audio: bool
    tick_s: float = 0.0  # what all delays of such a file are multiples of; 0: of nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the graph asks for; what it does not say is None."""

    width: int | None = None
    height: int | None = None
    count: int | None = None
    fps: float | None = None
    audio: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """When a clip is bad."""

    most: float = 0.9  # so many of the frames have to be bad …
    tail: float = 0.3  # … or so many up to the end, where that begins at once
    plain_detail: float = 0.5
    plain_peak: float = 16.0  # a star is more than that
    black_mean: float = 6.0
    noise_structure: float = 0.45
    noise_flicker: float = 0.7  # leaves in the wind have no structure either, and are there in the next frame
    noise_spread: float = 8.0  # a dark scene's grain is no noise
    noise_peak: float = 6.0  # spreads: snow in the night is further from the mean
    noise_squares: int = 28  # of 64 pixels in a frame that stands still: 480×272
    still_change: float = 4.0  # an encoder goes on refining by three steps what stands still
    still_drift: float = 0.03
    still_frames: int = 8  # fewer are no clip
    still_tail: float = 0.5  # of the frames
    hole_corners: int = 2
    hole_edge: float = 0.6
    hole_boxes: int = 2  # one may be a screen, or a window of a program
    hole_frames: float = 0.3  # of the frames
    fps_off: float = 0.02  # of the expected


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipFault:
    """One thing that is wrong with a clip."""

    id: str  # of the finding
    message: str
    seen: str  # the numbers
    whole: bool = True  # else only the clip's end is bad


USUAL: Final = Thresholds()
SPOILT: Final = ("video-black", "video-one-colour", "video-noise")  # faults that leave nothing to look at


def read_thresholds(text: str) -> Thresholds:
    """The usual thresholds but for those that are given: ``black_mean=4, rough=0.9``.

    Raises:
        ValueError: it is not of that form; the text says why.
    """
    given: dict[str, Any] = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, equals, value = (each.strip() for each in part.partition("="))
        if name not in {each.name for each in fields(Thresholds)}:
            raise ValueError(f"{name!r} is no threshold of a clip")
        number = float(value) if equals and _NUMBER.fullmatch(value) else None
        if number is None:
            raise ValueError(f"{name} wants a number from 0 on, not {value!r}")
        given[name] = number
    return replace(USUAL, **given)


def faults_of(look: ClipLook, expected: Expected, limits: Thresholds = USUAL) -> tuple[ClipFault, ...]:
    """What is wrong with a clip; empty: nothing that can be seen."""
    return (*_of_frames(look, limits), *_of_file(look, expected, limits))


def _of_frames(look: ClipLook, limits: Thresholds) -> Iterator[ClipFault]:
    frames = look.frames
    if not frames:
        return
    spoilt = _spoilt(look, limits)
    if spoilt is not None:
        yield spoilt
        return
    still = _still_from(look, limits)
    if still is not None:
        shown = frames[still:] if still else frames
        most = max(frame.changed or 0.0 for frame in shown)
        yield ClipFault(
            id="video-frozen",
            message="nothing moves in the clip" + _since(still),
            seen=f"no part of {len(shown)} frames changes by more than {most:.1f} of 255",
            whole=not still,
        )
    holes = [_has_holes(frame, limits) for frame in frames]
    if _part(holes) >= limits.hole_frames:
        edge, boxes = max(frame.hole_edge for frame in frames), max(frame.hole_boxes for frame in frames)
        yield ClipFault(
            id="video-patches",
            message="patches of the clip are dead",
            seen=f"{_part(holes):.0%} of {len(frames)} frames have areas of plain black or white; up to "
            f"{edge:.0%} of their outline is hard and on the grid of the VAE, up to {boxes} are rectangles",
        )


def _has_holes(frame: FrameLook, limits: Thresholds) -> bool:
    on_the_grid = frame.hole_corners >= limits.hole_corners and frame.hole_edge >= limits.hole_edge
    return on_the_grid or frame.hole_boxes >= limits.hole_boxes


def _spoilt(look: ClipLook, limits: Thresholds) -> ClipFault | None:
    """Whether nothing is to be seen in all of it, or from some frame on.

    WAN's VAE decodes a frame with what it kept of those before: what is no number stays until the end.

    Source: ComfyUI ``comfy/ldm/wan/vae.py``, ``CausalConv3d`` and its ``feat_cache``.
    """
    frames = look.frames
    black = [_is_plain(frame, limits) and frame.mean <= limits.black_mean for frame in frames]
    plain = [_is_plain(frame, limits) for frame in frames]
    # In few squares structure is chance: of real pictures of 320×192 one in eleven had as little as noise.
    even_still = look.width // _SQUARE * (look.height // _SQUARE) >= limits.noise_squares
    noise = [_is_noise(frame, limits, even_still) for frame in _steadied(frames)]
    for bad, fault, what in (
        (black, "video-black", "black"),
        (plain, "video-one-colour", "of one colour"),
        (noise, "video-noise", "noise"),
    ):
        since = _bad_from(look, bad, limits)
        if since is not None:
            seen = f"{sum(bad[since:])} of {len(frames)} frames; " + _numbers(fault, frames[since:])
            return ClipFault(
                id=fault, message=f"the clip is {what}" + _since(since), seen=seen, whole=not since
            )
    return None


def _steadied(frames: tuple[FrameLook, ...]) -> Iterator[FrameLook]:
    """The frames, with the middle of what was measured around them: by chance noise has a structure."""
    for number, frame in enumerate(frames):
        near = frames[max(0, number - _NEAR) : number + _NEAR + 1]
        flickers = [each.flicker for each in near if each.flicker is not None]
        yield replace(
            frame,
            structure=median(each.structure for each in near),
            flicker=median(flickers) if flickers else None,
        )


def _is_plain(frame: FrameLook, limits: Thresholds) -> bool:
    return frame.detail <= limits.plain_detail and frame.peak <= limits.plain_peak


def _is_noise(frame: FrameLook, limits: Thresholds, even_still: bool) -> bool:
    return (
        frame.structure <= limits.noise_structure
        and frame.spread >= limits.noise_spread
        and frame.peak <= limits.noise_peak * frame.spread
        and (
            frame.flicker is None
            or frame.flicker >= limits.noise_flicker
            or (even_still and _is_still(frame, limits))
        )
    )


def _is_still(frame: FrameLook, limits: Thresholds) -> bool:
    return (
        frame.changed is not None
        and frame.drift is not None
        and frame.changed <= limits.still_change
        and frame.drift <= limits.still_drift
    )


def _bad_from(look: ClipLook, bad: list[bool], limits: Thresholds) -> int | None:
    """From which frame on a clip is bad: 0 for all of it; None: it is not, or it fades and means to."""
    frames = look.frames
    if _part(bad) >= limits.most:
        return 0
    since = _tail(bad)
    if since == 0 or len(bad) - since < max(_TAIL_FRAMES, limits.tail * _length(look)):
        return None
    fades = frames[since - 1].detail < _FADED * median(frame.detail for frame in frames[:since])
    return None if fades else since


def _still_from(look: ClipLook, limits: Thresholds) -> int | None:
    frames = look.frames
    if len(frames) < limits.still_frames:
        return None
    still = [frame.changed is None or _is_still(frame, limits) for frame in frames]
    since = _tail(still)
    enough = max(limits.still_frames, limits.still_tail * _length(look)) if since else 0
    return since if len(frames) - since >= enough else None


def _length(look: ClipLook) -> int:
    """Of the clip, in frames; of a long movie not all are looked at: their end is not its half."""
    return max(look.count, len(look.frames))


def _tail(bad: list[bool]) -> int:
    """The first of those at the end that are all bad."""
    return max((number + 1 for number, each in enumerate(bad) if not each), default=0)


def _since(first: int) -> str:
    return f" from frame {first + 1} on" if first else ""


def _numbers(fault: str, frames: tuple[FrameLook, ...]) -> str:
    if fault == "video-noise":
        structure = median(frame.structure for frame in frames)
        return f"{structure:.2f} of their structure is left in large parts; noise: 0.25, pictures: above 0.6"
    detail = median(frame.detail for frame in frames)
    return f"brightness {median(frame.mean for frame in frames):.1f} of 255, spread {detail:.1f}"


def _of_file(look: ClipLook, expected: Expected, limits: Thresholds) -> Iterator[ClipFault]:
    if not look.fps:
        return  # what is asked is asked of whoever writes a movie
    asked = (expected.width or look.width, expected.height or look.height)
    if asked != (look.width, look.height):
        yield ClipFault(
            id="video-wrong-size",
            message=f"the clip is {look.width}×{look.height}, and {asked[0]}×{asked[1]} was asked for",
            seen=f"{look.width}×{look.height}",
        )
    if expected.count is not None and expected.count != look.count:
        yield ClipFault(
            id="video-wrong-length",
            message=f"the clip has {look.count} frames, and {expected.count} were asked for",
            seen=f"{look.count} frames",
        )
    if expected.fps is not None and _is_off(look, expected.fps, limits):
        yield ClipFault(
            id="video-wrong-rate",
            message=f"the clip has {look.fps:g} frames a second, and {expected.fps:g} were asked for",
            seen=f"{look.fps:g} fps",
        )
    if expected.audio and not look.has_audio:
        yield ClipFault(
            id="video-silent",
            message="the clip has no sound, and a sound was given to it",
            seen="no audio stream",
        )


def _is_off(look: ClipLook, fps: float, limits: Thresholds) -> bool:
    """Whether the rate is another one, and not the nearest that the file can hold."""
    if look.tick_s and look.fps and fps and abs(1 / look.fps - 1 / fps) <= look.tick_s / 2:
        return False
    return abs(look.fps - fps) > limits.fps_off * fps


def _part(bad: list[bool]) -> float:
    return sum(bad) / len(bad)
