"""One message from the queue: claim the job, render it, publish it, book the outcome. Knows no Celery."""

from __future__ import annotations

import base64
import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any, Final

from comfy.doctor.clip import ClipLook
from comfy.doctor.report import Report
from comfy.doctor.words import to_json
from comfy.errors import RunInterrupted, RunLost, ServerError, ServerUnreachable
from comfy.protocol.run import PromptRun
from farm.errors import StorageUnavailable, StoreUnavailable, TransferStopped
from farm.history import Before, history_of
from farm.job import (
    MOST_TEXTS,
    PUBLISHING,
    ErrorKind,
    EventKind,
    JobError,
    JobResult,
    JobState,
    Progress,
    queue_for,
    shown_text,
)
from farm.store.base import Claim, LeaseAnswer, NewEvent, Refused
from worker.errors import ComfyDied, TimeLimitReached
from worker.inputs.gather import gather
from worker.jobs.booking import Booking, publishers_busy, worker_drains
from worker.jobs.context import AttemptContext, GpuTurn, RenderContext, RunListener
from worker.jobs.faults import Fault, sort_fault
from worker.jobs.job_seconds import job_seconds
from worker.jobs.lease import Lease
from worker.jobs.names import prompt_id, run_folder
from worker.jobs.report import Course, Seen, events_of, report_of, report_of_failure
from worker.jobs.reporter import Reporter
from worker.jobs.tries import Tries
from worker.plan.fallback import FallbackStep, larger_class
from worker.results.manifest import manifest_of
from worker.results.rendered import Rendered
from worker.results.retained import RetainedRender

log = logging.getLogger(__name__)

# ComfyUI is ended together with this worker when both get a signal at once, as from systemd or an init.
_COMFYUI_ENDED: Final = (ComfyDied, RunInterrupted, RunLost, ServerError, ServerUnreachable)
_SIGNAL_PATIENCE_S: Final = 3.0  # in which this process hears of it too, on a busy machine
_LOG_LINES: Final = 30  # of a failed attempt, in the job's stream
_LINE_LENGTH: Final = 300

NOT_CLAIMED: Final = "dropped: this worker drains"
KEPT_FROM_IT: Final = f"dropped: {Refused.NOT_HERE.value}"


def attempt(
    job_id: str,
    context: AttemptContext,
    *,
    priority: int | None = None,
    announce: Callable[[Progress], None],
    turn: GpuTurn,
    only_publish: bool = False,
    may_claim: Callable[[], bool] = lambda: True,
) -> str:
    """Work on a job until its attempt has ended; returns what became of it, in a word or two.

    Args:
        priority: of the message that named the job; None when none did.
        turn: its right to the GPU; given up once nothing of it needs the GPU any more, whatever came of it.
        only_publish: give the job back rather than render it: another job may have the GPU.
        may_claim: whether this worker still takes jobs of this kind.

    The outcome is in the store by then. Raises nothing that a job could cause; `StoreUnavailable`
    means that even the store's patience was used up, and then its lease runs out by itself.
    """
    with contextlib.ExitStack() as until_held:
        until_held.enter_context(context.keeper.claiming())
        # Not sooner: a drain that begins after this look waits for what comes of the claim.
        if not may_claim():
            return NOT_CLAIMED
        asked_at = time.monotonic()
        claim = context.store.claim(job_id, worker=context.name, priority=priority)
        if isinstance(claim, Refused):
            log.info(
                "Notification dropped",
                extra={"event": "notification_dropped", "job_id": job_id, "why": claim.value},
            )
            return f"dropped: {claim.value}"
        with context.keeper.hold(claim, asked_at=asked_at) as lease:
            until_held.close()
            reporter = Reporter(context.store, job_id, claim.attempt, token=claim.token, announce=announce)
            try:
                return _Attempt(claim, lease, context, reporter, turn).run(only_publish=only_publish)
            finally:
                reporter.close()


