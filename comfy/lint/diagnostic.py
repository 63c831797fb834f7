"""What lint says of a graph."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad it is."""

    ERROR = "error"  # the clip will not be what was asked for, or there will be none
    WARNING = "warning"  # seconds or quality are lost, most likely without intent
    INFO = "info"  # worth to know


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One thing that lint found."""

    rule: str  # stable id: "lora-swapped"
    severity: Severity
    message: str  # what is there
    remedy: str  # what to do
    node_id: str | None = None
    class_type: str | None = None
    input_name: str | None = None
