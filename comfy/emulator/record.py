"""The emulator's own account of what it ran, for those who check that nothing ran twice.

It is kept in memory for `GET /emulator/record`, and in a file of JSON lines (`--record`) that outlives the
process, because a test may kill it.
"""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any


class Record:
    """One line for each thing that happened to a prompt, in order."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._entries: list[dict[str, Any]] = []

    def note(self, event: str, prompt_id: str, **facts: Any) -> None:
        """Write down that something happened (posted, started, node, ended, …)."""
        entry = {"event": event, "prompt_id": prompt_id, "at": time.time(), **facts}
        with self._lock:
            self._entries.append(entry)
            if self._file is not None:
                # Opened for each line: what was said last must be there when the process is killed.
                with self._file.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(entry) + "\n")

    def entries(self) -> list[dict[str, Any]]:
        """Everything so far."""
        with self._lock:
            return list(self._entries)
