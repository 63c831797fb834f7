"""What the doctor has found in this worker's jobs, counted for the fleet's metrics."""

from __future__ import annotations

import threading
from dataclasses import replace

from comfy.doctor.report import Report
from farm.status.worker import FindingStatus


class FindingCounts:
    """Counts jobs and seconds of each finding; may be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, FindingStatus] = {}

    def add(self, report: Report) -> None:
        """Count the findings of one job, but for those of another attempt: they were counted at its end."""
        own = replace(report, findings=tuple(each for each in report.findings if not each.worker))
        with self._lock:
            for name, lost in own.seconds_lost().items():
                before = self._counts.get(name, FindingStatus())
                self._counts[name] = FindingStatus(
                    jobs=before.jobs + 1, seconds=before.seconds + (lost or 0.0)
                )

    def status(self) -> dict[str, FindingStatus]:
        """So many since the worker was started."""
        with self._lock:
            return dict(self._counts)
