"""Which memory flags a version of ComfyUI takes, for plans without an installation to ask.

Source: ComfyUI's comfy/cli_args.py through its versions (pull requests 12658, 13922, 14480).
"""

from __future__ import annotations

import re
from typing import Final

from worker.plan.flags import VRAM_FLAGS, AcceptedFlags

LEGACY: Final = "0.3.64"
DYNAMIC: Final = "0.38"

_SINCE: Final = (
    ((0, 15, 1), "--disable-dynamic-vram"),  # pull request 12658: dynamic VRAM is on from here
    ((0, 24, 0), "--vram-headroom"),  # 14480
)
_UNTIL: Final = (((0, 21, 1), "--normalvram"),)  # 13922: argparse ends with an error from here
# In 0.3.64 and 0.12.1; no later change takes one of them away, but --normalvram.
_ALWAYS: Final = (*VRAM_FLAGS, "--reserve-vram", "--disable-cuda-malloc")


def flags_of_version(version: str) -> AcceptedFlags:
    """The memory flags of a version such as ``0.3.64`` or ``0.38``.

    Raises:
        ValueError: it is no version.
    """
    if not re.fullmatch(r"v?\d+(\.\d+){1,2}", version):
        raise ValueError(f"{version!r} is no version of ComfyUI; write 0.3.64 or 0.38")
    numbers = [*map(int, version.removeprefix("v").split(".")), 0]
    number = (numbers[0], numbers[1], numbers[2])
    gone = {flag for last, flag in _UNTIL if number >= last}
    come = {flag for first, flag in _SINCE if number >= first}
    return AcceptedFlags(names=frozenset({*_ALWAYS, *come} - gone))
