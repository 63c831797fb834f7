"""The doctor's reports of finished jobs, as typed values: of one, and summed up over a fleet."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from comfy.doctor.report import OFF_CARD, OFF_CARD_PHASES, Report, added
from farm.job import JobRecord


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
    without: int  # that have none: of an older worker, or reused, or never on a card
    gpu_s: float  # that all of them had the card


def report_in(job: JobRecord) -> Report | None:
    """The report that a job carries; None: it has none, or one of a version that is not known here."""
    told: dict[str, Any] | None = job.result.report if job.result is not None else job.report
    if told is None:
        return None
    try:
        return _adapter().validate_python(told, strict=False)
    except ValidationError:
        return None


def sum_up(jobs: Iterable[JobRecord]) -> FleetDiagnosis:
    """Add up what finished jobs have lost, by worker: those that failed too."""
    found: dict[tuple[str, str], FleetFinding] = {}
    count = without = 0
    gpu_s = 0.0
    for job in jobs:
        report = report_in(job)
        if report is None:
            without += 1
            continue
        count += 1
        gpu_s += _gpu_s(job, report)
        remedies = {finding.id: finding.remedy for finding in report.findings}
        for name, lost in report.seconds_lost().items():
            key = name, job.worker or "?"
            before = found.get(key)
            found[key] = FleetFinding(
                finding=name,
                worker=key[1],
                jobs=(before.jobs if before else 0) + 1,
                seconds=added(before.seconds if before else None, lost),
                remedy=remedies[name],
                on_card=name not in OFF_CARD,
            )
    ordered = tuple(
        sorted(
            found.values(),
            key=lambda each: (not each.on_card, -(each.seconds or 0.0), -each.jobs, each.finding),
        )
    )
    return FleetDiagnosis(findings=ordered, jobs=count, without=without, gpu_s=gpu_s)


def _gpu_s(job: JobRecord, report: Report) -> float:
    """How long a job had the card; of one that failed, as long as its attempt was not waiting."""
    if job.result is not None:
        return job.result.timings_s.get("comfy", 0.0)
    phases = report.prompts[-1].phases if report.prompts else ()
    return sum(each.seconds for each in phases if each.phase not in OFF_CARD_PHASES)


@functools.cache
def _adapter() -> TypeAdapter[Report]:
    return TypeAdapter(Report)
