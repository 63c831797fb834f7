"""The one task that the farm's messages name: work on the job whose id the message carries."""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery

from farm.broker import TASK_NAME
from farm.job import is_job_id
from worker.fetching.celery_internals import request_that_tells
from worker.fetching.flower import Told, outcome_told
from worker.fetching.gate import Gate
from worker.life import Worker

log = logging.getLogger(__name__)


def register(app: Celery, gate: Gate, worker: Worker) -> None:
    """Give the app its task, worked off by `worker` whenever the gate lets a message in."""
    # Of two messages of one job that end together, the one that tells first tells the newest for both.
    endings: dict[str, Told] = {}

    @app.task(
        bind=True,
        name=TASK_NAME,
        ignore_result=True,
        acks_late=False,
        Request=request_that_tells(lambda job_id: endings.pop(job_id, None)),
    )
    def render(self: Any, *_args: Any, **_kwargs: Any) -> str:
        # A message of another version may carry more; all that counts is the id.
        job_id = str(self.request.id)
        with gate.work() as ticket:
            if not is_job_id(job_id):
                log.warning(
                    "Message without a job id", extra={"event": "message_without_job", "id": job_id[:80]}
                )
                endings[job_id] = outcome_told(None, "")
                return "dropped: no job id"
            outcome = "its worker broke off"
            try:
                outcome = worker.work_on(
                    job_id, priority=(self.request.delivery_info or {}).get("priority"), turn=ticket
                )
            finally:
                ticket.off_the_gpu()  # the next job need not wait until this one is told
                endings[job_id] = worker.told(job_id, outcome)
            return outcome
