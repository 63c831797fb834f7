"""Who may write to Redis pushes whatever there is into a queue: the job behind it is rendered soon."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

import pytest
import redis

from farm.broker import CeleryNotifier, make_app
from farm.job import new_job_id, queue_for
from tests.support.valkey import eventually
from tests.support.whole_farm import JOB_S, WholeFarm, outcomes

QUEUE: Final = queue_for(8)
_PRIORITY: Final = 5


def body(*arguments: Any, **named: Any) -> str:
    return base64.b64encode(json.dumps([list(arguments), named, {}]).encode()).decode()


def nested(deep: int) -> Any:
    return json.loads("[" * deep + "]" * deep)


def changed(**fields: Any) -> Callable[[dict[str, Any]], bytes]:
    """The farm's own message, with other headers, properties or fields; None takes one away.

    A body that is large is given as what makes it: it is not made where the tests are only collected.
    """

    def make(message: dict[str, Any]) -> bytes:
        for name in ("headers", "properties"):
            given = fields.get(name, {})
            if isinstance(given, dict):
                message[name] |= given
        plain = {
            name: value() if callable(value) else value
            for name, value in fields.items()
            if not (name in ("headers", "properties") and isinstance(value, dict))
        }
        whole = {**message, **plain}
        return json.dumps({name: value for name, value in whole.items() if value is not None}).encode()

    return make


def raw(data: bytes) -> Callable[[dict[str, Any]], bytes]:
    return lambda _message: data


@cache
def bomb() -> bytes:
    return zlib.compress(b"0" * (64 << 20))


_FAR: Final = "9999-12-31T23:59:59+00:00"
STRANGE: Final[dict[str, Callable[[dict[str, Any]], bytes]]] = {
    "nothing": raw(b""),
    "no JSON": raw(b"\xff\xfe\x00 {"),
    "half of JSON": raw(b'{"body": "'),
    "JSON nested 100,000 deep": raw(b"[" * 100_000 + b"]" * 100_000),
    "a number of 5,000 digits": raw(b'{"properties": ' + b"9" * 5000 + b"}"),
    "a list": raw(b"[1, 2]"),
    "a number": raw(b"7"),
    "a text": raw(b'"text"'),
    "null": raw(b"null"),
    "properties and nothing else": raw(b'{"properties": {}}'),
    "seven megabytes of nothing": raw(b" " * (7 << 20)),
    "seven megabytes of zeros": raw(b"\0" * (7 << 20)),
    "a zip bomb": lambda _message: bomb(),
    "no headers": changed(headers=None),
    "headers that are a list": changed(headers=[1]),
    "headers that are a text": changed(headers="text"),
    "no properties": changed(properties=None),
    "properties that are a list": changed(properties=[1]),
    "no delivery info": changed(properties={"delivery_info": None}),
    "delivery info of another kind": changed(properties={"delivery_info": ["x"]}),
    "a priority that is a text": changed(properties={"delivery_info": {"priority": "x", "exchange": []}}),
    "no delivery tag": changed(properties={"delivery_tag": None}),
    "a delivery tag of another kind": changed(properties={"delivery_tag": {"a": [1]}}),
    "a delivery tag of a megabyte": changed(properties={"delivery_tag": "t" * (1 << 20)}),
    "a body encoding that nobody knows": changed(properties={"body_encoding": "rot13"}),
    "a correlation id of another kind": changed(properties={"correlation_id": [[1]], "reply_to": {"a": 1}}),
    "no body": changed(body=None),
    "a body that is a number": changed(body=7),
    "a body that is no base64": changed(body="%%%"),
    "a body that is binary": changed(body=base64.b64encode(bytes(range(256)) * 64).decode()),
    "a body of seven megabytes": changed(body=lambda: body("x" * (7 << 20))),
    "a body of many arguments": changed(body=lambda: body(*range(200_000))),
    "a body of many named arguments": changed(
        body=lambda: body(**{f"n{each}": each for each in range(100_000)})
    ),
    "a body nested 900 deep": changed(body=body(nested(900))),
    "a body nested 100,000 deep": changed(
        body=base64.b64encode(b"[[" + b"[" * 100_000 + b"]" * 100_000 + b"],{},{}]").decode()
    ),
    "a body that is an object": changed(body=base64.b64encode(b'{"args": []}').decode()),
    "a body of two": changed(body=base64.b64encode(b"[[], {}]").decode()),
    "a body of odd kinds": changed(body=base64.b64encode(b'["text", [1], 7]').decode()),
    "a pickle": changed(**{"content-type": "application/x-python-serialize"}),
    "YAML": changed(**{"content-type": "application/x-yaml"}),
    "a type that nobody knows": changed(**{"content-type": "x/y"}),
    "a type that is a list": changed(**{"content-type": ["application/json"]}),
    "no type": changed(**{"content-type": None}),
    "an encoding that nobody knows": changed(**{"content-encoding": "utf-99"}),
    "an encoding that is a number": changed(**{"content-encoding": 7}),
    "another task": changed(headers={"task": "os.system"}),
    "no task": changed(headers={"task": None}),
    "a task that is a list": changed(headers={"task": ["farm.render"]}),
    "a task with a name of a megabyte": changed(headers={"task": "t" * (1 << 20)}),
    "a chain of Celery's": changed(headers={"task": "celery.chain"}),
    "no id": changed(headers={"id": None}),
    "an id that is a path": changed(headers={"id": "../../etc/passwd"}),
    "an id that is a list": changed(headers={"id": [1, [2]]}),
    "an id of a megabyte": changed(headers={"id": "i" * (1 << 20)}),
    "an id of nobody's job": changed(headers={"id": new_job_id()}),
    "a far eta": changed(headers={"eta": _FAR}),
    "an eta that is none": changed(headers={"eta": "tomorrow"}),
    "an eta beyond all calendars": changed(headers={"eta": 10**400}),
    "long past": changed(headers={"expires": "1999-01-01T00:00:00+00:00"}),
    "time limits of odd kinds": changed(headers={"timelimit": ["x", {}]}),
    "no time at all": changed(headers={"timelimit": [0.0001, 0.0001]}),
    "time limits that are a text": changed(headers={"timelimit": "soon"}),
    "retries of odd kinds": changed(headers={"retries": "many", "group": [1], "root_id": {}, "parent_id": 7}),
    "a hostname of odd kinds": changed(headers={"origin": [[]], "argsrepr": 7, "kwargsrepr": [1]}),
    "callbacks": changed(headers={"callbacks": [{"task": "os.system"}], "errbacks": 7, "chord": "x"}),
    "stamps": changed(headers={"stamped_headers": 7, "stamps": ["x"]}),
    "replaced nesting of odd kinds": changed(headers={"replaced_task_nesting": "x", "ignore_result": []}),
    "a shadow of a megabyte": changed(headers={"shadow": "s" * (1 << 20)}),
    "compressed with what nobody has": changed(headers={"compression": "application/x-nothing"}),
    "compressed, and it is not": changed(headers={"compression": "application/x-gzip"}),
    "a bomb that is compressed": changed(
        headers={"compression": "application/x-gzip"},
        body=lambda: base64.b64encode(bomb()).decode(),
    ),
}


@pytest.fixture(scope="module")
def farm(lasting_farm: WholeFarm) -> WholeFarm:
    """A worker whose queue is everybody's to write into."""
    lasting_farm.start_worker("a")
    return lasting_farm


