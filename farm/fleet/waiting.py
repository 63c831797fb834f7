"""Why a queued job does not run yet: in words, from what the fleet says of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from farm.fleet.preflight import WorkerVerdict
from farm.job import JobRecord, JobState
from farm.store.base import Counts

_WORKERS_NAMED: Final = 10
_PROBLEMS_NAMED: Final = 3


def why_waiting(record: JobRecord, verdicts: Sequence[WorkerVerdict], counts: Counts) -> list[str]:
    """What a queued job waits for, one line for each thing; empty for a job that does not wait.

    Args:
        verdicts: of every live worker on this job.
    """
    if record.state is not JobState.QUEUED:
        return []
    if record.paused_at is not None:
        return [
            f"paused since {record.paused_at:%H:%M:%S} UTC: `farm resume {record.job_id[:12]}` lets it run"
        ]
    lines = []
    if record.not_before is not None:
        lines.append(f"its next try is not before {record.not_before:%H:%M:%S} UTC")
    if record.parked is not None:
        lines.append(f"parked until a worker that fits comes: {record.parked}")
    if not verdicts:
        return [*lines, "no worker lives: start one (`farm up`, or `farm-worker up` on the node)"]
    lines += _queue_words(record, counts)
    able = [each for each in verdicts if each.takes_it]
    if not able and record.parked is None:
        lines.append("no live worker can take it")
    lines += _some([f"{each.name} can take it: {_at_present(each, record)}" for each in able])
    lines += _some([f"{each.name} cannot: {_lack(each)}" for each in verdicts if not each.takes_it])
    return lines


def _queue_words(record: JobRecord, counts: Counts) -> list[str]:
    """How many are before it, as far as counting tells: order within a priority queue is by age."""
    if record.parked is not None or record.not_before is not None:
        return []
    mine = [each for each in counts.waiting if each.queue == record.queue]
    urgent = sum(each.waiting for each in mine if each.priority < record.spec.priority)
    same = sum(each.waiting for each in mine if each.priority == record.spec.priority)
    others = max(same - 1, 0)
    if not urgent and not others:
        return []
    return [f"in {record.queue} wait {urgent} more urgent jobs and {others} others of its priority"]


def _at_present(verdict: WorkerVerdict, record: JobRecord) -> str:
    worker = verdict.worker
    if worker.not_fetching:
        return f"it fetches nothing: {', '.join(reason.why for reason in worker.not_fetching)}"
    if worker.jobs:
        return f"it works on {', '.join(job_id[:12] for job_id in worker.jobs)}"
    if any(note.worker == worker.name for note in record.attempts):
        return "it is free, but an attempt ended badly there: for a while others have the first right to it"
    return "it is free"


def _lack(verdict: WorkerVerdict) -> str:
    words = [] if verdict.class_gib is None else [f"it serves the {verdict.class_gib} GiB class only"]
    words += [str(problem) for problem in verdict.problems[:_PROBLEMS_NAMED]]
    more = len(verdict.problems) - _PROBLEMS_NAMED
    return "; ".join(words) + (f"; and {more} more" if more > 0 else "")


def _some(lines: list[str]) -> list[str]:
    more = len(lines) - _WORKERS_NAMED
    return lines[:_WORKERS_NAMED] + ([f"… and {more} more workers likewise"] if more > 0 else [])
