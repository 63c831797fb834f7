"""Time that a test moves."""

from __future__ import annotations


class Clock:
    """A clock that stands still until `now` is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now
