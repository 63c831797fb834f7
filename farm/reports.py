"""The doctor's reports of finished jobs, as typed values: of one, and summed up over a fleet."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from comfy.doctor.report import OFF_CARD, OFF_CARD_PHASES, Report, added
from farm.job import JobRecord, JobState

_Key = tuple[str, str, str]  # a finding's id, the worker, the remedy: one id may have several causes


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetFinding:
    """What one thing has cost on one worker."""

    finding: str  # id, as docs/doctor.md has it
    worker: str
    jobs: int
    seconds: float | None  # lost, as far as they are known; None: not of any job
    remedy: str
    on_card: bool  # False: jobs lost them without a card, which others used


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetDiagnosis:
    """The findings of many jobs, by seconds lost; those that cost no card's time come last."""

    findings: tuple[FleetFinding, ...]
    jobs: int  # that have a report
    without: int  # that have none: of a newer worker, or reused, or never on a card
    gpu_s: float  # that all of them had the card


def report_in(job: JobRecord) -> Report | None:
    """The report of a job; None: no worker had it, or it has one of a version that is not known here."""
    if job.result is None and _ended_without_report(job):
        return _of_record(job)
    told: dict[str, Any] | None = job.result.report if job.result is not None else job.report
    if told is None:
        return _of_record(job) if job.result is not None and job.attempts else None
    try:
        return _adapter().validate_python(told, strict=False)
    except ValidationError:
        return None


def told_with_report(job: JobRecord) -> JobRecord:
    """The record for whoever reads its JSON: with a report too where no worker wrote one; see `report_in`."""
    if job.result is not None or not _ended_without_report(job):
        return job
    from comfy.doctor.words import to_json

    return replace(job, report=to_json(_of_record(job)))


def why_no_report(job: JobRecord) -> str:
    """Why `report_in` has none, for a person."""
    if job.reused_from is not None:
        return f"it has the result of job {job.reused_from}, which tells where its seconds went"
    if not job.state.final:
        return "a report comes when an attempt has ended"
    if not job.attempt:
        return "no worker had it"
    return "what its worker said of it cannot be read here: was that a newer farm?"


def _ended_without_report(job: JobRecord) -> bool:
    """Whether no worker had the last word: it was lost for good, or canceled."""
    return (
        job.state.final
        and bool(job.attempts)
        and (job.report is None or job.attempts[-1].outcome != "failed")
    )


def _of_record(job: JobRecord) -> Report:
    from farm.record_report import report_of  # and all rules of the doctor, which few starts need

    return report_of(job)


def sum_up(jobs: Iterable[JobRecord]) -> FleetDiagnosis:
    """Add up what ended jobs have lost, by worker: those that failed too, and earlier attempts."""
    found: dict[_Key, FleetFinding] = {}
    count = without = 0
    gpu_s = 0.0
    for job in jobs:
        report = report_in(job)
        if report is None:
            without += job.state is not JobState.CANCELED
            continue
        count += 1
        gpu_s += _gpu_s(job, report)
        for key, lost_s in _lost_in(job, report).items():
            before = found.get(key)
            name, worker, remedy = key
            found[key] = FleetFinding(
                finding=name,
                worker=worker,
                jobs=(before.jobs if before else 0) + 1,
                seconds=added(before.seconds if before else None, lost_s),
                remedy=remedy,
                on_card=name not in OFF_CARD,
            )
    ordered = tuple(
        sorted(
            found.values(),
            key=lambda each: (not each.on_card, -(each.seconds or 0.0), -each.jobs, each.finding),
        )
    )
    return FleetDiagnosis(findings=ordered, jobs=count, without=without, gpu_s=gpu_s)


def _lost_in(job: JobRecord, report: Report) -> dict[_Key, float | None]:
    lost: dict[_Key, float | None] = {}
    for finding in report.findings:
        key = finding.id, finding.worker or job.worker or "?", finding.remedy
        seconds = finding.cost.seconds if finding.cost is not None else None
        lost[key] = added(lost.get(key), seconds)
    return lost


def _gpu_s(job: JobRecord, report: Report) -> float:
    """How long a job had the card, with all that came to nothing there."""
    if job.result is not None:
        timings_s = job.result.timings_s
        return sum(timings_s.get(name, 0.0) for name in ("earlier", "discarded", "comfy"))
    phases = report.prompts[-1].phases if report.prompts else ()
    return sum(each.seconds for each in phases if each.phase not in OFF_CARD_PHASES)


@functools.cache
def _adapter() -> TypeAdapter[Report]:
    return TypeAdapter(Report)
