"""Reports of finished jobs, read back and added up."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from bench.doctor import CORPUS
from comfy.doctor.diagnose import diagnose
from comfy.doctor.times import JobTimes
from comfy.doctor.words import to_json
from farm.cli.jobs.diagnose_views import fleet_view
from farm.job import JobRecord, JobState
from farm.reports import report_in, sum_up
from tests.support.jobs import a_job, a_result

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


@pytest.mark.parametrize("name", sorted(path.stem for path in CORPUS.glob("*.log")))
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
