"""The Celery app of a worker: ``celery -A worker.app worker``, with its ComfyUI ready before it fetches.

The queues are those of the card's VRAM class and below, unless ``-Q`` says otherwise.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any, Final

from celery import signals

from comfy.log.foreign import plain
from farm.broker import assert_safe, make_app, queues_served_by
from farm.errors import FarmError, SettingsError
from farm.logs import configure_logging
from farm.process.privacy import PRIVATE_UMASK, close_to_others, forget
from farm.settings.groups import secret_variables
from farm.settings.logs import LogSettings
from worker.errors import WorkerError
from worker.exits import EX_SOFTWARE, code_of_refusal
from worker.fetching.celery_internals import answer_only_questions, queues_were_chosen, tell_of_worker
from worker.fetching.consumer import Line, fetch_when_free, patient_consumer
from worker.fetching.flower import shown_by
from worker.fetching.gate import Gate
from worker.life import Worker
from worker.runtime import Settings, build
from worker.tasks import register

log = logging.getLogger(__name__)

_NOTHING_LEFT_S: Final = 3.0

try:
    settings, _log = Settings.here(), LogSettings.read()
except SettingsError as _exc:
    # Celery imports this module: a person's typing error is answered in a line, not with its traceback.
    sys.stderr.write(plain(f"The worker cannot start: {_exc}\n"))
    raise SystemExit(code_of_refusal(_exc)) from _exc

gate = Gate(threads=settings.threads)
app = make_app(settings.redis, name="farm-worker")
close_to_others()
os.umask(PRIVATE_UMASK)
answer_only_questions()
app.conf.worker_concurrency = settings.threads
app.conf.worker_consumer = patient_consumer(gate)
line = Line(app)
app.steps["consumer"].add(fetch_when_free(gate, line))


@signals.setup_logging.connect
def _log_our_way(**_: Any) -> None:
    configure_logging(_log.level, _log.form)


@signals.celeryd_after_setup.connect
def _start(sender: str, instance: Any, **_: Any) -> None:
    with _refusing():
        assert_safe(app)
        worker = build(settings, name=sender, gate=gate, line=line, show=shown_by(app, sender))
    forget(secret_variables())  # all is read; what we start need not see them
    register(app, gate, worker)
    tell_of_worker(worker.shown)
    # Not weak: nobody else keeps these functions.
    signals.worker_ready.connect(lambda **_: _open(worker), weak=False)
    signals.worker_shutting_down.connect(lambda **_: _drain(worker), weak=False)
    signals.worker_shutdown.connect(lambda **_: _stop(worker), weak=False)
    with _refusing(worker):
        worker.start()
        if not queues_were_chosen(instance.app):
            instance.app.amqp.queues.select(queues_served_by(worker.vram_gib))


@contextlib.contextmanager
def _refusing(worker: Worker | None = None) -> Iterator[None]:
    """End the process, with the code that says why, where the worker cannot start.

    Celery logs and swallows what a signal handler raises, but for `SystemExit`. Swallowed, it would leave a
    Celery worker that takes messages and has nothing behind it.
    """
    try:
        yield
    except Exception as exc:
        if isinstance(exc, FarmError | WorkerError):
            log.critical("The worker cannot start", extra={"event": "worker_refused", "reason": str(exc)})
            code = code_of_refusal(exc)
        else:
            log.exception("The worker cannot start", extra={"event": "worker_broken"})
            code = EX_SOFTWARE
        if worker is not None:
            worker.stop()
        raise SystemExit(code) from exc


def _drain(worker: Worker) -> None:
    # In a signal handler of the main thread: whatever takes time belongs elsewhere.
    threading.Thread(target=worker.drain, name="drain", daemon=True).start()


def _open(worker: Worker) -> None:
    # Celery would cut jobs short at a second SIGINT, and at SIGQUIT; at SIGHUP it would start itself anew,
    # and miss the secrets that it has forgotten. Here each of them drains.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.getsignal(signal.SIGTERM))
    worker.open()


def _stop(worker: Worker) -> None:
    worker.stop()
    # Threads in requests that a silent storage does not answer would be waited for, and do nothing of value.
    fuse = threading.Timer(_NOTHING_LEFT_S, os._exit, (0,))
    fuse.daemon = True
    fuse.start()
