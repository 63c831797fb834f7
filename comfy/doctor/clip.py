"""Whether a clip is good, by numbers that were measured in its frames: `faults_of`, with its thresholds.

Whoever decodes the frames measures (`ClipLook`); what follows from it is decided here, so that a report can
be made anew with other thresholds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Final

_NUMBER: Final = re.compile(r"\d{1,9}(\.\d{1,9})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameLook:
    """What was measured in one frame; brightness from 0 to 255."""

    mean: float  # brightness
    spread: float  # standard deviation of the brightness, of the whole or of the middle at its own size
    colour_spread: float  # the largest standard deviation of the three colours
    roughness: (
        float  # mean step between neighbours over the spread: 1.13 in pure noise, below 0.5 in pictures
    )
    changed: float | None  # mean difference from the frame looked at before; None: of the first
    flicker: float | None  # the same over the spread: 1.13 between two pictures of noise; None: of the first
    dead_part: float  # blocks without any brightness beside bright ones, of all; bars at the edges left out


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipLook:
    """What was measured in a clip's frames, and what its file says of it."""

    name: str
    frames: tuple[FrameLook, ...]  # a sample, evenly spread
    width: int  # pixels
    height: int
    count: int
    fps: float
    has_audio: bool


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

    most: float = 0.9  # so many of the frames have to be bad
    black_mean: float = 6.0
    black_spread: float = 3.0
    flat_spread: float = 2.0
    rough: float = 0.85
    flicker: float = 0.6  # leaves in the wind are rough too, and are there in the next frame
    rough_spread: float = 12.0  # a dark scene's grain is no noise
    still: float = 0.15
    still_frames: int = 8  # fewer are no clip
    dead_part: float = 0.02
    dead_frames: float = 0.3  # of the frames
    fps_off: float = 0.02  # of the expected


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipFault:
    """One thing that is wrong with a clip."""

    id: str  # of the finding
    message: str
    seen: str  # the numbers


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
    black = _part(frame.mean <= limits.black_mean and frame.spread <= limits.black_spread for frame in frames)
    flat = _part(frame.colour_spread <= limits.flat_spread for frame in frames)
    noise = _part(
        frame.roughness >= limits.rough
        and frame.spread >= limits.rough_spread
        and (frame.flicker is None or frame.flicker >= limits.flicker)
        for frame in frames
    )
    brightest = max(frame.mean for frame in frames)
    if black >= limits.most:
        seen = f"{black:.0%} of {len(frames)} frames; brightness at most {brightest:.1f} of 255"
        yield ClipFault(id="video-black", message="the clip is black", seen=seen)
        return
    if flat >= limits.most:
        seen = f"{flat:.0%} of {len(frames)} frames have no more than one colour"
        yield ClipFault(id="video-one-colour", message="the clip is of one colour", seen=seen)
        return
    if noise >= limits.most:
        rough = sum(frame.roughness for frame in frames) / len(frames)
        seen = f"neighbouring points differ by {rough:.2f} of the spread; pure noise: 1.13"
        yield ClipFault(id="video-noise", message="the clip is noise", seen=seen)
        return
    changes = [frame.changed for frame in frames if frame.changed is not None]
    if len(frames) >= limits.still_frames and changes and max(changes) <= limits.still:
        seen = f"no two of {len(frames)} frames differ by more than {max(changes):.2f} of 255"
        yield ClipFault(id="video-frozen", message="nothing moves in the clip", seen=seen)
    dead = _part(frame.dead_part >= limits.dead_part for frame in frames)
    if dead >= limits.dead_frames:
        most = max(frame.dead_part for frame in frames)
        seen = f"{dead:.0%} of {len(frames)} frames; up to {most:.0%} of a frame"
        yield ClipFault(id="video-patches", message="patches of the clip are dead black", seen=seen)


def _of_file(look: ClipLook, expected: Expected, limits: Thresholds) -> Iterator[ClipFault]:
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
    if expected.fps is not None and abs(look.fps - expected.fps) > limits.fps_off * expected.fps:
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


def _part(each: Iterable[bool]) -> float:
    found = list(each)
    return sum(found) / len(found)
