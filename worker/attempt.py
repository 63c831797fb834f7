"""One message from the queue: claim the job, render it, publish it, book the outcome. Knows no Celery."""

from __future__ import annotations

import base64
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from comfy.errors import OutOfMemory
from farm.broker import queue_for
from farm.errors import StoreUnavailable
from farm.job import EventKind, JobError, JobResult, JobState, Progress
from farm.store.base import Claim, JobStore, LeaseAnswer, Refused
from worker.faults import Fault, sort_fault
from worker.inputs import InputCache
from worker.job_seconds import job_seconds
from worker.ladder import Rung, larger_class, next_rung
from worker.lease import Lease, LeaseKeeper
from worker.manifest import manifest_of
from worker.publish import Publisher
from worker.render import Comfy, Ears, Rendered, Tailor, prompt_id, render, run_folder
from worker.reporter import Reporter

log = logging.getLogger(__name__)

_FINAL_WRITE_PATIENCE_S: Final = 600.0  # how long a finished render waits for Redis to come back

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What an attempt works with; the runtime makes them once."""

    name: str  # of this worker
    store: JobStore
    keeper: LeaseKeeper
    comfy: Comfy
    tailor: Tailor
    inputs: InputCache
    publisher: Publisher
    scratch: Path  # for files that come by /view
    facts: Callable[[], Mapping[str, Any]]  # what the manifest says of worker, GPU, plan and ComfyUI
    renew_s: float
    previews: bool = False
    on_failed: Callable[[JobError], None] = lambda _error: None  # may close the gate
    on_succeeded: Callable[[], None] = lambda: None
    on_rendered: Callable[[Mapping[str, Any]], None] = lambda _graph: None  # the graph as it was run
    after_render: Callable[[], None] = lambda: None  # the card is free, and no other job can have it yet


def attempt(
    job_id: str,
    parts: Parts,
    *,
    announce: Callable[[Progress], None],
    off_the_gpu: Callable[[], None] = lambda: None,
) -> str:
    """Work on a job until its attempt has ended; returns what became of it, in a word or two.

    `off_the_gpu` is called once nothing of it holds the GPU any more, whatever came of it.

    The outcome is in the store by then. Raises nothing that a job could cause; `StoreUnavailable`
    means that even the store's patience was used up, and then its lease runs out by itself.
    """
    claim = parts.store.claim(job_id, worker=parts.name)
    if isinstance(claim, Refused):
        log.info("Bell dropped", extra={"event": "bell_dropped", "job_id": job_id, "why": claim.value})
        return f"dropped: {claim.value}"
    reporter = Reporter(parts.store, job_id, claim.attempt, token=claim.token, announce=announce)
    try:
        with parts.keeper.hold(claim) as lease:
            return _Attempt(claim, lease, parts, reporter, off_the_gpu).run()
    finally:
        reporter.close()


class _Attempt:
    def __init__(
        self,
        claim: Claim,
        lease: Lease,
        parts: Parts,
        reporter: Reporter,
        off_the_gpu: Callable[[], None],
    ) -> None:
        self._claim = claim
        self._lease = lease
        self._parts = parts
        self._reporter = reporter
        self._off_the_gpu = off_the_gpu
        self._facts = {"job_id": claim.job_id, "attempt": claim.attempt}
        self._started = time.monotonic()
        self._rungs: list[Rung] = []
        self._judged: Exception | None = None

    def run(self) -> str:
        log.info("Job claimed", extra={"event": "job_claimed", **self._facts})
        try:
            try:
                rendered = self._render()
            except Exception as exc:
                # Before the gate opens: a broken machine must not have the next job.
                self._judge(exc)
                raise
            finally:
                self._parts.after_render()
                # Whatever came of it, the GPU is free: the next job may come while this one is booked.
                self._off_the_gpu()
            result = self._publish(rendered)
        except Exception as exc:  # noqa: BLE001 - the top of a task: sorted, booked and logged below
            return self._end_stopped() if self._lease.stopped.is_set() else self._end_failed(exc)
        finally:
            self._parts.comfy.clean(run_folder(self._claim))
            self._parts.inputs.release(prompt_id(self._claim))
        return self._commit(result, rendered)

    def _render(self) -> Rendered:
        ears = Ears(
            phase=self._reporter.phase,
            progress=self._reporter.progress,
            preview=self._show if self._parts.previews else None,
        )
        comfy, stop = self._parts.comfy, self._lease.stopped
        while True:
            spent_s = time.monotonic() - self._started
            try:
                rendered = render(
                    self._claim,
                    comfy,
                    self._parts.inputs,
                    self._parts.scratch,
                    ears,
                    stop,
                    tailor=self._parts.tailor,
                    rungs=self._rungs,
                    spent_s=spent_s if self._rungs else 0.0,
                )
            except OutOfMemory as exc:
                rung = None if stop.is_set() else next_rung(self._rungs, comfy.offers(), exc.node_type)
                if rung is None:
                    raise
                self._climb(rung, exc)
            else:
                comfy.settle()
                self._parts.on_rendered(rendered.graph)
                return rendered

    def _climb(self, rung: Rung, exc: OutOfMemory) -> None:
        self._tell_rung(rung, exc.node_id, exc.node_type)
        self._parts.comfy.climb(rung)

    def _tell_rung(self, rung: Rung, node_id: str | None, node_type: str | None) -> None:
        self._rungs.append(rung)
        told = {"rung": rung.value, "node_id": node_id, "node_type": node_type}
        log.warning("Out of memory", extra={"event": "out_of_memory", **self._facts, **told})
        self._reporter.event(EventKind.FINDING, code="out_of_memory", **told)

    def _judge(self, exc: Exception) -> None:
        if self._judged is not exc and not self._lease.stopped.is_set():
            self._judged = exc
            self._parts.on_failed(sort_fault(exc).error)

    def _show(self, node_id: str, media_type: str, image: bytes) -> None:
        picture = base64.b64encode(image).decode()
        self._reporter.event(EventKind.PREVIEW, node_id=node_id, media_type=media_type, image=picture)

    def _publish(self, rendered: Rendered) -> JobResult:
        self._reporter.phase("publishing")
        started = time.monotonic()
        waited = self._claim.claimed_at - self._claim.submitted_at
        timings_s = {"queue": waited.total_seconds(), **rendered.timings_s}
        published = self._parts.publisher.publish(
            self._claim.job_id,
            self._claim.attempt,
            rendered.outputs,
            manifest_of(self._claim, rendered, self._parts.facts()),
            timings=lambda: timings_s,
            stop=self._lease.stopped,
        )
        ended = time.monotonic()
        timings_s |= published.timings_s
        timings_s |= {"publish": ended - started, "attempt": ended - self._started}
        return replace(published, timings_s={name: round(spent, 4) for name, spent in timings_s.items()})

    def _commit(self, result: JobResult, rendered: Rendered) -> str:
        answer = self._insist(
            lambda: self._parts.store.succeed(
                self._claim.job_id, self._claim.attempt, result, token=self._claim.token
            )
        )
        if answer is LeaseAnswer.OK:
            self._parts.on_succeeded()
            self._note_paces(rendered)
            log.info("Job succeeded", extra={"event": "job_succeeded", **self._facts})
            return "succeeded"
        self._parts.publisher.discard(self._claim.job_id, self._claim.attempt)
        if answer is LeaseAnswer.CANCELED:
            self._insist(self._cancel)
            return "canceled"
        log.warning("Result not accepted", extra={"event": "result_refused", **self._facts})
        return "lost"

    def _note_paces(self, rendered: Rendered) -> None:
        """Add what this job took to what the farm knows; a job that struggled for memory tells nothing."""
        if rendered.rungs:
            return
        try:
            self._parts.store.note_paces(job_seconds(rendered.graph, rendered.nodes, self._parts.facts()))
        except StoreUnavailable:
            log.info("Seconds not noted", extra={"event": "paces_lost", **self._facts})
        except Exception:
            # The job is committed: no fault in judging its seconds may undo that.
            log.exception("Seconds not noted", extra={"event": "paces_failed", **self._facts})

    def _cancel(self) -> LeaseAnswer:
        claim = self._claim
        return self._parts.store.end_canceled(claim.job_id, claim.attempt, token=claim.token)

    def _end_stopped(self) -> str:
        """The lease said stop: canceled, lost, or given back because the worker leaves."""
        self._parts.publisher.discard(self._claim.job_id, self._claim.attempt)
        if self._lease.answer is LeaseAnswer.CANCELED:
            self._insist(self._cancel)
            log.info("Job canceled", extra={"event": "job_canceled", **self._facts})
            return "canceled"
        if self._lease.released:
            log.info("Job given back", extra={"event": "job_released", **self._facts})
            return "given back"
        log.warning("Lease lost", extra={"event": "lease_lost", **self._facts})
        return "lost"

    def _end_failed(self, exc: Exception) -> str:
        fault = sort_fault(exc)
        self._judge(exc)
        log.warning(
            "Attempt failed",
            exc_info=exc if fault.error.code == "unexpected" else None,
            extra={"event": "attempt_failed", **self._facts, "code": fault.error.code, "reason": str(exc)},
        )
        if fault.restart_comfy:
            self._parts.comfy.request_restart(fault.error.code)
        self._parts.publisher.discard(self._claim.job_id, self._claim.attempt)
        state = self._insist(lambda: self._fail(fault))
        return state.value

    def _fail(self, fault: Fault) -> JobState | LeaseAnswer:
        store, job_id = self._parts.store, self._claim.job_id
        retry_in_s = fault.retry_in_s(store.get(job_id).attempts_failed)
        error, queue = fault.error, None
        if error.code == "out_of_memory":
            gib = larger_class(store.workers(), self._parts.name)
            if gib is not None:
                queue, retry_in_s = queue_for(gib), 0.0
                if Rung.LARGER not in self._rungs:
                    self._tell_rung(Rung.LARGER, error.node_id, error.node_type)
            error = replace(error, details={**error.details, "rungs": [rung.value for rung in self._rungs]})
        return store.fail(
            job_id,
            self._claim.attempt,
            error,
            retry_in_s=retry_in_s,
            queue=queue,
            token=self._claim.token,
        )

    def _insist(self, write: Callable[[], _Answer]) -> _Answer:
        """Make a final write, for as long as it takes Redis to come back; every one may be repeated.

        The lease is renewed by its keeper meanwhile; if it ran out, the store's fence says so.
        """
        deadline = time.monotonic() + _FINAL_WRITE_PATIENCE_S
        while True:
            try:
                return write()
            except StoreUnavailable:
                if time.monotonic() > deadline:
                    raise
                threading.Event().wait(self._parts.renew_s)
