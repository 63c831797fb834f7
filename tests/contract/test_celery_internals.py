"""What the worker takes for granted of Celery and kombu beyond their documentation, against a real Valkey."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from billiard.einfo import ExceptionInfo
from celery import Celery
from celery.worker import request, state
from celery.worker.control import Panel

from farm.broker import TASK_NAME, CeleryNotifier, make_app
from farm.job import queue_for
from farm.settings.redis import RedisSettings
from tests.support.valkey import eventually
from worker.fetching.celery_internals import (
    decide_fetching,
    drop_unreadable,
    end_if_told,
    queues_were_chosen,
    redis_of,
    request_that_tells,
    sockets_of,
    tell_of_worker,
)
from worker.fetching.flower import Told

QUEUE = queue_for(24)


class Request:
    """As far as Celery's list of what it holds looks at one."""

    id = "job00001"


class Line:
    """A kombu connection that consumes one queue, as a worker's event loop has one."""

    def __init__(self, app: Celery, namespace: str) -> None:
        self.notifier = CeleryNotifier(app, namespace)
        self.connection: Any = app.connection_for_read()
        self.channel: Any = self.connection.default_channel
        self.queue = app.amqp.queues[QUEUE]
        self.delivered: list[Any] = []

    def consume(self) -> None:
        consumer = self.connection.Consumer(
            [self.queue], channel=self.channel, on_message=self.delivered.append, no_ack=True
        )
        consumer.consume()

    def put(self, message: bytes) -> None:
        redis_of(self.connection).lpush(QUEUE, message)

    def put_job(self, job_id: str) -> None:
        self.put(self.notifier.message(job_id, queue=QUEUE, priority=0, title="t"))

    def turn(self) -> None:
        """One turn of the loop, in which something may come."""
        with contextlib.suppress(TimeoutError, socket.timeout):
            self.connection.drain_events(timeout=0.2)

    def arrived(self) -> bool:
        self.turn()
        return bool(self.delivered)


@pytest.fixture
def app(valkey_url: str, namespace: str) -> Celery:
    return make_app(RedisSettings.read(url=valkey_url, namespace=namespace))


@pytest.fixture
def line(app: Celery, namespace: str) -> Iterator[Line]:
    line = Line(app, namespace)
    yield line
    with contextlib.suppress(Exception):  # one that a test has cut
        line.connection.release()


def test_a_connections_client_speaks_to_redis(line: Line) -> None:
    assert redis_of(line.connection).ping()


def test_the_sockets_of_a_connection_are_those_that_end_it_when_they_are_cut(line: Line) -> None:
    line.consume()
    line.turn()

    found = list(sockets_of(line.connection))
    for each in found:
        with contextlib.suppress(OSError):  # the same one once more
            each.shutdown(socket.SHUT_RDWR)

    assert found
    with pytest.raises(line.connection.connection_errors):
        line.connection.drain_events(timeout=30)


def test_a_connection_that_was_not_used_has_no_sockets(app: Celery) -> None:
    assert list(sockets_of(app.connection_for_read())) == []


@pytest.mark.parametrize("stranger", [b"no json", b"[]", b"{}", b'{"body": 7, "headers": null}'])
def test_what_is_no_message_is_dropped_where_it_is_read_and_the_next_one_comes(
    line: Line, stranger: bytes
) -> None:
    why: list[Exception] = []
    drop_unreadable(line.channel, why.append)
    line.consume()
    line.put(stranger)
    line.put_job("job00001")

    eventually(line.arrived)

    assert len(why) == 1
    assert [message.headers["id"] for message in line.delivered] == ["job00001"]
    assert redis_of(line.connection).hlen("unacked") == 0


def test_a_message_is_fetched_only_when_our_rule_says_so(line: Line) -> None:
    asked: list[int] = []
    may_fetch = False

    def rule(held: int) -> bool:
        asked.append(held)
        return may_fetch

    decide_fetching(line.channel, rule)
    line.consume()
    line.put_job("job00001")
    for _ in range(3):
        line.turn()
    assert asked
    assert not line.delivered
    may_fetch = True

    eventually(line.arrived)


def test_our_rule_hears_of_each_message_that_celery_holds(line: Line) -> None:
    request: Any = Request()
    decide_fetching(line.channel, lambda held: held == 1)

    assert not line.channel.qos.can_consume()
    state.task_reserved(request)
    assert line.channel.qos.can_consume()
    state.task_ready(request)
    assert not line.channel.qos.can_consume()


def test_queues_of_the_command_line_are_told_from_none(app: Celery) -> None:
    assert not queues_were_chosen(app)
    app.amqp.queues.select([QUEUE])
    assert queues_were_chosen(app)


