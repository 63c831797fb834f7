"""Where a prompt is, read from either form in which servers tell it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from comfy.errors import UnknownMessage


class Whereabouts(StrEnum):
    """Where a server has a prompt."""

    PENDING = "pending"
    RUNNING = "running"
    OVER = "over"  # well or not: its history entry says how
    UNKNOWN = "unknown"  # it was never there, was taken out of the queue, or is forgotten


_UNFINISHED: Final = {"pending": Whereabouts.PENDING, "in_progress": Whereabouts.RUNNING}


def told_by_job(answer: Any) -> Whereabouts | None:
    """Read the answer of ``GET /api/jobs/{id}``; None when it is none of that route's.

    An interrupted prompt is "cancelled" there and "error" in the history, so of what is over only the history
    is believed.

    Source: ComfyUI comfy_execution/jobs.py, ``get_job``: history counts for more than the queue.
    """
    status = answer.get("status") if isinstance(answer, Mapping) else None
    return _UNFINISHED.get(status, Whereabouts.OVER) if isinstance(status, str) else None


def told_by_queue(answer: Mapping[str, Any], prompt_id: str) -> Whereabouts:
    """Read the answer of ``GET /queue``; `UNKNOWN` may mean that the prompt is over.

    Raises:
        UnknownMessage: it does not have the form of one.
    """
    try:
        if any(item[1] == prompt_id for item in answer["queue_running"]):
            return Whereabouts.RUNNING
        waits = any(item[1] == prompt_id for item in answer["queue_pending"])
    except (KeyError, TypeError, IndexError) as exc:
        raise UnknownMessage("queue", answer) from exc
    return Whereabouts.PENDING if waits else Whereabouts.UNKNOWN
