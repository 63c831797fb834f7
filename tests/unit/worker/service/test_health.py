"""What a worker hears of the jobs that failed here and were tried elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from farm.job import ErrorKind, JobError, JobState
from farm.store.base import JobBrief
from tests.support.valkey import eventually
from worker.fetching.gate import Gate
from worker.service.health import Health

ERROR = JobError(kind=ErrorKind.JOB, code="node_failed", message="it broke")


def a_brief(job_id: str, state: JobState) -> JobBrief:
    return JobBrief(job_id=job_id, state=state, priority=5, submitted_at=datetime(2026, 1, 1, tzinfo=UTC))


def test_all_jobs_that_failed_here_are_asked_for_at_once_until_each_has_ended() -> None:
    states = {"done": JobState.SUCCEEDED, "runs": JobState.RUNNING}
    asked: list[list[str]] = []

    def briefs(job_ids: Sequence[str]) -> dict[str, JobBrief]:
        asked.append(list(job_ids))
        return {job_id: a_brief(job_id, states[job_id]) for job_id in job_ids if job_id in states}

    health = Health(
        Gate(),
        None,  # type: ignore[arg-type]  # no probe comes so soon
        first_probe_s=3600,
        card_trouble=lambda: None,
        disk_is_full=lambda: False,
        briefs=briefs,
        judged_elsewhere=tuple,
        on_change=lambda: None,
    )
    for job_id in ("done", "runs", "removed"):
        health.doubted(job_id, ERROR)
    health.start()

    eventually(lambda: len(asked) >= 2)
    health.stop()

    assert asked[0] == ["done", "runs", "removed"]
    assert asked[1] == ["runs"]
    assert health.suspicion.open_jobs == ["runs"]
    assert health.suspicion.status().failed_here_only == 1
