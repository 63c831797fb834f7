"""What the farm's own jobs took: which of them are alike, and what is kept of their seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

ENOUGH_JOBS: Final = 3  # so many before a measured figure replaces a derived one
# A mean over more than so many jobs would not follow a new driver or a new node any more.
REMEMBERED_JOBS: Final = 50
_FIELDS: Final = 11
_BETWEEN: Final = "|"
_LONGEST_FIELD: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Seconds that jobs took for one thing, in little room: a mean that forgets, its variance, a count."""

    count: int
    mean_s: float
    variance_s2: float = 0.0

    @property
    def spread_s(self) -> float:
        """The standard deviation."""
        return math.sqrt(max(self.variance_s2, 0.0))

    def with_sample(self, seconds: float) -> Pace:
        """The same after one more job."""
        weight = 1.0 / min(self.count + 1, REMEMBERED_JOBS)
        off = seconds - self.mean_s
        return Pace(
            count=self.count + 1,
            mean_s=self.mean_s + weight * off,
            variance_s2=(1.0 - weight) * (self.variance_s2 + weight * off * off),
        )


FIRST: Final = Pace(count=0, mean_s=0.0)  # of nobody yet


@dataclass(frozen=True, slots=True, kw_only=True)
class PaceKey:
    """What has to be the same for two jobs to take the same time, as far as a job's seconds depend on it."""

    what: str  # "step" (one step of a sampler), or a phase: "load", "swap", "text", "vae", "frames", "save"
    gpu: str  # as NVML names it; "emulated" when nobody computed anything
    family: str  # "14B", "5B", "1.3B"
    precision: str  # `comfy.wan.precision.Precision`
    size: str  # "832x480x81", with "x2" behind it for a batch of two
    passes: int  # forward passes of a step: 2 with guidance
    mode: str  # the load mode
    attention: str  # the back-end that the graph or the server asks for; "default" when neither does
    loras: int  # how many are in the chain: unmerged ones cost time in each step
    comfyui: str  # its version
    extra: str = ""  # what else makes a step dearer: "vace", "gguf-lora", …; empty for plain WAN

    def name(self) -> str:
        """The key as one line; `read_key` reads it."""
        parts = (
            self.what,
            self.gpu,
            self.family,
            self.precision,
            self.size,
            str(self.passes),
            self.mode,
            self.attention,
            str(self.loras),
            self.comfyui,
            self.extra,
        )
        return _BETWEEN.join(part.replace(_BETWEEN, "/")[:_LONGEST_FIELD] for part in parts)


def read_key(name: str) -> PaceKey | None:
    """Back from `PaceKey.name`; None for what another version of the farm wrote."""
    parts = name.split(_BETWEEN)
    if len(parts) != _FIELDS or not (parts[5].isdecimal() and parts[8].isdecimal()):
        return None
    what, gpu, family, precision, size, passes, mode, attention, loras, comfyui, extra = parts
    return PaceKey(
        what=what,
        gpu=gpu,
        family=family,
        precision=precision,
        size=size,
        passes=int(passes),
        mode=mode,
        attention=attention,
        loras=int(loras),
        comfyui=comfyui,
        extra=extra,
    )
