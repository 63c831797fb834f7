"""Who may write to Redis can send a worker messages: it takes no order of Celery's, and holds none back."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.worker.control import Panel

from farm.broker import TASK_NAME, CeleryNotifier, make_app
from farm.job import new_job_id
from farm.settings.redis import RedisSettings
from farm.store.base import StoreLimits
from farm.store.redis.store import connect
from tests.support.jobs import QUEUE, a_job
from tests.support.valkey import eventually
from worker.fetching.celery_internals import QUESTIONS
from worker.fetching.consumer import only_ours

ROOT = Path(__file__).parents[2]
ORDERS = sorted(Panel.data.keys() - QUESTIONS - {"conf"})
A_WORKER = """
import sys
from farm.broker import make_app
from farm.settings.redis import RedisSettings
from worker.fetching.celery_internals import answer_only_questions, run_worker
app = make_app(RedisSettings.read())
answer_only_questions()
@app.task(name="farm.render", ignore_result=True)
def render(*_, **__): print("RAN", flush=True)
run_worker(app, ["-P", "threads", "-c", "1", "-l", "warning",
                 "--without-mingle", "--without-gossip", "-Q", sys.argv[1]])
"""


@pytest.fixture(scope="module")
def settings(valkey_url: str) -> RedisSettings:
    """A farm that no other test has."""
    return RedisSettings.read(url=valkey_url, namespace=f"t{new_job_id()[:12]}")


@pytest.fixture(scope="module")
def app(settings: RedisSettings) -> Celery:
    """Whoever sends orders."""
    return make_app(settings)


@pytest.fixture(scope="module")
def worker_log(
    settings: RedisSettings, app: Celery, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """What a worker that answers only questions has printed."""
    log = tmp_path_factory.mktemp("worker") / "log"
    known = {"FARM_REDIS_URL": settings.url.get_secret_value(), "FARM_NAMESPACE": settings.namespace}
    with log.open("w") as output:
        worker = subprocess.Popen(
            [sys.executable, "-c", A_WORKER, QUEUE],
            env={**os.environ, **known, "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    eventually(lambda: app.control.ping(timeout=1.0, limit=1))
    yield log
    worker.kill()
    worker.wait()


def answer(app: Celery, method: str, arguments: dict[str, Any] | None = None) -> Any:
    """What the worker says to it."""
    answers = app.control.broadcast(method, arguments=arguments, reply=True, timeout=20.0, limit=1)
    assert answers
    return next(iter(answers[0].values()))


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_is_not_taken(order: str, app: Celery, worker_log: Path) -> None:
    arguments: dict[str, Any] = {
        "task_name": TASK_NAME,
        "rate_limit": "1/d",
        "queue": QUEUE,
        "task_id": "x",
        "n": 1,
        "max": 1,
        "min": 1,
    }

    assert "error" in answer(app, order, arguments)
    assert worker_log.exists()


def test_after_all_orders_the_worker_still_serves_its_queue(
    app: Celery, settings: RedisSettings, worker_log: Path
) -> None:
    for order in ORDERS:
        app.control.broadcast(order, arguments={"queue": QUEUE})
    store = connect(settings, StoreLimits(), CeleryNotifier(app, settings.namespace))

    store.submit([a_job()])

    eventually(lambda: "RAN" in worker_log.read_text())
    store.close()


@pytest.mark.parametrize("question", sorted(QUESTIONS))
def test_what_flower_asks_is_answered(question: str, app: Celery, worker_log: Path) -> None:
    assert "error" not in str(answer(app, question))[:20]
    assert worker_log.exists()


def test_settings_are_not_told(app: Celery, worker_log: Path) -> None:
    assert answer(app, "conf") == {}
    assert worker_log.exists()


class Message:
    """As far as a consumer looks at one."""

    def __init__(self, headers: Any) -> None:
        self.headers = headers
        self.rejected = False

    def reject_log_error(self, *_: Any) -> None:
        """Told to the queue."""
        self.rejected = True


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        ({"task": TASK_NAME, "id": "x"}, True),
        ({"task": TASK_NAME, "eta": None, "expires": None}, True),
        ({"task": TASK_NAME, "eta": "2999-01-01T00:00:00"}, False),
        ({"task": TASK_NAME, "eta": "yesterday"}, False),
        ({"task": TASK_NAME, "eta": 0}, False),
        ({"task": TASK_NAME, "expires": "2000-01-01T00:00:00"}, False),
        ({"task": "celery.chord"}, False),
        ({"task": "celery.map"}, False),
        ({"task": ["farm.render"]}, False),
        ({}, False),  # of Celery's first protocol, which has all in its body
        (None, False),
        ("headers", False),
        ([], False),
    ],
)
def test_a_message_that_the_farm_never_sends_is_dropped(headers: Any, ours: bool) -> None:
    received: list[Any] = []
    message = Message(headers)

    only_ours(received.append)(message)

    assert (received == [message], message.rejected) == (ours, not ours)
