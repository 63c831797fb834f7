"""The Celery app of a worker: ``celery -A worker.app worker``, with its ComfyUI ready before it fetches.

The queues are those of the card's VRAM class and below, unless ``-Q`` says otherwise.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from celery import signals

from farm.broker import assert_safe, make_app, queues_served_by
from farm.errors import FarmError, SettingsError
from farm.logs import configure_logging
from farm.settings import (
    CleanSettings,
    GateSettings,
    LogSettings,
    RedisSettings,
    S3Settings,
    StoreSettings,
    WorkerSettings,
)
from farm.surroundings import settings_here
from worker.celery_internals import answer_only_questions, queues_were_chosen
from worker.consumer import Line, fetch_when_free, patient_consumer
from worker.errors import WorkerError
from worker.exits import EX_SOFTWARE, code_of_refusal
from worker.runtime import Runtime
from worker.tasks import register

log = logging.getLogger(__name__)

try:
    _redis, _worker, _log = settings_here(RedisSettings), settings_here(WorkerSettings), LogSettings.read()
    runtime = Runtime(
        redis=_redis,
        store=StoreSettings.read(),
        s3=settings_here(S3Settings),
        worker=_worker,
        allowed=GateSettings.read(),
        clean=CleanSettings.read(),
    )
except SettingsError as _exc:
    # Celery imports this module: a person's typing error is answered in a line, not with its traceback.
    raise SystemExit(f"The worker cannot start: {_exc}") from _exc

app = make_app(_redis, name="farm-worker")
answer_only_questions()
app.conf.worker_concurrency = runtime.threads
app.conf.worker_consumer = patient_consumer(runtime.gate)
line = Line(app)
app.steps["consumer"].add(fetch_when_free(runtime.gate, line))
register(app, runtime)


@signals.setup_logging.connect
def _log_our_way(**_: Any) -> None:
    configure_logging(_log.level, _log.form)


@signals.celeryd_after_setup.connect
def _start(sender: str, instance: Any, **_: Any) -> None:
    try:
        assert_safe(app)
        runtime.start(sender)
    except (FarmError, WorkerError) as exc:
        # Celery logs and swallows what a signal handler raises, but for this.
        log.critical("The worker cannot start", extra={"event": "worker_refused", "reason": str(exc)})
        runtime.stop()
        raise SystemExit(code_of_refusal(exc)) from exc
    except Exception as exc:
        # Swallowed, it would leave a Celery worker that takes messages and has nothing behind it.
        log.exception("The worker cannot start", extra={"event": "worker_broken"})
        runtime.stop()
        raise SystemExit(EX_SOFTWARE) from exc
    if not queues_were_chosen(instance.app):
        instance.app.amqp.queues.select(queues_served_by(runtime.vram_gib))


@signals.worker_ready.connect
def _open(**_: Any) -> None:
    runtime.open(line)


@signals.worker_shutting_down.connect
def _drain(**_: Any) -> None:
    # In a signal handler of the main thread: whatever takes time belongs elsewhere.
    threading.Thread(target=runtime.drain, name="drain", daemon=True).start()


@signals.worker_shutdown.connect
def _stop(**_: Any) -> None:
    runtime.stop()
