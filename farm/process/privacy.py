"""A process that others of its user cannot look into: custom nodes run as the worker's own user."""

from __future__ import annotations

import ctypes
import logging
import sys
from typing import Final

log = logging.getLogger(__name__)

_PR_SET_DUMPABLE: Final = 4  # Source: prctl(2); /proc/<pid>/environ and mem are root's from then on


def close_to_others() -> None:
    """Let no other process of this user read this one's memory or environment, or debug it (Linux only).

    Programs that it starts are open again: they are told what they may know.
    """
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        log.warning(
            "This process can be read by others of its user",
            extra={"event": "process_open", "errno": ctypes.get_errno()},
        )
