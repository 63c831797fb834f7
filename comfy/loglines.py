"""A line of ComfyUI's log becomes a typed fact, or None: most lines say nothing we need.

The words are those of ComfyUI 0.3.64 to 0.38; forks reword them or print them at debug level, so nothing may
depend on a fact being there. Source: ComfyUI main.py, comfy/model_management.py, comfy/model_patcher.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

_UNLIMITED_MIB = 1e12  # older versions print 9.5367431640625e+25 for "no limit"


class LoadState(StrEnum):
    """How a model came onto the card."""

    COMPLETE = "complete"  # every weight is on the card
    PARTIAL = "partial"  # the rest streams from RAM in each step
    DYNAMIC = "dynamic"  # weights come as they are needed; what is resident is not told


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionFact:
    """ComfyUI's version."""

    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryFact:
    """What ComfyUI sees of the machine."""

    vram_mib: float
    ram_mib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VramStateFact:
    """The load mode: NORMAL_VRAM unless a flag was given; DISABLED means CPU."""

    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFact:
    """What ComfyUI computes on: "cpu", "cuda:0 NVIDIA … : cudaMallocAsync"."""

    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionFact:
    """The attention of the whole process: "pytorch", "sage", "flash", "split", "sub quadratic", …."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionFailedFact:
    """A call of this attention failed, and PyTorch's was taken instead; said anew in each call."""

    name: str  # "sage", "flash"


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicVramFact:
    """Whether weights are loaded on demand (ComfyUI 0.15 and later)."""

    enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyFact:
    """The server listens, now or within milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequestedFact:
    """A model that was not on the card is brought there: WAN21, WanTEModel, WanVAE, …"""

    model_class: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLoadedFact:
    """A model is loaded, as far as it fits. Sizes in MiB; None: not told."""

    state: LoadState
    loaded_mib: float | None = None
    offloaded_mib: float | None = None  # streamed in each step
    usable_mib: float | None = None  # the budget; None also for "no limit"
    patches: int | None = None  # LoRA patches that are applied anew in each step
    model_class: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfMemoryFact:
    """A node ran out of memory, and ComfyUI has unloaded all models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VaeRetryFact:
    """The VAE ran out of memory and goes on in tiles: slower, seams possible, no error for the client."""

    decoding: bool  # False: encoding


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptDoneFact:
    """A prompt is over, well or not."""

    seconds: float


LogFact = (
    VersionFact
    | MemoryFact
    | VramStateFact
    | DeviceFact
    | AttentionFact
    | AttentionFailedFact
    | DynamicVramFact
    | ReadyFact
    | ModelRequestedFact
    | ModelLoadedFact
    | OutOfMemoryFact
    | VaeRetryFact
    | PromptDoneFact
)


def read_line(line: str) -> LogFact | None:
    """Read one line, without its end; a progress bar's ``\\r`` parts are to be split off before."""
    for pattern, read in _TABLE:
        found = pattern.search(line)
        if found is not None:
            return read(found)
    return None


def _loaded(found: re.Match[str]) -> LogFact:
    return ModelLoadedFact(
        state=LoadState.COMPLETE, usable_mib=_mib(found["usable"]), loaded_mib=_mib(found["loaded"])
    )


def _partial(found: re.Match[str]) -> LogFact:
    return ModelLoadedFact(
        state=LoadState.PARTIAL,
        usable_mib=_mib(found["usable"]),
        loaded_mib=_mib(found["loaded"]),
        offloaded_mib=_mib(found.groupdict().get("offloaded")),
        patches=int(found["patches"]),
    )


def _dynamic(found: re.Match[str]) -> LogFact:
    return ModelLoadedFact(state=LoadState.DYNAMIC, model_class=found["model"], patches=int(found["patches"]))


def _prompt_done(found: re.Match[str]) -> LogFact:
    if found["seconds"] is not None:
        return PromptDoneFact(seconds=float(found["seconds"]))
    hours, minutes, seconds = (int(part) for part in found["clock"].split(":"))
    return PromptDoneFact(seconds=hours * 3600.0 + minutes * 60 + seconds)


def _mib(text: str | None) -> float | None:
    if text is None:
        return None
    value = float(text)
    return None if value > _UNLIMITED_MIB else value


_N = r"\d+(?:\.\d+)?(?:e[+-]?\d+)?"

_TABLE: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], LogFact]], ...] = tuple(
    (re.compile(pattern), read)
    for pattern, read in (
        (r"^ComfyUI version: (\S+)", lambda m: VersionFact(version=m[1])),
        (
            rf"^Total VRAM ({_N}) MB, total RAM ({_N}) MB",
            lambda m: MemoryFact(vram_mib=float(m[1]), ram_mib=float(m[2])),
        ),
        (r"^Set vram state to: (\w+)", lambda m: VramStateFact(state=m[1])),
        (r"^Device: (.+?)\s*$", lambda m: DeviceFact(device=m[1])),
        (r"^DynamicVRAM support detected and enabled", lambda _: DynamicVramFact(enabled=True)),
        (r"^No working comfy-aimdo install detected", lambda _: DynamicVramFact(enabled=False)),
        # "… in VAE" is another choice and says nothing of the sampler's.
        (
            r"^Using (pytorch|sage|xformers|Flash|Comfy Kitchen) [Aa]ttention\s*$",
            lambda m: AttentionFact(name=m[1].lower()),
        ),
        (
            r"^(?:Error running (sage) attention: |(Flash) Attention failed, using default SDPA)",
            lambda m: AttentionFailedFact(name=(m[1] or m[2]).lower()),
        ),
        (r"^Using (split|sub quadratic) optimization for attention", lambda m: AttentionFact(name=m[1])),
        (r"^To see the GUI go to: ", lambda _: ReadyFact()),
        (r"^Requested to load (\w+)", lambda m: ModelRequestedFact(model_class=m[1])),
        # 0.3.68 and later
        (rf"^loaded completely;\s+(?:(?P<usable>{_N}) MB usable, )?(?P<loaded>{_N}) MB loaded", _loaded),
        (
            (
                rf"^loaded partially;\s+(?:(?P<usable>{_N}) MB usable, )?(?P<loaded>{_N}) MB loaded, "
                rf"(?P<offloaded>{_N}) MB offloaded, .*lowvram patches: (?P<patches>\d+)"
            ),
            _partial,
        ),
        # before that
        (rf"^loaded completely (?P<usable>{_N}) (?P<loaded>{_N}) (?:True|False)", _loaded),
        (rf"^loaded partially (?P<usable>{_N}) (?P<loaded>{_N}) (?P<patches>\d+)\s*$", _partial),
        (
            (
                r"^Model (?P<model>\w+) prepared for dynamic VRAM loading\. \d+MB Staged\. "
                r"(?P<patches>\d+) patches attached"
            ),
            _dynamic,
        ),
        (r"^Got an OOM, unloading all loaded models", lambda _: OutOfMemoryFact()),
        (
            r"Ran out of memory when regular VAE (decoding|encoding), retrying with tiled",
            lambda m: VaeRetryFact(decoding=m[1] == "decoding"),
        ),
        (
            r"^Prompt executed in (?:(?P<seconds>\d+(?:\.\d+)?) seconds|(?P<clock>\d+:\d\d:\d\d))",
            _prompt_done,
        ),
    )
)