def test_a_loop_of_the_consumer_ends_when_a_signal_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    end_if_told()
    monkeypatch.setattr(state, "should_stop", os.EX_OK)

    with pytest.raises(SystemExit):
        end_if_told()


WORKER = """
from celery.signals import celeryd_init
from farm.broker import make_app
from farm.settings.redis import RedisSettings
from worker.fetching.celery_internals import run_worker
app = make_app(RedisSettings.read(), name="ours")
try:
    run_worker(app, ["--no-such-option"])
except SystemExit as end:
    assert end.code == 2, end.code
@celeryd_init.connect
def tell(sender, conf, **_others):
    print(sender, conf.worker_disable_prefetch, conf.worker_consumer, app.connection().as_uri())
    raise SystemExit(7)
app.conf.worker_consumer = "chosen"
run_worker(app, ["-n", "one@here"])
"""


def test_a_worker_is_of_our_app_whatever_the_environment_names_and_exits_with_its_code() -> None:
    elsewhere = {"APP": "nowhere.app", "BROKER_URL": "amqp://elsewhere", "LOADER": "nowhere:Loader"}

    done = subprocess.run(
        [sys.executable, "-c", WORKER],
        env={**os.environ, **elsewhere},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 7, done.stderr
    assert done.stdout.startswith("one@here True chosen redis://")


def test_nothing_is_imported_that_a_worker_does_not_run() -> None:
    code = "import sys, worker.one; print([each for each in sys.modules if each in %r])"
    unused = {"celery.bin.celery", "prompt_toolkit", "flower.app", "tornado.web"}

    done = subprocess.run(
        [sys.executable, "-c", code % unused], capture_output=True, text=True, timeout=120, check=True
    )

    assert done.stdout == "[]\n"


def test_a_message_that_nobody_acknowledged_is_put_back_and_ends_no_worker(line: Line) -> None:
    qos, client = line.channel.qos, redis_of(line.connection)
    message = json.loads(line.notifier.message("job00002", queue=QUEUE, priority=0, title="t"))
    client.hset(line.channel.unacked_key, "tag", json.dumps([message, "", QUEUE]))
    client.zadd(line.channel.unacked_index_key, {"tag": 1.0})  # long ago

    qos.restore_visible()

    assert client.zcard(line.channel.unacked_index_key) == 0
    assert client.llen(QUEUE) == 1


class Eventer:
    """A worker's line of events, and what went along it."""

    enabled = True

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def send(self, kind: str, **fields: Any) -> None:
        self.sent.append((kind, fields))


class Pool:
    """As far as a request asks for one."""

    def apply_async(self, *_args: Any, **_options: Any) -> None:
        """Nothing is run."""


def a_failure() -> ExceptionInfo:
    try:
        raise ValueError("broken")
    except ValueError:
        return ExceptionInfo()


@pytest.mark.parametrize("ended", [(0, "done", 1.0), (1, a_failure(), 1.0)], ids=["returned", "raised"])
def test_a_request_tells_the_outcome_of_its_job_in_the_place_of_its_own(
    line: Line, app: Celery, ended: tuple[Any, ...]
) -> None:
    told = {"job00001": Told(kind="task-revoked", fields={"state": "REVOKED"})}

    @app.task(name=TASK_NAME, shared=False, Request=request_that_tells(lambda job_id: told.pop(job_id, None)))
    def render() -> None: ...

    line.consume()
    line.put_job("job00001")
    eventually(line.arrived)
    eventer, task = Eventer(), app.tasks[TASK_NAME]
    make: Any = vars(request)["create_request_cls"]
    kind = make(task.Request, task, Pool(), "a@b", eventer, app=app)
    ours = kind(line.delivered[0], app=app, hostname="a@b", eventer=eventer, task=task)

    ours.send_event("task-received", name=TASK_NAME)
    ours.on_success(ended)
    ours.on_success((0, "done", 1.0))  # of a second message: its job has been told of

    assert eventer.sent == [
        ("task-received", {"uuid": "job00001", "name": TASK_NAME}),
        ("task-revoked", {"uuid": "job00001", "state": "REVOKED"}),
    ]


def test_the_facts_of_a_worker_stand_among_what_celery_tells_of_its_pool(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = {"pid": 1, "pool": {"implementation": "threads"}}
    monkeypatch.setattr(Panel, "data", {"stats": lambda _state: told})

    tell_of_worker(lambda: {"GPU": "none"})

    assert Panel.data["stats"](None) == {"pid": 1, "pool": {"GPU": "none", "implementation": "threads"}}
