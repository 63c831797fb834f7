"""The doctor's report of a job that was rendered here: by the websocket's times first, by the log second."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from comfy.doctor.clip import USUAL, ClipLook, Thresholds
from comfy.doctor.diagnose import diagnose
from comfy.doctor.report import Finding, Question, Report, Severity, Status
from comfy.doctor.times import CardUse, Failure, JobTimes, node_times, unheard_s
from comfy.protocol.progress import NodeTiming
from comfy.protocol.run import Outcome, PromptRun
from comfy.wan.find import steps_by_sampler
from farm.history import Before
from farm.job import JobError, JobResult, JobSpec
from farm.status.worker import WorkerFacts
from worker.results.rendered import Rendered

log = logging.getLogger(__name__)

_MOST_LINES: Final = 5000  # of one job


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the worker itself knows of an attempt, whatever came of it."""

    worker: WorkerFacts
    before: Before  # the attempt: `farm.history`
    at_start: Sequence[str] = ()  # what ComfyUI has printed of itself when it was started
    printed: Sequence[str] = ()  # what it has printed for this job
    card: CardUse | None = None  # what was seen of it meanwhile


def report_of(
    rendered: Rendered,
    result: JobResult,
    seen: Seen,
    *,
    looks: Sequence[ClipLook] = (),
    clip_limits: Thresholds = USUAL,
) -> Report:
    """What is to be said of a job whose files are stored.

    Args:
        result: with its seconds.
        looks: what was measured in its clips, judged by `clip_limits`.
    """
    times = JobTimes(
        seconds=result.timings_s,
        past=seen.before[1],
        nodes=node_times(rendered.nodes, steps_by_sampler(rendered.graph)),
        unheard_s=unheard_s(rendered.nodes),
        output_bytes=sum(artifact.size_bytes for artifact in result.artifacts),
        again=rendered.again,
        fallbacks=tuple(step.value.replace("_", " ") for step in rendered.fallback_steps),
        card=seen.card,
    )
    return _diagnosed(seen, rendered.graph, times, clips=looks, clip_limits=clip_limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How an attempt went that failed; moments are monotonic."""

    began_s: float
    ended_s: float
    first_render_s: float | None = None  # None: it never had the card
    last_render_s: float = 0.0
    left_s: float | None = None  # the card
    until_s: float | None = None  # when its time was up; None: something else ended it
    run: PromptRun | None = None  # the last one that was heard of
    rendered: Rendered | None = None  # where only the files could not be stored

    def seconds(self) -> dict[str, float]:
        """As `JobTimes` names them."""
        found = {"attempt": self.ended_s - self.began_s}
        if self.rendered is not None:
            since_s = self.began_s if self.left_s is None else self.left_s
            return {**found, **self.rendered.timings_s, "publish": self.ended_s - since_s}
        if self.left_s is None or self.first_render_s is None:
            return {**found, "prepare": self.ended_s - self.began_s}
        began_s, stopped_s = self.began_s, self._stopped_s
        if self.last_render_s > self.first_render_s:
            found["discarded"] = self.last_render_s - began_s
            began_s = self.last_render_s
        ran_s = self.run.started_s if self.run is not None else None
        found["prepare"] = max(min(ran_s or stopped_s, stopped_s) - began_s, 0.0)
        if self.run is not None and self.run.outcome is Outcome.SUCCEEDED:
            found["collect"] = max(stopped_s - (self.run.ended_s or stopped_s), 0.0)
        return {**found, "stopping": self.left_s - stopped_s} if self.left_s > stopped_s else found

    def nodes(self) -> tuple[NodeTiming, ...]:
        """What ran; the node at work ends with the attempt's time, however long ComfyUI goes on with it."""
        if self.rendered is not None or self.run is None:
            return self.rendered.nodes if self.rendered is not None else ()
        stopped_s = self._stopped_s
        return tuple(
            replace(node, ended_s=min(node.ended_s or stopped_s, stopped_s))
            for node in self.run.timings
            if node.started_s < stopped_s
        )

    def failure(self, error: JobError, limit_s: float) -> Failure:
        """Why it failed, and at which node."""
        if self.until_s is None:
            return Failure(
                message=error.message, node_id=error.node_id or "", class_type=error.node_type or ""
            )
        last = self.nodes()[-1:]
        at_work = [node for node in last if node.ended_s is not None and node.ended_s >= self._stopped_s]
        return Failure(
            message=error.message,
            node_id=at_work[0].node_id if at_work else "",
            class_type=at_work[0].class_type or "" if at_work else "",
            limit_s=limit_s,
            grace_s=error.details.get("grace_s"),
            status=Status.INTERRUPTED,
        )

    @property
    def _stopped_s(self) -> float:
        """When what it did ended, or should have."""
        left_s = self.ended_s if self.left_s is None else self.left_s
        return left_s if self.until_s is None else min(left_s, self.until_s)


def report_of_failure(error: JobError, spec: JobSpec, course: Course, seen: Seen) -> Report:
    """What is to be said of an attempt that failed, as far as it came."""
    graph = course.rendered.graph if course.rendered is not None else spec.graph
    before, past = seen.before
    times = JobTimes(
        seconds={**before, **course.seconds()},
        past=past,
        nodes=node_times(course.nodes(), steps_by_sampler(graph)),
        unheard_s=unheard_s(course.nodes()),
        card=seen.card,
    )
    failure = course.failure(error, spec.time_limit_s)
    return _diagnosed(seen, graph, times, failure=failure)


def _diagnosed(seen: Seen, graph: Mapping[str, Any], times: JobTimes, **more: Any) -> Report:
    card = seen.worker.gpu.name if seen.worker.gpu is not None else None
    lines = [*seen.at_start, *seen.printed[-_MOST_LINES:]]
    try:
        return diagnose(lines, graph=graph, card=card, times=times, emulated=seen.worker.emulated, **more)
    except Exception:
        # Seconds, files and how it ended are known: no line that somebody printed may hide them.
        log.exception("What ComfyUI printed could not be read", extra={"event": "log_unreadable"})
    report = diagnose((), graph=graph, card=card, times=times, emulated=seen.worker.emulated, **more)
    unread = Question(what=f"what {len(lines)} lines of ComfyUI say", decides="a farm that can read them")
    return replace(report, questions=(*report.questions, unread))


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
