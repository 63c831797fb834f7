"""The one task that the farm's messages name: work on the job whose id the message carries."""

from __future__ import annotations

import contextlib
from typing import Any

from celery import Celery, Task

from farm.broker import TASK_NAME
from farm.job import Progress, is_job_id
from worker.runtime import Runtime


def register(app: Celery, runtime: Runtime) -> None:
    """Give the app its task, worked off by `runtime`."""

    @app.task(bind=True, name=TASK_NAME, ignore_result=True, acks_late=False)
    def render(self: Any) -> str:
        job_id = str(self.request.id)
        try:
            if not is_job_id(job_id):
                return "dropped: no job id"
            outcome: str = runtime.work_on(job_id, announce=lambda progress: announce(self, progress))
            return outcome
        finally:
            runtime.gate.done(job_id)


def announce(task: Task[Any, Any], progress: Progress) -> None:
    """Show progress in Flower: state PROGRESS and a line, under the job's own id."""
    step = f" {progress.step}/{progress.steps}" if progress.steps else ""
    pace = f", {progress.seconds_per_step:.2f} s/step" if progress.seconds_per_step else ""
    line = f"{progress.fraction:.0%} {progress.phase}{step}{pace}"
    # Flower is a view: a Redis that is away for a moment must not be noticed by the render.
    with contextlib.suppress(Exception):
        task.send_event("task-progress", result=line, uuid=task.request.id)
