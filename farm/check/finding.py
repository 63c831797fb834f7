"""One line of `farm check`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    name: str  # "Redis", "disk", …: the same at every call, for those who read JSON
    ok: bool
    what: str  # what was found, one sentence
    remedy: str = ""  # what to do about it; empty when nothing needs to be done
    optional: bool = False  # the farm works without it, or it matters to some machines only

    @property
    def blocks(self) -> bool:
        """Whether the machine cannot do its work because of it."""
        return not self.ok and not self.optional


def good(name: str, what: str) -> Finding:
    """As it should be."""
    return Finding(name=name, ok=True, what=what)


def bad(name: str, what: str, remedy: str) -> Finding:
    """Something has to be done."""
    return Finding(name=name, ok=False, what=what, remedy=remedy)


def note(name: str, what: str, remedy: str) -> Finding:
    """Not as it could be, and it may well stay so."""
    return Finding(name=name, ok=False, what=what, remedy=remedy, optional=True)
