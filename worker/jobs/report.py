"""The doctor's report of a job that was rendered here: by the websocket's times first, by the log second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from comfy.doctor.clip import USUAL, ClipLook, Thresholds
from comfy.doctor.diagnose import diagnose
from comfy.doctor.report import Finding, Report, Severity
from comfy.doctor.times import CardUse, JobTimes, node_times
from comfy.wan.find import steps_by_sampler
from farm.job import JobError, JobResult
from farm.status.worker import WorkerFacts
from worker.results.rendered import Rendered

_MOST_LINES: Final = 5000  # of one job


def report_of(
    rendered: Rendered,
    result: JobResult,
    worker: WorkerFacts,
    *,
    at_start: Sequence[str],
    printed: Sequence[str],
    card: CardUse | None = None,
    looks: Sequence[ClipLook] = (),
    clip_limits: Thresholds = USUAL,
) -> Report:
    """What is to be said of a job whose files are stored.

    Args:
        result: with its seconds.
        worker: what the worker says of itself.
        at_start: what ComfyUI has printed of itself when it was started.
        printed: what it has printed for this job.
        card: what was seen of the card meanwhile.
        looks: what was measured in its clips, judged by `clip_limits`.
    """
    times = JobTimes(
        seconds=result.timings_s,
        nodes=node_times(rendered.nodes, steps_by_sampler(rendered.graph)),
        output_bytes=sum(artifact.size_bytes for artifact in result.artifacts),
        again=rendered.again,
        card=card,
    )
    return diagnose(
        [*at_start, *printed[-_MOST_LINES:]],
        graph=rendered.graph,
        card=worker.gpu.name if worker.gpu is not None else None,
        times=times,
        clips=looks,
        clip_limits=clip_limits,
        emulated=worker.emulated,
    )


def report_of_failure(
    error: JobError,
    graph: Mapping[str, Any],
    seconds: Mapping[str, float],
    worker: WorkerFacts,
    *,
    at_start: Sequence[str],
    printed: Sequence[str],
    card: CardUse | None = None,
) -> Report:
    """What is to be said of an attempt that failed, as far as it came.

    Args:
        graph: as it was asked for.
        seconds: "queue", "paused" where it was, and "attempt".
    """
    return diagnose(
        [*at_start, *printed[-_MOST_LINES:]],
        graph=graph,
        card=worker.gpu.name if worker.gpu is not None else None,
        times=JobTimes(seconds=seconds, card=card),
        failure=error.message,
        failed_class=error.node_type or "",
        emulated=worker.emulated,
    )


def events_of(findings: Sequence[Finding]) -> list[Mapping[str, Any]]:
    """What those who follow a job are told of its findings; what is only worth to know is in the report."""
    return [
        {
            "code": finding.id,
            "message": finding.message,
            "remedy": finding.remedy,
            "seconds": finding.cost.seconds if finding.cost is not None else None,
        }
        for finding in findings
        if finding.severity is not Severity.INFO
    ]