class _Attempt:
    def __init__(
        self,
        claim: Claim,
        lease: Lease,
        context: AttemptContext,
        reporter: Reporter,
        turn: GpuTurn,
    ) -> None:
        self._claim = claim
        self._lease = lease
        self._context = context
        self._reporter = reporter
        self._turn = turn
        self._booking = Booking(context.store, claim, context.name, renew_s=context.renew_s)
        self._facts = {"job_id": claim.job_id, "attempt": claim.attempt, "token": claim.token}
        self._started = self._claimed = time.monotonic()
        self._left_gpu: float | None = None  # None: it never had the card
        self._tries = Tries(
            self._facts,
            tell=lambda event: self._booking.tell([event]),
            attention=lambda: context.hooks.facts().attention_backend,
            limits=context.clip_limits,
        )
        self._judged: tuple[Exception, Fault] | None = None
        self._rendered: Rendered | None = None
        self._run_heard: PromptRun | None = None
        self._told_before: Before | None = None
        self._looks: list[ClipLook] = []
        self._holds_a_thread = True
        self._retained: RetainedRender | None = (
            None  # these very files, when an earlier attempt rendered them
        )

    def run(self, *, only_publish: bool) -> str:
        self._holds_a_thread = not only_publish  # of those that render
        log.info(
            "Job claimed",
            extra={"event": "job_claimed", **self._facts, "prompt_id": prompt_id(self._claim)},
        )
        self._retained = self._context.retained.find(self._claim.job_id, self._claim.spec)
        if self._retained is not None:
            retained = self._retained
            self._turn.off_the_gpu()
            return self._run(lambda: self._take(retained))
        return self._end_released("its finished files are gone") if only_publish else self._run(self._use_gpu)

    def _run(self, make: Callable[[], Rendered]) -> str:
        try:
            return self._work(make)
        finally:
            # Not before the store has the outcome: until then the files may have to be kept.
            self._context.comfy.clean(run_folder(self._claim))
            shutil.rmtree(self._context.scratch / run_folder(self._claim), ignore_errors=True)
            self._context.inputs.release(self._claim.token)

    def _work(self, make: Callable[[], Rendered]) -> str:
        try:
            rendered = self._rendered = make()
            self._lease.is_rendered = True
            if self._holds_a_thread and not self._context.hooks.may_publish() and self._keep(rendered):
                return self._booking.put_on_hold(publishers_busy(self._context.name))
            result = self._publish(rendered)
        except Exception as exc:  # noqa: BLE001 - the top of a task: sorted, booked and logged below
            return self._end_stopped() if self._lease.stopped.is_set() else self._end_failed(exc)
        return self._commit(result, rendered)

    def _take(self, retained: RetainedRender) -> Rendered:
        log.info(
            "Files of an earlier attempt are published",
            extra={"event": "republished", **self._facts, "rendered_by": retained.attempt},
        )
        return retained.rendered

    def _use_gpu(self) -> Rendered:
        try:
            self._fetch_inputs()
        except Exception as exc:
            self._judge(exc)
            self._turn.off_the_gpu()
            raise
        waiting_since = time.monotonic()
        self._turn.take_gpu(self._lease.stopped)
        self._started += time.monotonic() - waiting_since  # another job's time is not this one's
        try:
            return self._render()
        except Exception as exc:
            # Before the gate opens: a broken machine must not have the next job.
            self._judge(exc)
            raise
        finally:
            self._left_gpu = time.monotonic()
            self._context.hooks.after_render()
            # Whatever came of it, the GPU is free: the next job may come while this one is booked.
            self._turn.off_the_gpu()

    def _fetch_inputs(self) -> None:
        """Have the input files here before the GPU is taken: a slow server must not hold a card."""
        spec, stop = self._claim.spec, self._lease.stopped
        if not spec.inputs:
            return
        until = self._started + spec.time_limit_s
        try:
            gather(
                self._context.inputs,
                spec.inputs,
                holder=self._claim.token,
                time_s=self._context.inputs_time_s,
                stop=lambda: stop.is_set() or time.monotonic() > until,
                on_slow=self._turn.step_aside,
            )
        except TransferStopped as exc:
            if stop.is_set():
                raise
            raise TimeLimitReached(self._claim.job_id, spec.time_limit_s) from exc

    def _render_context(self) -> RenderContext:
        worker = self._context
        return RenderContext(
            claim=self._claim,
            comfy=worker.comfy,
            inputs=worker.inputs,
            scratch=worker.scratch,
            fitter=worker.fitter,
            listener=RunListener(
                phase=self._reporter.phase,
                progress=self._reporter.progress,
                preview=self._show if worker.previews else None,
                run=self._hear,
            ),
            stop=self._lease.stopped,
            prove=self._lease.prove,
            until=self._started + self._claim.spec.time_limit_s,
        )

    def _render(self) -> Rendered:
        # Before they are loaded: a result must not pass for one of a file that came during the run.
        model_bytes = dict(self._context.hooks.sizes_of(self._claim.spec.requirements.models))
        rendered = self._tries.render(self._render_context())
        self._context.comfy.settle()
        for blocked in rendered.blocked:
            self._reporter.event(EventKind.FINDING, code="blocked", message=str(blocked))
        self._context.hooks.on_rendered(rendered.graph)
        return replace(rendered, model_bytes=model_bytes)

    def _judge(self, exc: Exception) -> Fault:
        """Sort an error once, while the machine is as the attempt left it: its files are removed soon."""
        if self._judged is None or self._judged[0] is not exc:
            self._judged = exc, sort_fault(exc, self._context.hooks.machine_trouble())
            if not self._lease.stopped.is_set():
                self._context.hooks.on_failed(self._claim.job_id, self._judged[1].error)
        return self._judged[1]

    def _hear(self, run: PromptRun | None) -> None:
        self._run_heard = run

    def _show(self, node_id: str, media_type: str, image: bytes) -> None:
        picture = base64.b64encode(image).decode()
        self._reporter.event(EventKind.PREVIEW, node_id=node_id, media_type=media_type, image=picture)

    def _publish(self, rendered: Rendered) -> JobResult:
        self._reporter.phase(PUBLISHING)
        started = time.monotonic()
        timings_s = {**self._before()[0], **rendered.timings_s}
        published = self._context.publisher.publish(
            self._claim.job_id,
            self._claim.token,
            rendered.outputs,
            self._manifest(rendered),
            timings=lambda: timings_s,
            keep_metadata=self._context.prompt_metadata and self._claim.spec.rewrite_options.keep_metadata,
            stop=self._lease.stopped,
            saw=self._looks.append,
        )
        ended = time.monotonic()
        timings_s |= published.timings_s
        timings_s |= {"publish": ended - started, "attempt": ended - self._started}
        stored = replace(
            published,
            timings_s={name: round(spent, 4) for name, spent in timings_s.items()},
            texts=tuple(shown_text(each.node_id, each.text) for each in rendered.texts[:MOST_TEXTS]),
        )
        return replace(stored, report=self._diagnosed(rendered, stored))

    def _diagnosed(self, rendered: Rendered, result: JobResult) -> dict[str, Any] | None:
        """What the doctor says of the job."""
        limits = self._context.clip_limits
        return self._told(
            lambda: report_of(rendered, result, self._seen(), looks=self._looks, clip_limits=limits)
        )

    def _diagnosed_failure(self, error: JobError) -> dict[str, Any] | None:
        """What the doctor says of an attempt that failed, as far as it came."""
        spec = self._claim.spec
        is_late = error.kind is ErrorKind.TIME_LIMIT
        course = Course(
            began_s=self._started,
            ended_s=time.monotonic(),
            first_render_s=self._tries.first_began_s,
            last_render_s=self._tries.began_s,
            left_s=self._left_gpu,
            until_s=self._started + spec.time_limit_s if is_late else None,
            run=self._run_heard,
            rendered=self._rendered,
        )
        return self._told(lambda: report_of_failure(error, spec, course, self._seen()))

    def _seen(self) -> Seen:
        """What is known of this attempt; nothing that ComfyUI says is, where another one rendered it."""
        hooks, left_s = self._context.hooks, self._left_gpu
        if left_s is None:
            return Seen(worker=hooks.facts(), before=self._before())
        return Seen(
            worker=hooks.facts(),
            before=self._before(),
            at_start=hooks.said_at_start(),
            printed=self._printed(left_s),
            card=hooks.card_during(self._started, left_s),
        )

    def _before(self) -> Before:
        """What came before this attempt; the store is asked once.

        No `functools.cached_property`: its lock is one for all attempts, and each would wait for the
        answer to another one's question.
        """
        if self._told_before is None:
            claim, worker = self._claim, self._context
            rendered_by = self._retained.attempt if self._retained is not None else None
            self._told_before = history_of(claim, worker.name, worker.store, rendered_by=rendered_by)
        return self._told_before

    def _printed(self, left_s: float) -> Sequence[str]:
        ran_s = self._run_heard.started_s if self._run_heard is not None else None
        return self._context.hooks.printed_for(self._started, left_s, ran_s)

    def _told(self, diagnose: Callable[[], Report]) -> dict[str, Any] | None:
        """A report, counted and told to those who follow the job."""
        try:
            report = diagnose()
        except Exception:
            # What became of the job is known: no fault in judging it may undo that.
            log.exception("A job could not be diagnosed", extra={"event": "diagnosis_failed", **self._facts})
            return None
        self._context.hooks.on_report(report)
        told = [NewEvent(kind=EventKind.FINDING, data=dict(data)) for data in events_of(report.findings)]
        if told:
            self._booking.tell(told)
        return to_json(report)

    def _manifest(self, rendered: Rendered) -> dict[str, Any]:
        if self._retained is None:
            return manifest_of(self._claim, rendered, asdict(self._context.hooks.facts()))
        return manifest_of(self._claim, rendered, self._retained.worker, rendered_by=self._retained.attempt)

    def _commit(self, result: JobResult, rendered: Rendered) -> str:
        answer = self._booking.succeed(result)
        if answer is LeaseAnswer.OK:
            self._context.hooks.on_succeeded(self._claim.job_id)
            self._context.hooks.on_storage(None)
            self._note_paces(rendered)
            if self._retained is not None:
                self._context.retained.forget(self._retained.token)
            log.info("Job succeeded", extra={"event": "job_succeeded", **self._facts})
            return "succeeded"
        if answer is LeaseAnswer.CANCELED:
            self._booking.cancel()
        else:
            log.warning("Result not accepted", extra={"event": "result_refused", **self._facts})
            self._keep(rendered)  # for the next attempt, should that be this worker's too
        self._discard()
        return "canceled" if answer is LeaseAnswer.CANCELED else "lost"

    def _note_paces(self, rendered: Rendered) -> None:
        """Add what this job took to what the farm knows; one that was rendered twice tells nothing."""
        if rendered.fallback_steps or rendered.again is not None:
            return
        try:
            self._context.store.note_paces(
                job_seconds(rendered.graph, rendered.nodes, self._context.hooks.facts())
            )
        except StoreUnavailable:
            log.info("Durations of jobs could not be stored", extra={"event": "paces_lost", **self._facts})
        except Exception:
            # The job is committed: no fault in judging its seconds may undo that.
            log.exception(
                "Durations of jobs could not be stored", extra={"event": "paces_failed", **self._facts}
            )

    def _end_stopped(self) -> str:
        """The lease said stop: canceled, lost, or given up because the worker drains.

        What is rendered is kept, but for a canceled job: the next attempt may be this worker's too. The store
        is told before the storage is, which may be silent.
        """
        if self._lease.answer is LeaseAnswer.CANCELED:
            self._booking.cancel()
            self._discard()
            log.info("Job canceled", extra={"event": "job_canceled", **self._facts})
            return "canceled"
        is_kept = self._rendered is not None and self._keep(self._rendered)
        if self._lease.on_hold and is_kept:
            return self._booking.put_on_hold(worker_drains(self._context.name))
        if self._lease.on_hold or self._lease.released:
            return self._end_released(f"{self._context.name} drains")
        self._discard()
        log.warning("Lease lost", extra={"event": "lease_lost", **self._facts})
        return "lost"

    def _end_released(self, reason: str) -> str:
        self._booking.release(reason)
        log.info("Job given back", extra={"event": "job_released", **self._facts})
        return "given back"

    def _discard(self) -> None:
        self._context.publisher.discard(self._claim.job_id, self._claim.token)

    def _end_failed(self, exc: Exception) -> str:
        if isinstance(exc, _COMFYUI_ENDED) and self._context.hooks.drains(_SIGNAL_PATIENCE_S):
            # Whoever ends this process ended ComfyUI as well, and a moment sooner.
            return self._end_released(f"{self._context.name} drains")
        fault = self._judge(exc)
        log.warning(
            "Attempt failed",
            exc_info=exc if fault.error.code == "unexpected" else None,
            extra={"event": "attempt_failed", **self._facts, "code": fault.error.code, "reason": str(exc)},
        )
        if fault.restart_comfy:
            self._context.comfy.request_restart(fault.error.code)
        if isinstance(exc, StorageUnavailable):
            self._context.hooks.on_storage(exc)
        if isinstance(exc, StorageUnavailable) and self._rendered is not None and self._keep(self._rendered):
            # What it has stored of this attempt stays for the clean-up: the storage would not answer now.
            return self._booking.put_on_hold(fault.error)
        self._discard()
        self._tell_log()
        report = self._diagnosed_failure(fault.error)
        return self._booking.insist(lambda: self._fail(fault, report)).value

    def _keep(self, rendered: Rendered) -> bool:
        """Whether the finished files wait here for the storage: a render is not done twice for an upload."""
        # By the store's clock, which cannot be asked: it may be away.
        now_s = self._claim.claimed_at.timestamp() + time.monotonic() - self._claimed
        retained = self._retained
        if retained is not None:
            return now_s - retained.retained_at < self._context.hold_limit_s
        facts = asdict(self._context.hooks.facts())
        return self._context.retained.keep(self._claim, rendered, facts, now_s=now_s)

    def _tell_log(self) -> None:
        """The last lines that ComfyUI printed during this attempt: often the reason stands there alone."""
        if self._left_gpu is None:
            return  # what is printed meanwhile is another job's
        lines = self._printed(self._left_gpu)[-_LOG_LINES:]
        self._booking.tell(
            [NewEvent(kind=EventKind.LOG, data={"line": line[:_LINE_LENGTH]}) for line in lines]
        )

    def _fail(self, fault: Fault, report: dict[str, Any] | None) -> JobState | LeaseAnswer:
        store, job_id = self._context.store, self._claim.job_id
        retry_in_s = fault.retry_in_s(store.get(job_id).attempts_failed)
        error, queue = fault.error, None
        if error.code == "out_of_memory":
            gib = larger_class(store.workers(), self._context.name)
            if gib is not None:
                queue, retry_in_s = queue_for(gib), 0.0
                if FallbackStep.LARGER not in self._tries.steps:
                    self._tries.fell_back(FallbackStep.LARGER, error.node_id, error.node_type)
            error = replace(
                error,
                details={**error.details, "fallback_steps": [step.value for step in self._tries.steps]},
            )
        answer = store.fail(
            job_id,
            self._claim.attempt,
            error,
            retry_in_s=retry_in_s,
            queue=queue,
            doubt=fault.doubt,
            report=report,
            token=self._claim.token,
        )
        if fault.doubt and answer is JobState.QUEUED:
            self._context.hooks.on_doubted(job_id, error)
        return answer
