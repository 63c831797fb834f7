"""A notifier without Celery."""

from __future__ import annotations

import json


class PlainNotifier:
    """A notifier whose message is a small JSON object, for stores without Celery."""

    def __init__(self, prefix: str = "notification:") -> None:
        self._prefix = prefix

    def list_key(self, queue: str, priority: int) -> str:
        return f"{self._prefix}{queue}:{priority}"

    def message(self, job_id: str, *, queue: str, priority: int, title: str) -> bytes:
        """The message; `job_id_of` reads it."""
        return json.dumps({"job_id": job_id, "queue": queue, "priority": priority, "title": title}).encode()

    @staticmethod
    def job_id_of(message: bytes) -> str:
        """Which job a message announces."""
        return str(json.loads(message)["job_id"])
