"""Collects what everybody saw of a campaign, once it is calm."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import psutil
import redis

from farm.broker import CeleryNotifier, key_prefix, make_app
from farm.errors import JobNotFound
from farm.handle import Job
from farm.job import JobRecord
from farm.store.redis.store import connect, store_limits
from farm.upkeep.cleaning import Cleaner, CleanLimits
from tests.chaos.arena import NAMESPACE, ROOT, Arena
from tests.chaos.history import Bounds, Death, Harm, History, Run, StateSeen, Story
from tests.chaos.standstill import harms_of, spans_of
from tests.chaos.stories import states_in, story_of
from tests.support.emulator_record import job_of
from tests.support.valkey import eventually

_LOOK_S: Final = 0.1
_LEAVE_S: Final = 60.0
_HELD: Final = ("leases", "due", "deadlines")
# What a farm without jobs keeps: its epoch, counter, tally and living workers, and Celery's own book-keeping.
_MAY_STAY: Final = (
    "epoch",
    "last",
    "tally",
    "paces",
    "workers",
    "lately",
    "worker:",
    "blob:",
    "lock:",
    "schema",
    "webhook",
    "q:_kombu",
    "q:unacked",
)


def calm(arena: Arena, *, within_s: float) -> list[str]:
    """Wait until every job has ended and nothing is held any more; what there still is when time is over."""
    until = time.monotonic() + within_s
    waits_for = ["an answer of Redis"]
    with arena.direct() as client:
        while waits_for and time.monotonic() < until:
            with contextlib.suppress(redis.RedisError):
                waits_for = [f"{count} of {name}" for name, count in _unended(client).items() if count]
            time.sleep(_LOOK_S)
    return waits_for


def history_of(arena: Arena) -> History:
    """What everybody saw; ends the workers, and lets the store forget all jobs, to see what stays."""
    with arena.direct() as client:
        leftovers = _held(client)
    farm = arena.farm.farm
    Cleaner(farm.store, farm.storage, CleanLimits(orphans_s=0.0)).clean()
    jobs = {job.job_id: job for job in arena.accepted}
    seen = History(
        accepted=tuple(jobs),
        submissions=tuple(arena.submissions),
        stories={job_id: story for job_id, job in jobs.items() if (story := _story(arena, job))},
        objects=arena.s3.objects(),
        runs=tuple(_runs(arena)),
        harms=(*arena.harms, *_standstills(arena)),
        deaths=tuple(arena.deaths),
        exits=tuple(
            Death(worker=each.worker, at_s=each.at_s) for place in arena.places for each in place.exits
        ),
        able={name: tuple(spans) for name, spans in arena.able.items()},
        outages=tuple(arena.outages),
        bounds=_bounds(arena),
        cleared=True,
    )
    leftovers["open uploads"] = len(arena.s3.open_uploads())
    leftovers |= _after_retention(arena)
    leftovers |= _after_draining(arena)
    return replace(seen, leftovers=leftovers)


def _bounds(arena: Arena) -> Bounds:
    store = arena.farm.store
    return Bounds(
        lease_s=store.lease_s,
        repair_s=2 * store.sweep_s + max(3 * store.sweep_s, 1.0),
        # A machine on which workers start slowly does all slowly.
        slack_s=max(5.0, arena.start_s),
        reach_s=max(5.0, arena.start_s),
        cancel_slack_s=store.lease_s,
        passed_over_s=30.0,
    )


def _unended(client: redis.Redis) -> dict[str, int]:
    states = {
        f"{state} jobs": _size(client, "ZCARD", f"{ROOT}state:{state}") for state in ("queued", "running")
    }
    return states | _held(client)


def _held(client: redis.Redis) -> dict[str, int]:
    """What must be empty when all jobs have ended."""
    broker = key_prefix(NAMESPACE)
    counted = {name: _size(client, "ZCARD", f"{ROOT}{name}") for name in _HELD}
    counted["unacked"] = _size(client, "HLEN", f"{broker}unacked")
    for key in client.scan_iter(match=f"{ROOT}lane:*", count=1000):
        counted[f"priority queue {key.decode()}"] = _size(client, "ZCARD", key.decode())
    for key in client.scan_iter(match=f"{broker}render.*", _type="list", count=1000):
        counted[f"queue {key.decode()}"] = _size(client, "LLEN", key.decode())
    return counted


def _after_retention(arena: Arena) -> dict[str, int]:
    """Keys that no living thing needs and that stay when the time of all jobs is over."""
    notifier = CeleryNotifier(make_app(arena.farm.redis), NAMESPACE)
    limits = replace(store_limits(arena.farm.store), retention_s=0.0)
    store = connect(arena.farm.redis, limits, notifier)
    try:
        for _ in range(1000):
            if not store.sweep():
                break
    finally:
        store.close()
    with arena.direct() as client:
        keys = [key.decode() for key in client.scan_iter(match=f"{ROOT}*", count=1000)]
    return {f"key {key}": 1 for key in keys if not key.removeprefix(ROOT).startswith(_MAY_STAY)}


def _after_draining(arena: Arena) -> dict[str, int]:
    """Workers that do not leave well when asked, and processes that they leave behind."""
    left: dict[str, int] = {}
    eventually(lambda: all(place.able for place in arena.places), within_s=_LEAVE_S)
    arena.stop_keeping()
    # One that ended just then was started again, and a process that only begins cannot leave well.
    eventually(lambda: all(place.able for place in arena.places), within_s=_LEAVE_S)
    for place in arena.places:
        place.signal(signal.SIGTERM)
    for place in arena.places:
        try:
            code = place.worker.child.wait(_LEAVE_S)
        except TimeoutError:
            code = -1
        if code:
            left[f"{place.worker.name} left with code {code}: {place.worker.log[-600:]}"] = 1
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if str(arena.farm.folder) in " ".join(process.cmdline()):
                left[f"process {process.pid}: {' '.join(process.cmdline())[:200]}"] = 1
    return left


def _story(arena: Arena, job: Job) -> Story | None:
    try:
        record: JobRecord = job.refresh().record
    except JobNotFound:
        return None
    states = states_in(job.events(live=False)) or [
        StateSeen(state="queued", attempt=0, at_s=record.submitted_at.timestamp())
    ]
    keys = arena.farm.farm.storage.keys
    return story_of(
        record,
        states,
        accepted_prefix=keys.attempt_prefix(job.job_id, record.token) if record.token else "",
        poison=job.job_id in arena.poison,
        cancel_confirmed_s=arena.canceled.get(job.job_id),
    )


def _runs(arena: Arena) -> Iterator[Run]:
    for place in arena.places:
        lines = place.record.read_text().splitlines() if place.record.exists() else []
        for line in lines:
            with contextlib.suppress(ValueError):  # its writer was killed in the middle of it
                entry = json.loads(line)
                if entry["event"] == "started" and (named := job_of(entry)) is not None:
                    job_id, attempt = named
                    yield Run(job_id=job_id, attempt=attempt, started_s=entry["at"], worker=place.worker.name)


def _standstills(arena: Arena) -> Iterator[Harm]:
    store = arena.farm.store
    for place in arena.places:
        spans = spans_of(place.standstills)
        yield from harms_of(spans, place.worker.name, lease_s=store.lease_s, renew_s=store.renew_s)


def _size(client: redis.Redis, command: str, key: str) -> int:
    execute: Any = client.execute_command
    return int(execute(command, key))
