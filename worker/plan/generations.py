"""Which memory flags a version of ComfyUI takes, for plans without an installation to ask.

Source: ComfyUI's comfy/cli_args.py through its releases, and `--help` of 0.3.64, 0.12.1 and 0.33.0.
"""

from __future__ import annotations

from typing import Final

from comfy.generations import GENERATIONS, NEWEST, release_of
from worker.plan.flags import VRAM_FLAGS, AcceptedFlags

LEGACY: Final = GENERATIONS[0].version
DYNAMIC: Final = NEWEST.version

# The first release that has it, or that has it no more (argparse then ends with an error).
_SINCE: Final = (
    ((0, 16), "--disable-dynamic-vram"),  # dynamic VRAM is on from here
    ((0, 25), "--vram-headroom"),
)
_UNTIL: Final = (((0, 22), "--normalvram"),)
_ALWAYS: Final = (*VRAM_FLAGS, "--reserve-vram", "--disable-cuda-malloc")


def flags_of_version(version: str) -> AcceptedFlags:
    """The memory flags of a version such as ``0.3.64`` or ``0.33.0``.

    Raises:
        ValueError: it is no version.
    """
    release = release_of(version)
    if release is None:
        raise ValueError(f"{version!r} is no version of ComfyUI; write {LEGACY} or {DYNAMIC}")
    gone = {flag for last, flag in _UNTIL if release >= last}
    come = {flag for first, flag in _SINCE if release >= first}
    return AcceptedFlags(names=frozenset({*_ALWAYS, *come} - gone))
