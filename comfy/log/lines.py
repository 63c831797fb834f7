"""A line of ComfyUI's log becomes a typed fact, or None: most lines say nothing we need.

One row for each form of a line, with the generations whose log has it; `tests/data/comfyui/logs` holds real
lines of each generation, and a test reads every row against them. Forks reword lines or print them at debug
level, so nothing may depend on a fact being there. Source: ComfyUI main.py, server.py, execution.py,
comfy/model_management.py, comfy/model_patcher.py, comfy/ops.py, app/frontend_management.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from comfy.generations import GENERATIONS, Generation
from comfy.log.facts import (
    AttentionFact,
    AttentionFailedFact,
    CacheFact,
    CancelFact,
    DatabaseFact,
    DeviceFact,
    DynamicVramFact,
    EvictedFact,
    InterruptedFact,
    LoadState,
    LogFact,
    LoraResizeFact,
    MemoryFact,
    MemorySummaryFact,
    ModelLoadedFact,
    ModelRequestedFact,
    NodeFailedFact,
    OffloadingFact,
    OutOfMemoryFact,
    PackageFact,
    PinnedMemoryFact,
    PromptDoneFact,
    PromptQueuedFact,
    PromptRefusedFact,
    QuantisedOpsFact,
    ReadyFact,
    ResidencyFact,
    SlowKernelsFact,
    UnloadedFact,
    VaeRetryFact,
    VersionFact,
    VramStateFact,
    WeightsFact,
)

_UNLIMITED_MIB: Final = 1e12  # older versions print 9.5367431640625e+25 for "no limit"


@dataclass(frozen=True, slots=True, kw_only=True)
class LineForm:
    """One form of a line, and what it says."""

    pattern: re.Pattern[str]  # of the plain text, from its beginning
    read: Callable[[re.Match[str]], LogFact]
    seen_in: tuple[Generation, ...]  # the oldest first; none: only in logs of other releases


def read_line(text: str) -> LogFact | None:
    """Read one plain line, as `comfy.log.text.plain_lines` gives it."""
    form = form_of(text)
    return form[0].read(form[1]) if form is not None else None


def form_of(text: str) -> tuple[LineForm, re.Match[str]] | None:
    """Which form a plain line has."""
    for form in FORMS:
        found = form.pattern.match(text)
        if found is not None:
            return form, found
    return None


def is_well_known(text: str) -> bool:
    """Whether a warning or error that is no fact is known to say nothing about the machine."""
    return _WELL_KNOWN.match(text) is not None


_WELL_KNOWN: Final = re.compile(
    r"No target revision found\.$"  # a new database
    r"|Traceback \(most recent call last\):$"  # of the error in the line before
    # A graph that does not pass, told line by line.
    r"|Failed to validate prompt for output |\* (?:\(prompt\)|\S.* \S+):$| +- .+: |Output will be ignored$"
    # Files that do not fit each other.
    r"|lora key not loaded: |clip missing: |unet missing: |unet unexpected: "
    r"|(?:WARNING: )?send error: "  # a client went away
)


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


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(sorted(name.strip() for name in (text or "").split(",") if name.strip()))


_N: Final = r"\d+(?:\.\d+)?(?:e[+-]?\d+)?"

_OLDEST, *_LATER = GENERATIONS
*_BEFORE, _NEWEST = GENERATIONS


def _form(
    pattern: str, read: Callable[[re.Match[str]], LogFact], seen_in: Iterable[Generation] = GENERATIONS
) -> LineForm:
    return LineForm(pattern=re.compile(pattern), read=read, seen_in=tuple(seen_in))


# The first row that fits counts.
FORMS: Final = (
    # At start
    _form(r"ComfyUI version: (\S+)", lambda m: VersionFact(version=m[1])),
    _form(r"pytorch version: (\S+)", lambda m: PackageFact(name="pytorch", version=m[1])),
    _form(r"Python version: (\S+)", lambda m: PackageFact(name="python", version=m[1])),
    _form(
        r"ComfyUI frontend version: (\S+)",
        lambda m: PackageFact(name="comfyui-frontend-package", version=m[1]),
        _BEFORE,
    ),
    _form(r"(comfy(?:ui)?-[\w-]+) version: (\S+)", lambda m: PackageFact(name=m[1], version=m[2]), [_NEWEST]),
    _form(
        rf"Total VRAM ({_N}) MB, total RAM ({_N}) MB",
        lambda m: MemoryFact(vram_mib=float(m[1]), ram_mib=float(m[2])),
    ),
    _form(r"Set vram state to: (\w+)", lambda m: VramStateFact(state=m[1])),
    _form(r"Device: (.+?)\s*$", lambda m: DeviceFact(device=m[1])),
    # "… in VAE" is another choice and says nothing of the sampler's.
    _form(
        r"Using (pytorch|sage|xformers|Flash) [Aa]ttention\s*$", lambda m: AttentionFact(name=m[1].lower())
    ),
    _form(r"Using (Comfy Kitchen) attention\s*$", lambda m: AttentionFact(name=m[1].lower()), [_NEWEST]),
    _form(r"Using (split|sub quadratic) optimization for attention", lambda m: AttentionFact(name=m[1])),
    _form(r"DynamicVRAM support detected and enabled", lambda _: DynamicVramFact(enabled=True), _LATER),
    _form(
        r"No working comfy-aimdo install detected",
        lambda _: DynamicVramFact(enabled=False, why="comfy-aimdo is missing or does not work"),
        _LATER,
    ),
    _form(
        r"Unsupported Pytorch detected\. DynamicVRAM support requires",
        lambda _: DynamicVramFact(enabled=False, why="torch is older than 2.8"),
        [_NEWEST],
    ),
    _form(
        r"Dynamic vram disabled with argument",
        lambda _: DynamicVramFact(enabled=False, why="an argument switches it off"),
        [_NEWEST],
    ),
    _form(r"Using async weight offloading with (\d+) streams", lambda m: OffloadingFact(streams=int(m[1]))),
    _form(rf"Enabled pinned memory ({_N})", lambda m: PinnedMemoryFact(limit_mib=float(m[1])), _LATER),
    _form(r"Using LRU cache", lambda _: CacheFact(name="lru")),
    _form(r"Using RAM pressure cache", lambda _: CacheFact(name="ram pressure"), _LATER),
    _form(r"Disabling intermediate node cache", lambda _: CacheFact(name="none")),
    _form(
        r"WARNING: You need pytorch with cu130 or higher to use optimized CUDA operations",
        lambda _: SlowKernelsFact(),
        _LATER,
    ),
    _form(r"Failed to initialize database[.:]\s*(.*)", lambda m: DatabaseFact(reason=m[1])),
    _form(r"To see the GUI go to: ", lambda _: ReadyFact()),
    # Of a prompt
    _form(r"got prompt", lambda _: PromptQueuedFact()),
    _form(r"invalid prompt: ", lambda _: PromptRefusedFact()),
    _form(
        r"model weight dtype (\S+), manual cast: (\S+)",
        lambda m: WeightsFact(dtype=m[1], cast_to=None if m[2] == "None" else m[2]),
    ),
    _form(
        r"Native ops: (?P<native>[\w, ]*?)(?:\s*, emulated ops: (?P<emulated>.*))?\s*$",
        lambda m: QuantisedOpsFact(native=_names(m["native"]), emulated=_names(m["emulated"])),
        [_NEWEST],
    ),
    _form(r"Requested to load (\w+)", lambda m: ModelRequestedFact(model_class=m[1])),
    _form(
        rf"loaded completely;\s+(?:(?P<usable>{_N}) MB usable, )?(?P<loaded>{_N}) MB loaded",
        _loaded,
        _LATER,
    ),
    _form(
        rf"loaded partially;\s+(?:(?P<usable>{_N}) MB usable, )?(?P<loaded>{_N}) MB loaded, "
        rf"(?P<offloaded>{_N}) MB offloaded, .*lowvram patches: (?P<patches>\d+)",
        _partial,
        _LATER,
    ),
    _form(rf"loaded completely (?P<usable>{_N}) (?P<loaded>{_N}) (?:True|False)", _loaded, [_OLDEST]),
    _form(rf"loaded partially (?P<usable>{_N}) (?P<loaded>{_N}) (?P<patches>\d+)\s*$", _partial, [_OLDEST]),
    _form(
        r"Model (?P<model>\w+) prepared for dynamic VRAM loading\. \d+MB Staged\. "
        r"(?P<patches>\d+) patches attached",
        _dynamic,
        _LATER,
    ),
    _form(
        rf"Model loaded: patcher=\w+ model=(\w+) ram_mb=({_N}) vram_mb=({_N})",
        lambda m: ResidencyFact(model_class=m[1], ram_mib=float(m[2]), vram_mib=float(m[3])),
        [_NEWEST],
    ),
    _form(r"Module (\S+) has resizing Lora - force loading", lambda m: LoraResizeFact(layer=m[1]), [_NEWEST]),
    _form(r"(\d+) models unloaded\.", lambda m: UnloadedFact(models=int(m[1]))),
    _form(
        rf"Unloaded partially: ({_N}) MB freed, ({_N}) MB remains loaded",
        lambda m: EvictedFact(freed_mib=float(m[1]), remains_mib=float(m[2])),
        _LATER,
    ),
    # Read in logs of other releases: a part of a model leaves.
    _form(
        rf"loaded partially: ({_N}) MB loaded",
        lambda m: EvictedFact(freed_mib=None, remains_mib=float(m[1])),
        (),
    ),
    _form(
        r"(?:Error running (sage) attention: |(Flash) Attention failed, using default SDPA)",
        lambda m: AttentionFailedFact(name=(m[1] or m[2]).lower()),
    ),
    _form(r"Error running SageAttention3: ", lambda _: AttentionFailedFact(name="sage"), _LATER),
    _form(
        r"(?:Warning: )?Ran out of memory when regular VAE (decoding|encoding), retrying with tiled",
        lambda m: VaeRetryFact(decoding=m[1] == "decoding"),
    ),
    _form(r"!!! Exception during processing !!! ?(.*)", lambda m: NodeFailedFact(message=m[1])),
    _form(r"Memory summary:", lambda _: MemorySummaryFact(), _LATER),
    _form(r"Got an OOM, unloading all loaded models", lambda _: OutOfMemoryFact()),
    _form(r"Interrupting prompt (\S+)", lambda m: CancelFact(prompt_id=m[1])),
    _form(r"Global interrupt \(no prompt_id specified\)", lambda _: CancelFact(prompt_id=None)),
    _form(r"Cancelling (?:running|pending) prompt (\S+)", lambda m: CancelFact(prompt_id=m[1]), [_NEWEST]),
    _form(r"Processing interrupted", lambda _: InterruptedFact()),
    _form(
        r"Prompt executed in (?:(?P<seconds>\d+(?:\.\d+)?) seconds|(?P<clock>\d+:\d\d:\d\d))", _prompt_done
    ),
)
