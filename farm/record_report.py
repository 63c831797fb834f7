"""The report of a job of which no worker wrote one: what its record alone tells."""

from __future__ import annotations

from comfy.doctor.diagnose import diagnose
from comfy.doctor.report import Report, Status
from comfy.doctor.times import Failure, JobTimes
from farm.history import time_before
from farm.job import JobRecord, JobState


def report_of(job: JobRecord) -> Report:
    """How long each attempt took, and what lay between them."""
    if job.result is not None:
        return diagnose(times=JobTimes(seconds=job.result.timings_s), emulated=job.result.emulated)
    ended_at = job.finished_at or job.attempts[-1].ended_at
    before, past = time_before(job.attempts, job.submitted_at, until=ended_at)
    status = Status.INTERRUPTED if job.state is JobState.CANCELED else Status.FAILED
    return diagnose(
        times=JobTimes(seconds={**before, "attempt": 0.0}, past=past),
        failure=Failure(message=job.reason or "", status=status),
    )
