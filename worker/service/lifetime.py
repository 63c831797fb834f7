"""What a worker has opened and started, ended in reverse order."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

log = logging.getLogger(__name__)


class Part(Protocol):
    """What works in a thread of its own."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End; called once, and only after `start`."""


class Lifetime:
    """Everything that is to be ended, once. The last that came goes first."""

    def __init__(self) -> None:
        self._ends: list[Callable[[], None]] = []

    def start(self, part: Part) -> None:
        """Start a part, and stop it in its turn."""
        part.start()
        self._ends.append(part.stop)

    def at_end(self, end: Callable[[], None]) -> None:
        """Call this in its turn."""
        self._ends.append(end)

    def end(self) -> None:
        """End everything; does nothing the second time."""
        while self._ends:
            end = self._ends.pop()
            try:
                end()
            except Exception:
                log.exception("A part failed to stop", extra={"event": "stop_failed"})
