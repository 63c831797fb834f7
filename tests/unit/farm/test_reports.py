"""Reports of finished jobs, read back and added up."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from bench.doctor import CORPUS
from comfy.doctor.diagnose import diagnose
from comfy.doctor.report import Phase, Status
from comfy.doctor.times import JobTimes
from comfy.doctor.words import to_json
from farm.cli.jobs.diagnose_views import fleet_view
from farm.job import AttemptNote, ErrorKind, JobError, JobRecord, JobState
from farm.reports import report_in, sum_up, told_with_report, why_no_report
from tests.support.jobs import a_job, a_result
from tests.support.tables import for_each

NOW = datetime(2026, 11, 30, tzinfo=UTC)


def report_of(name: str) -> dict[str, Any]:
    with (CORPUS / f"{name}.log").open("rb") as log:
        return to_json(diagnose(log))


def a_record(report: dict[str, Any] | None, worker: str = "w1") -> JobRecord:
    new = a_job()
    result = replace(a_result(), report=report, timings_s={"comfy": 100.0})
    return JobRecord(
        job_id=new.job_id,
        spec=new.spec,
        state=JobState.SUCCEEDED,
        submitted_at=NOW,
        queue=new.queue,
        worker=worker,
        result=result,
    )


@for_each("name", sorted(path.stem for path in CORPUS.glob("*.log")))
def test_a_report_comes_back_as_it_was_stored(name: str) -> None:
    stored = report_of(name)

    found = report_in(a_record(stored))

    assert found is not None
    assert to_json(found) == stored


@pytest.mark.parametrize(
    "report", [None, {}, {"prompts": 3}, {"version": 99, "prompts": [{"status": "new"}]}]
)
def test_what_is_no_report_of_a_version_that_is_known_is_none(report: dict[str, Any] | None) -> None:
    assert report_in(a_record(report)) is None


def test_a_fleets_losses_are_added_up_by_finding_and_worker() -> None:
    gguf = report_of("origin-450s")
    jobs = [
        a_record(gguf),
        a_record(gguf),
        a_record(gguf, "w2"),
        a_record(report_of("healthy-legacy")),
        a_record(None),
    ]

    found = sum_up(jobs)

    assert (found.jobs, found.without, found.gpu_s) == (4, 1, 400.0)
    first, second = found.findings[:2]
    assert (first.finding, first.worker, first.jobs) == ("gguf-where-fp8-fits", "w1", 2)
    assert (second.finding, second.worker, second.jobs) == ("gguf-where-fp8-fits", "w2", 1)
    assert second.seconds
    assert first.seconds == pytest.approx(2 * second.seconds)
    assert "fp8_scaled" in first.remedy


def test_seconds_that_nobody_knows_are_told_as_that_and_not_as_none_lost() -> None:
    unknown = a_record(report_of("cache-none"))
    found = sum_up([unknown, unknown, a_record(report_of("origin-450s"))])

    lost = {each.finding: each.seconds for each in found.findings}
    assert lost["cache-off"] is None
    told = io.StringIO()
    Console(file=told, width=200).print(fleet_view(found))
    (row,) = [line for line in told.getvalue().splitlines() if "cache-off" in line]
    assert row.split()[:3] == ["seconds", "unknown", "2"]


def test_what_jobs_wait_for_a_card_is_no_loss_of_a_card() -> None:
    times = JobTimes(seconds={"queue": 4000.0, "attempt": 100.0, "comfy": 90.0})
    waited = a_record(to_json(diagnose(b"", times=times)))

    found = sum_up([waited, a_record(report_of("origin-450s"))])

    assert [each.finding for each in found.findings if not each.on_card] == ["queue-wait"]
    assert found.findings[-1].seconds == 4000.0  # behind those that cost less, and cost a card
    told = io.StringIO()
    Console(file=told, width=200).print(fleet_view(found))
    assert "1.1 job-hours" in told.getvalue()
    assert "GPU-hours" not in told.getvalue()


def note(number: int, worker: str, began_s: float, ended_s: float, outcome: str, **more: Any) -> AttemptNote:
    return AttemptNote(
        attempt=number,
        worker=worker,
        outcome=outcome,
        started_at=NOW + timedelta(seconds=began_s),
        ended_at=NOW + timedelta(seconds=ended_s),
        **more,
    )


LOST = (
    note(1, "w1", 2, 22, "lost", heard_at=NOW + timedelta(seconds=7)),
    note(2, "w2", 30, 50, "lost", heard_at=NOW + timedelta(seconds=35)),
)


def ended(state: JobState, attempts: tuple[AttemptNote, ...], **more: Any) -> JobRecord:
    return replace(
        a_record(None, "w2"),
        state=state,
        result=None,
        attempt=len(attempts),
        attempts=attempts,
        finished_at=NOW + timedelta(seconds=50),
        **more,
    )


@pytest.mark.parametrize(
    ("job", "status"),
    [
        (ended(JobState.FAILED, LOST), Status.FAILED),
        (ended(JobState.CANCELED, (*LOST, note(3, "w1", 50, 50, "canceled"))), Status.INTERRUPTED),
        # Its first attempt left a report, and others came after it.
        (ended(JobState.FAILED, LOST, report=report_of("cache-none")), Status.FAILED),
    ],
    ids=["lost", "canceled", "lost after it had failed"],
)
def test_a_job_that_no_worker_had_the_last_word_of_has_a_report_of_its_record(
    job: JobRecord, status: Status
) -> None:
    report = report_in(job)

    assert report is not None
    (prompt,) = report.prompts
    assert (prompt.status, prompt.wall_s) == (status, 50)
    seconds = {phase.phase: phase.seconds for phase in prompt.phases}
    assert (seconds[Phase.DISCARDED], seconds[Phase.LEASE]) == (10, 30)
    assert sum(seconds.values()) == pytest.approx(50)
    assert told_with_report(job).report == to_json(report)


def test_what_attempts_lost_is_of_the_workers_that_had_them_and_is_in_the_sums() -> None:
    found = sum_up([ended(JobState.FAILED, LOST), a_record(report_of("healthy-legacy"))])

    lost = {each.worker: each.seconds for each in found.findings if each.finding == "attempt-lost"}
    assert lost == {"w1": 5, "w2": 5}
    assert found.gpu_s == 110
    told = io.StringIO()
    Console(file=told, width=200).print(fleet_view(found))
    assert "1 min 50 s on the card, 10.0 s of them lost, 30.0 s beside it" in told.getvalue()


def test_one_kind_of_loss_with_two_causes_has_the_remedy_of_each() -> None:
    full = JobError(kind=ErrorKind.MACHINE, code="disk_full", message="no room\nTraceback …")
    failed = note(1, "w1", 2, 7, "failed", error=full)
    died = note(2, "w1", 20, 40, "lost", heard_at=NOW + timedelta(seconds=30))

    found = sum_up([ended(JobState.FAILED, (failed, died))] * 2)

    lost = [each for each in found.findings if each.finding == "attempt-lost"]
    assert [(each.jobs, each.seconds) for each in lost] == [(2, 20), (2, 10)]
    assert ["dmesg" in each.remedy for each in lost] == [True, False]
    assert "make room" in lost[1].remedy


def test_a_failed_attempt_is_told_in_a_line_and_its_pause_as_a_wait() -> None:
    why = JobError(kind=ErrorKind.TRANSIENT, code="io_error", message="no luck\nTraceback\n  File x")
    failed = note(1, "w1", 2, 7, "failed", error=why, again_at=NOW + timedelta(seconds=13))

    report = report_in(ended(JobState.FAILED, (failed, note(2, "w2", 13, 50, "lost"))))

    assert report is not None
    found = {finding.id: finding for finding in report.findings if finding.worker != "w2"}
    assert found["attempt-lost"].message == "attempt 1 on w1 failed after 5.0 s: no luck"
    assert found["attempt-lost"].evidence[0].text == "no luck"
    assert found["retry-wait"].cost is not None
    assert found["retry-wait"].cost.seconds == 6


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (replace(a_record(None), result=None, reused_from="abc"), "the result of job abc"),
        (replace(a_record(None), result=None, state=JobState.QUEUED), "when an attempt has ended"),
        (replace(a_record(None), result=None, state=JobState.EXPIRED), "no worker had it"),
        (replace(a_record({"version": 99, "prompts": 3}), attempt=1), "cannot be read here"),
    ],
    ids=["reused", "waiting", "expired", "newer"],
)
def test_why_a_job_has_no_report_is_told_as_it_is(job: JobRecord, words: str) -> None:
    assert report_in(job) is None
    assert words in why_no_report(job)


def test_a_result_without_a_report_tells_its_own_seconds() -> None:
    job = replace(a_record(None), attempts=(note(1, "w1", 0, 100, "succeeded"),))

    report = report_in(job)

    assert report is not None
    assert report.prompts[0].wall_s == 100
