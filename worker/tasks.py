"""The one task that the farm's messages name: work on the job whose id the message carries."""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery

from farm.broker import TASK_NAME
from farm.job import Progress, is_job_id
from worker.fetching.gate import Gate
from worker.runtime import Worker

log = logging.getLogger(__name__)


def register(app: Celery, gate: Gate, worker: Worker) -> None:
    """Give the app its task, worked off by `worker` whenever the gate lets a message in."""

    @app.task(bind=True, name=TASK_NAME, ignore_result=True, acks_late=False)
    def render(self: Any, *_args: Any, **_kwargs: Any) -> str:
        # A message of another version may carry more; all that counts is the id.
        # Read here: progress is told from another thread, where Celery knows no request.
        job_id, name = str(self.request.id), str(self.request.hostname)
        with gate.work() as ticket:
            if not is_job_id(job_id):
                log.warning(
                    "Message without a job id", extra={"event": "message_without_job", "id": job_id[:80]}
                )
                return "dropped: no job id"
            outcome: str = worker.work_on(
                job_id,
                priority=(self.request.delivery_info or {}).get("priority"),
                announce=lambda progress: announce(app, name, job_id, progress),
                turn=ticket,
            )
            return outcome


def announce(app: Celery, name: str, job_id: str, progress: Progress) -> None:
    """Show progress in Flower: state PROGRESS and a line, under the job's own id."""
    try:
        with app.events.default_dispatcher(hostname=name) as dispatcher:
            dispatcher.send("task-progress", uuid=job_id, result=progress_line(progress))
    except Exception as exc:  # noqa: BLE001 - a view: a Redis that is away for a moment must not end a render
        log.debug("Progress not shown", extra={"event": "progress_not_shown", "reason": str(exc)})


def progress_line(progress: Progress) -> str:
    """Share, phase, step and pace in a few words."""
    step = f" {progress.step}/{progress.steps}" if progress.steps else ""
    pace = f", {progress.seconds_per_step:.2f} s/step" if progress.seconds_per_step else ""
    return f"{progress.fraction:.0%} {progress.phase}{step}{pace}"
