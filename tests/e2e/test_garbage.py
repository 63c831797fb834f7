"""Messages that name no waiting job cost no worker and no job; what is no message: `tests/security`."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from farm.broker import CeleryNotifier, make_app
from farm.job import new_job_id, queue_for
from farm.store.base import Drain
from tests.support.valkey import eventually
from tests.support.whole_farm import JOB_S, WholeFarm, WorkerProcess, outcomes

QUEUE = queue_for(8)


@pytest.fixture
def raw(farm: WholeFarm) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(farm.redis.url.get_secret_value()) as client:
        yield client


@pytest.fixture
def notifier(farm: WholeFarm) -> CeleryNotifier:
    return CeleryNotifier(make_app(farm.redis), farm.redis.namespace)


def a_message(notifier: CeleryNotifier, job_id: str, **changes: Any) -> dict[str, Any]:
    """A message as the farm sends it, with other headers or fields."""
    message: dict[str, Any] = json.loads(notifier.message(job_id, queue=QUEUE, priority=5, title="x"))
    headers = changes.pop("headers", {})
    message["headers"] |= headers
    return {**message, **changes}


def body(*args: Any) -> str:
    return base64.b64encode(json.dumps([list(args), {}, {}]).encode()).decode()


def test_messages_of_no_waiting_job_stop_no_worker_and_lose_no_job(
    farm: WholeFarm, worker: WorkerProcess, raw: redis.Redis, notifier: CeleryNotifier
) -> None:
    done = farm.submit().wait(JOB_S)
    unknown = new_job_id()
    strangers = [
        *[a_message(notifier, unknown, headers={"eta": "2999-01-01T00:00:00+00:00"})] * 5,
        a_message(notifier, unknown),
        a_message(notifier, unknown, body=base64.b64encode(b"x" * (50 << 20)).decode()),
        *[a_message(notifier, done.job_id)] * 5,
    ]
    # As an older farm may have sent it, with the id as an argument too.
    waiting = farm.submit()
    strangers.append(a_message(notifier, waiting.job_id, body=body(waiting.job_id)))
    key = notifier.list_key(QUEUE, 0)

    for stranger in strangers:
        raw.lpush(key, json.dumps(fresh(stranger)).encode())

    last = farm.submit(priority=9).wait(JOB_S)
    waiting.wait(JOB_S)
    assert outcomes(last) == ["succeeded"]
    assert outcomes(waiting) == ["succeeded"]
    assert len(worker.runs(done.job_id)) == 1
    assert worker.child.poll() is None
    eventually(lambda: raw.llen(key) == 0, within_s=JOB_S)
    eventually(lambda: raw.hlen(notifier.list_key("unacked", 0)) == 0, within_s=JOB_S)


def fresh(message: dict[str, Any]) -> dict[str, Any]:
    """With a delivery tag of its own."""
    return {**message, "properties": {**message["properties"], "delivery_tag": str(uuid.uuid4())}}


def test_a_message_that_vanished_between_pop_and_claim_is_announced_again(
    farm: WholeFarm, worker: WorkerProcess, raw: redis.Redis, notifier: CeleryNotifier
) -> None:
    store = farm.farm.store
    store.set_drain(worker.name, Drain.FINISH)
    eventually(lambda: farm.says(worker, lambda it: it.not_fetching), within_s=JOB_S)

    job = farm.submit()
    raw.delete(notifier.list_key(QUEUE, 5))  # as somebody does who pops it and dies before the claim
    store.set_drain(worker.name, None)

    job.wait(JOB_S)
    assert outcomes(job) == ["succeeded"]
