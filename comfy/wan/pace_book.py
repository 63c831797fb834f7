"""Looks up what the farm's own jobs took: the same kind of job first, then what is nearly the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from comfy.wan.models import FAMILIES
from comfy.wan.paces import ENOUGH_JOBS, Pace, PaceKey, read_key
from comfy.wan.sizes import read_size
from comfy.wan.speed import Estimate, forward_flops

# Beyond its own spread, what another attention, another ComfyUI or another size may change.
_NEARLY_PART = 0.15


@dataclass(frozen=True, slots=True)
class _Entry:
    key: PaceKey
    pace: Pace


class PaceBook:
    """What was measured, ready to be asked. Immutable."""

    def __init__(self, paces: Mapping[str, Pace]) -> None:
        """`paces` as the store gives them; names of another version are passed over."""
        read = ((read_key(name), pace) for name, pace in paces.items())
        self._entries = [_Entry(key, pace) for key, pace in read if key is not None]

    def seconds(self, key: PaceKey) -> Estimate | None:
        """What jobs took that are like `key`; None while fewer than three were.

        Only a step is looked up by other sizes: its work is known for each size.
        """
        exact = self._mean(lambda each: each == key, "measured on {n} jobs of this farm", 0.0)
        if exact is not None:
            return exact
        same = replace(key, attention="", loras=0, comfyui="")
        near = self._mean(
            lambda each: replace(each, attention="", loras=0, comfyui="") == same,
            "measured on {n} jobs of this farm with other attention, LoRAs or ComfyUI",
            _NEARLY_PART,
        )
        return near or (self._by_other_sizes(key) if key.what == "step" else None)

    def _mean(self, fits: Callable[[PaceKey], bool], words: str, part: float) -> Estimate | None:
        found = [(each.pace, 1.0) for each in self._entries if fits(each.key)]
        return _joined(found, words, part)

    def _by_other_sizes(self, key: PaceKey) -> Estimate | None:
        wanted = _work(key)
        if wanted is None:
            return None
        alike = ("gpu", "family", "precision", "mode", "extra", "what")
        found = [
            (each.pace, wanted / work)
            for each in self._entries
            if all(getattr(each.key, name) == getattr(key, name) for name in alike)
            and (work := _work(each.key)) is not None
        ]
        return _joined(found, "by the rate of {n} jobs of this farm at other sizes", _NEARLY_PART)


def _joined(found: Iterable[tuple[Pace, float]], words: str, part: float) -> Estimate | None:
    """One mean of several, each scaled; its bounds are two standard deviations, and `part` more."""
    entries = list(found)
    count = sum(pace.count for pace, _ in entries)
    if count < ENOUGH_JOBS:
        return None
    mean = sum(pace.count * pace.mean_s * scale for pace, scale in entries) / count
    spread = max(max(2 * pace.spread_s * scale, abs(pace.mean_s * scale - mean)) for pace, scale in entries)
    low, high = max(mean - spread, 0.0) * (1 - part), (mean + spread) * (1 + part)
    return Estimate(seconds=mean, low=low, high=high, source=words.format(n=count))


def _work(key: PaceKey) -> float | None:
    """Operations of one step of such a job; None for a family or size that we do not know."""
    family, size = FAMILIES.get(key.family), read_size(key.size)
    if family is None or size is None:
        return None
    return key.passes * size.batch * forward_flops(size, family)
