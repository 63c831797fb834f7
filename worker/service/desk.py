"""Where messages arrive: each one becomes an attempt, and the worker's status tells how far it is."""

from __future__ import annotations

import threading
from collections.abc import Callable

from farm.errors import FarmError, JobNotFound
from farm.job import Progress
from worker.fetching.flower import Show, Told, nothing_known, outcome_told, progress_told
from worker.jobs.at_work import AtWork
from worker.jobs.attempt import KEPT_FROM_IT, NOT_CLAIMED, attempt
from worker.jobs.context import AloneOnGpu, AttemptContext, GpuTurn
from worker.service.draining import Draining
from worker.service.giving_way import GivingWay


class Desk:
    """Takes jobs for one worker. May be called from any thread."""

    def __init__(
        self,
        context: AttemptContext,
        at_work: AtWork,
        draining: Draining,
        giving_way: GivingWay,
        changed: threading.Event,
        show: Show,
    ) -> None:
        """`changed` is set when the status is to be written anew."""
        self._context = context
        self._at_work = at_work
        self._draining = draining
        self._giving_way = giving_way
        self._changed = changed
        self._show = show

    def work_on(self, job_id: str, *, priority: int | None, turn: GpuTurn) -> str:
        """Work on the job that a message names; returns what became of it.

        Args:
            priority: of the message.
            turn: given up when the next job may come, while this one may still be published.
        """
        draining = self._draining
        outcome = self._attempt(
            job_id, priority=priority, turn=turn, may_claim=lambda: not draining.takes_no_job
        )
        if outcome == NOT_CLAIMED:
            draining.pass_on(job_id)
        elif outcome == KEPT_FROM_IT:
            self._giving_way.to_others(job_id)
        return outcome

    def publish(self, job_id: str) -> str:
        """Publish the files of this job that wait here, without the GPU; returns what became of it."""
        ends = self._draining.ends_within
        outcome = self._attempt(
            job_id, priority=None, turn=AloneOnGpu(), only_publish=True, may_claim=lambda: not ends(0.0)
        )
        self._show(job_id, self.told(job_id, outcome))
        return outcome

    def told(self, job_id: str, outcome: str) -> Told:
        """What Flower is to show of a job, after what became of its message here."""
        try:
            return outcome_told(self._context.store.get(job_id), outcome)
        except JobNotFound:
            return outcome_told(None, outcome)
        except FarmError:  # Redis is away, or a newer farm wrote what stands there
            return nothing_known()

    def _attempt(
        self,
        job_id: str,
        *,
        priority: int | None,
        turn: GpuTurn,
        only_publish: bool = False,
        may_claim: Callable[[], bool],
    ) -> str:
        try:
            with self._at_work.on(job_id) as work:

                def note(progress: Progress) -> None:
                    if work.note(progress):
                        self._changed.set()
                    self._show(job_id, progress_told(progress))

                outcome = attempt(
                    job_id,
                    self._context,
                    priority=priority,
                    announce=note,
                    turn=turn,
                    only_publish=only_publish,
                    may_claim=may_claim,
                )
            self._at_work.ended(outcome)
            return outcome
        finally:
            self._changed.set()
