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


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One input that a rewrite wrote."""

    node_id: str
    input_name: str
    old: Any  # the literal or the link that stood there
    new: Any
    why: str  # for a person
    kind: ChangeKind
