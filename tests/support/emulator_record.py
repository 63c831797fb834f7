"""What the emulator writes down of the prompts that it runs, told in the farm's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def job_of(entry: Mapping[str, Any]) -> tuple[str, int] | None:
    """Job id and attempt of an entry that says so: "started" of a prompt of the farm's."""
    told = (entry.get("extra_data") or {}).get("farm")
    return (told["job_id"], told["attempt"]) if told else None