@pytest.fixture(scope="module")
def notifier(farm: WholeFarm) -> CeleryNotifier:
    return CeleryNotifier(make_app(farm.redis), farm.redis.namespace)


@pytest.fixture(scope="module")
def client(valkey_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey_url) as opened:
        yield opened


def push(client: redis.Redis, notifier: CeleryNotifier, what: str) -> None:
    """As the very next of the most urgent messages."""
    message = json.loads(notifier.message(new_job_id(), queue=QUEUE, priority=_PRIORITY, title="x"))
    client.rpush(notifier.list_key(QUEUE, 0), STRANGE[what](message))


@pytest.mark.long
@pytest.mark.parametrize("what", STRANGE)
def test_a_job_behind_a_strange_message_is_rendered(
    what: str, farm: WholeFarm, client: redis.Redis, notifier: CeleryNotifier
) -> None:
    push(client, notifier, what)

    job = farm.submit(priority=_PRIORITY).wait(JOB_S)

    assert outcomes(job) == ["succeeded"]
    assert farm.workers[0].child.poll() is None


def test_a_job_behind_all_of_them_is_rendered(
    farm: WholeFarm, client: redis.Redis, notifier: CeleryNotifier
) -> None:
    for what in STRANGE:
        push(client, notifier, what)

    job = farm.submit(priority=9).wait(JOB_S)

    assert outcomes(job) == ["succeeded"]
    farm.workers[0].told("message_dropped", times=5)
    eventually(lambda: client.llen(notifier.list_key(QUEUE, 0)) == 0, within_s=JOB_S)
    eventually(lambda: client.hlen(notifier.list_key("unacked", 0)) == 0, within_s=JOB_S)
    assert farm.workers[0].child.poll() is None
