"""What a rewrite did to one input of a graph."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class ChangeKind(StrEnum):
    """What a change does to the picture; a job says which kinds it accepts."""

    EXACT = "exact"  # the same pixels
    NEAR = "near"  # the same picture within rounding: another attention back-end, fp8
    DIFFERENT = "different"  # another picture: few-step LoRA, fewer frames, no interpolation

    def within(self, accepted: ChangeKind) -> bool:
        """Whether whoever accepts that kind accepts this one: exact, then near, then different."""
        kinds = list(ChangeKind)
        return kinds.index(self) <= kinds.index(accepted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One input that a rewrite wrote."""

    node_id: str
    input_name: str  # "class_type" when the node itself came, went, or became another one
    old: Any  # the literal or the link that stood there; None: nothing did
    new: Any  # None: taken away
    why: str  # for a person
    kind: ChangeKind
    rewrite: str = ""  # name of the rewrite in the table of all, "attention"
