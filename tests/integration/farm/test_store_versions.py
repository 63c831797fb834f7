"""Records of an older and of a newer farm: an upgrade of one worker after the other loses nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from farm.errors import FarmError
from farm.job import EventKind, JobState
from farm.settings.redis import RedisSettings
from farm.store.base import Claim, LeaseAnswer, NewEvent, Refused, StoreLimits
from farm.store.redis.store import RedisJobStore, connect
from farm.testing import PlainNotifier
from tests.support.jobs import QUEUE, a_job, a_result, an_error, claimed

# Written by the farm as it was when records had no more than schema 1 began with.
PAST = Path(__file__).parents[2] / "data" / "store" / "schema_1.json"
WAITING = ("00000000-wan-job", "00000001-old-job", "00000006-old-job", "00000008-old-job")
RUNNING, SUCCEEDED, FAILED, CANCELED, EXPIRED = (f"{number:08d}-old-job" for number in (2, 3, 4, 5, 7))


@pytest.fixture
def store(valkey_url: str, namespace: str) -> RedisJobStore:
    settings = RedisSettings.read(url=SecretStr(valkey_url), namespace=namespace)
    limits = StoreLimits(retention_s=100 * 365 * 86400.0)
    return connect(settings, limits, PlainNotifier(f"{{{namespace}}}:q:"))


def load_past(store: RedisJobStore) -> None:
    """Put what the older farm wrote into the server."""
    for old_key, kept in json.loads(PAST.read_text()).items():
        key, value = old_key.replace("{farm}:", store.keys.root), kept["value"]
        for command in _commands(kept["type"], key, value):
            store._command(*command)


def _commands(kind: str, key: str, value: Any) -> list[tuple[Any, ...]]:
    if kind == "hash":
        return [("HSET", key, _raw(name), _raw(text)) for name, text in value.items()]
    if kind == "zset":
        return [("ZADD", key, f"{score:.0f}", member) for member, score in value.items()]
    if kind == "stream":
        return [("XADD", key, at, "k", fields["k"], "d", _raw(fields["d"])) for at, fields in value]
    return [("SADD", key, *value)] if kind == "set" else [("SET", key, _raw(value))]


def _raw(text: str) -> bytes:
    return text.encode("latin-1")


def test_every_record_of_an_older_farm_is_read_and_goes_on(store: RedisJobStore) -> None:
    load_past(store)

    for job_id in WAITING:
        assert store.get(job_id).state is JobState.QUEUED
    assert store.get(SUCCEEDED).result is not None
    assert [e.kind for e in store.events(SUCCEEDED)] == [EventKind.STATE] * 3
    assert store.get(FAILED).error is not None
    assert {store.get(job_id).state for job_id in (CANCELED, EXPIRED)} == {
        JobState.CANCELED,
        JobState.EXPIRED,
    }
    assert store.submit([a_job(idempotency_key="k", title="waits", labels=["a"])])[0].job_id == WAITING[1]

    # The running one's worker goes on with the number alone, as it did then.
    assert store.renew(RUNNING, 1) is LeaseAnswer.OK
    assert store.report(RUNNING, 1, [NewEvent(kind=EventKind.LOG, data={})]) is LeaseAnswer.OK
    assert store.succeed(RUNNING, 1, a_result()) is LeaseAnswer.OK
    assert store.retry(FAILED) is JobState.QUEUED
    store.sweep()
    for job_id in (*WAITING, FAILED):
        claim = store.claim(job_id, worker="w2")
        assert isinstance(claim, Claim), job_id
        assert store.succeed(job_id, claim.attempt, a_result(), token=claim.token) is LeaseAnswer.OK
    assert store.counts().by_state[JobState.SUCCEEDED] == 7


def test_a_lease_of_an_older_worker_that_died_is_taken_and_its_job_announced(store: RedisJobStore) -> None:
    load_past(store)

    assert RUNNING in store.sweep().lost

    assert store.get(RUNNING).state is JobState.QUEUED
    messages: list[bytes] = store._command("LRANGE", f"{store.keys.root}q:{QUEUE}:5", 0, -1)
    assert RUNNING in {PlainNotifier.job_id_of(message) for message in messages}


def newer(store: RedisJobStore, job_id: str, *, schema: int) -> None:
    """What a newer farm may have added to a record: a field in each place where there are fields."""
    key = store.keys.job(job_id)
    for name, extra in (("head", {"v": schema, "zz": [1]}), ("spec", {"new_option": {"a": 1}})):
        old: bytes = store._command("HGET", key, name)
        store._command("HSET", key, name, json.dumps({**json.loads(old), **extra}))
    store._command("HSET", key, "new_field", "x")


def plain_job(store: RedisJobStore) -> str:
    """A waiting job whose spec is not compressed; its id."""
    job_id = store.submit([a_job(title="t")])[0].job_id
    spec = json.dumps({"graph": {"1": {"class_type": "SaveImage", "inputs": {}}}})
    store._command("HSET", store.keys.job(job_id), "spec", spec)
    return job_id


def test_fields_that_only_a_newer_farm_knows_are_kept_and_passed_over(store: RedisJobStore) -> None:
    job_id = plain_job(store)
    newer(store, job_id, schema=1)

    claimed(store, job_id)
    assert store.fail(job_id, 1, an_error(), retry_in_s=0, queue="render.48") is JobState.QUEUED
    assert isinstance(store.claim(job_id, worker="w2"), Claim)
    store._command("XADD", store.keys.events(job_id), "*", "k", "hologram", "d", '{"depth":3}')

    fields: dict[bytes, bytes] = store._command("HGETALL", store.keys.job(job_id))
    assert fields[b"new_field"] == b"x"
    assert json.loads(fields[b"head"])["zz"] == [1]
    assert json.loads(fields[b"spec"])["new_option"] == {"a": 1}
    told = store.events(job_id)[-1]
    assert (told.kind, told.data) == (EventKind.OTHER, {"kind": "hologram", "depth": 3})


def test_a_job_of_a_newer_schema_is_left_for_a_worker_that_can_read_it(store: RedisJobStore) -> None:
    job_id, other = plain_job(store), store.submit([a_job()])[0].job_id
    newer(store, job_id, schema=2)

    assert store.claim(job_id, worker="old") is Refused.NEWER

    assert store._command("HGET", store.keys.job(job_id), "state") == b"queued"
    with pytest.raises(FarmError, match="newer farm"):
        store.get(job_id)
    assert [job.job_id for job in store.find().jobs] == [other]
    # Its notification is used up; it gets another one, and not at once.
    due: float = float(store._command("ZSCORE", f"{store.keys.root}due", job_id))
    assert due / 1000 - store.ping()["now"].timestamp() > 0.5 * store.limits.notify_again_after_s
    granted = store._run("claim", job_id, "new", "token", 60_000, 2, 1000, 0, 1000)
    assert granted[0] == b"granted"


def test_a_record_that_cannot_be_read_hides_no_other_one(store: RedisJobStore) -> None:
    strange, other = plain_job(store), store.submit([a_job()])[0].job_id
    store._command("HSET", store.keys.job(strange), "state", "hovering")

    with pytest.raises(FarmError, match="cannot be read"):
        store.get(strange)
    assert [job.job_id for job in store.find().jobs] == [other]
