"""A plain Celery app as people write it: the task does the work, and Celery's message is the only truth.

Run by `tests.chaos.plain_celery`, which gives it its Redis and its folder by the environment. No module
of the farm is imported here.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

from celery import Celery

FOLDER = Path(os.environ["PLAIN_FOLDER"])

app = Celery("plain", broker=os.environ["PLAIN_REDIS"])
app.conf.task_ignore_result = True
app.conf.worker_pool = "prefork"
if os.environ["PLAIN_ACKS"] == "late":
    # What guides call best practice for long tasks.
    app.conf.task_acks_late = True
    app.conf.task_reject_on_worker_lost = True
    app.conf.worker_prefetch_multiplier = 1


def note(event: str, job_id: str, **facts: Any) -> None:
    """Write down what happened: each line is whole, whoever is killed afterwards."""
    line = json.dumps({"event": event, "job_id": job_id, "at": time.time(), "pid": os.getpid(), **facts})
    with (FOLDER / "record.jsonl").open("a") as record:
        record.write(f"{line}\n")


@app.task(name="plain.render")
def render(job_id: str, seconds: float) -> None:
    """Work for a while, and store a result."""
    note("running", job_id)
    time.sleep(seconds)
    name = f"{job_id}-{uuid.uuid4().hex[:8]}"
    (FOLDER / name).write_text(job_id)
    note("succeeded", job_id, file=name)
