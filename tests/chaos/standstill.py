"""When a worker stood still because its machine gave it no time: measured in the worker, judged by its lease.

A lease of two seconds runs out on a machine for which many processes wait, though nobody broke anything.
So each worker of an arena notes when a thread of it that only sleeps woke late; nothing but what was
measured there may explain a lost lease. A worker that used the time itself, as by holding the lock of
Python, is not excused.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from tests.chaos.history import Harm

_SLEEP_S: Final = 0.1
_LATE_S: Final = 0.2

Span = tuple[float, float]  # since the epoch


def watch(file: Path, clock: Callable[[], float]) -> None:
    """Note in a file, from now on, when this process stands still; `clock` is the right time."""

    def look() -> None:
        while True:
            slept, used = time.monotonic(), time.process_time()
            time.sleep(_SLEEP_S)
            late_s = time.monotonic() - slept - _SLEEP_S
            if is_standstill(late_s, time.process_time() - used):
                with file.open("a") as notes:
                    notes.write(f"{json.dumps((clock() - late_s, clock()))}\n")

    threading.Thread(target=look, name="standstill", daemon=True).start()


def is_standstill(late_s: float, used_s: float) -> bool:
    """Whether a thread woke so late for want of a processor, of which its process used so much meanwhile."""
    return late_s > _LATE_S and used_s < late_s / 2


def spans_of(file: Path) -> list[Span]:
    """What was noted there, but for what its writer was killed over."""
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    return [tuple(json.loads(line)) for line in lines if line.endswith("]\n") and line.startswith("[")]


def harms_of(spans: list[Span], worker: str, *, lease_s: float, renew_s: float) -> Iterator[Harm]:
    """When a worker had too little time, within a lease's length, for two renewals."""
    for _, until_s in spans:
        since_s = until_s - lease_s
        stood_s = sum(max(0.0, min(end, until_s) - max(begin, since_s)) for begin, end in spans)
        if stood_s >= lease_s - 2 * renew_s:
            gone = frozenset({"lost"})
            yield Harm(kind="standstill", since_s=since_s, until_s=until_s, explains=gone, worker=worker)
