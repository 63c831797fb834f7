"""Which command-line flags a ComfyUI takes: asked of the installed one; by version where there is none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from comfy.generations import has_flag

# The memory flags of which ComfyUI takes one at most. Source: ComfyUI comfy/cli_args.py, ``vram_group``.
VRAM_FLAGS: Final = ("--gpu-only", "--highvram", "--normalvram", "--lowvram", "--novram", "--cpu")

_MEMORY_FLAGS: Final = (
    *VRAM_FLAGS,
    "--reserve-vram",
    "--disable-cuda-malloc",
    "--disable-dynamic-vram",
    "--vram-headroom",
)
_FLAG: Final = re.compile(r"(?<![\w-])--[a-z][\w-]*", re.IGNORECASE)
_CHOICES: Final = re.compile(r"(--[a-z][\w-]*)\s+\[?[\[{](\w+(?:,\w+)+)[\]}]", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedFlags:
    """The flags of one installation, and what some of them may be set to."""

    names: frozenset[str]
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __contains__(self, flag: object) -> bool:
        return flag in self.names

    def takes(self, flag: str, value: str) -> bool:
        """Whether the flag exists and may have this value, as far as the help tells."""
        return flag in self.names and value in self.choices.get(flag, (value,))

    @property
    def has_dynamic_vram(self) -> bool:
        """Whether memory is managed dynamically unless told otherwise (ComfyUI since 0.16.0).

        What really happens depends on torch and the card too: `worker.comfyui.proof` reads it from the log.
        """
        return "--disable-dynamic-vram" in self.names


def flags_of_version(version: str) -> AcceptedFlags:
    """The memory flags of a version such as ``0.33.0``, for a plan without an installation to ask.

    Raises:
        ValueError: it is no version.
    """
    return AcceptedFlags(names=frozenset(flag for flag in _MEMORY_FLAGS if has_flag(flag, version)))


def parse_help(text: str) -> AcceptedFlags:
    """Read what ``main.py --help`` printed: its usage; descriptions may speak of flags that are gone."""
    usage = re.split(r"\n\s*\n", text.strip(), maxsplit=1)[0]
    choices = {flag: tuple(values.split(",")) for flag, values in _CHOICES.findall(usage)}
    return AcceptedFlags(names=frozenset(_FLAG.findall(usage)), choices=choices)
