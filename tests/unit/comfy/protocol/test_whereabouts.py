"""Where a prompt is, by every answer that a server may give."""

from __future__ import annotations

from typing import Any

import pytest

from comfy.errors import UnknownMessage
from comfy.protocol.whereabouts import Whereabouts, told_by_job, told_by_queue


@pytest.mark.parametrize(
    ("answer", "where"),
    [
        ({"id": "p", "status": "pending"}, Whereabouts.PENDING),
        ({"id": "p", "status": "in_progress"}, Whereabouts.RUNNING),
        ({"id": "p", "status": "completed"}, Whereabouts.OVER),
        ({"id": "p", "status": "failed"}, Whereabouts.OVER),
        ({"id": "p", "status": "cancelled"}, Whereabouts.OVER),  # "error" in its history
        ({"id": "p", "status": "a word of a later server"}, Whereabouts.OVER),
        ({"error": "Job not found"}, None),
        ("<html>", None),
        ([], None),
        (None, None),
    ],
)
def test_a_job_says_where_its_prompt_is(answer: Any, where: Whereabouts | None) -> None:
    assert told_by_job(answer) is where


def test_a_queue_that_is_none_is_refused() -> None:
    with pytest.raises(UnknownMessage):
        told_by_queue({"queue_running": [[]], "queue_pending": []}, "p")
