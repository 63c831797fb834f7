"""`RedisJobStore`: the truth about each job, in Redis. Every move is one script of `scripts/`."""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from farm.errors import FarmError, IdempotencyConflict, IllegalMove, JobNotFound, SettingsError
from farm.job import (
    SCHEMA_VERSION,
    ErrorKind,
    JobError,
    JobEvent,
    JobRecord,
    JobResult,
    JobState,
    Progress,
    spec_to_json,
    utc_from_ms,
)
from farm.settings import RedisSettings
from farm.store import codec
from farm.store.base import (
    Bell,
    Claim,
    Counts,
    LeaseAnswer,
    NewEvent,
    NewJob,
    Page,
    Queued,
    Refused,
    Ring,
    StoreLimits,
    Submitted,
    Swept,
)
from farm.store.control import RedisCancelFeed
from farm.store.keys import Keys, lane, of_lane
from farm.store.lua import Argument, Call, run, run_many
from farm.store.server import read_facts
from farm.store.trouble import translated
from farm.store.verdicts import RING_AGAIN_S

log = logging.getLogger(__name__)

_BATCH: Final = 1000  # jobs of one round trip; more would only make one reply wait for another
_LONGEST_BLOCK_S: Final = 2.0
_MAX_CONNECTIONS: Final = 1000  # threads that follow a job hold one each


def connect(settings: RedisSettings, limits: StoreLimits, bell: Bell) -> RedisJobStore:
    """A store at the Redis that the settings name; the first call opens a connection.

    Raises:
        SettingsError: the URL is none.
    """
    # Only a connection that broke is tried again: repeating after a time-out would double the wait.
    retry = Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), 2, (RedisConnectionError,))
    make: Callable[..., redis.Redis] = redis.Redis.from_url
    try:
        client = make(
            settings.url.get_secret_value(),
            retry=retry,
            socket_connect_timeout=settings.timeout_s,
            socket_timeout=settings.timeout_s,
            socket_keepalive=True,
            health_check_interval=15,
            client_name=f"farm-{settings.namespace}",
            max_connections=_MAX_CONNECTIONS,
            decode_responses=False,
        )
    except ValueError as exc:
        raise SettingsError(f"FARM_REDIS_URL is no Redis URL: {exc}") from exc
    return RedisJobStore(client, namespace=settings.namespace, limits=limits, bell=bell)


class RedisJobStore:
    """The form of `JobStore` that many processes share. Thread-safe.

    Args:
        client: must not decode responses.
        namespace: what its keys begin with (`Keys`); several farms may share a Redis.
        bell: makes the messages that announce waiting jobs.
    """

    def __init__(self, client: redis.Redis, *, namespace: str, limits: StoreLimits, bell: Bell) -> None:
        self.limits = limits
        self.keys = Keys(namespace)
        self._client = client
        self._execute: Callable[..., Any] = client.execute_command
        self._bell = bell

    # -- moves of a producer ---------------------------------------------------------------------

    def submit(self, jobs: Sequence[NewJob]) -> list[Submitted]:
        """Store jobs as queued and ring their bells, in order; one round trip for 1,000 of them."""
        done: list[Submitted] = []
        conflict: IdempotencyConflict | None = None
        for start in range(0, len(jobs), _BATCH):
            batch = jobs[start : start + _BATCH]
            with translated(self._client):
                answers = run_many(self._client, [self._submit_call(job) for job in batch])
            for job, (word, job_id) in zip(batch, answers, strict=True):
                if word == b"conflict":
                    conflict = conflict or IdempotencyConflict(
                        job.spec.idempotency_key or "", job_id.decode()
                    )
                done.append(Submitted(job_id=job_id.decode(), created=word == b"created"))
        if conflict is not None:
            raise conflict
        return done

    def _submit_call(self, job: NewJob) -> Call:
        spec, priority = job.spec, job.spec.priority
        key = spec.idempotency_key
        return self._call(
            "submit",
            job.job_id,
            codec.head_to_json(job),
            codec.pack_spec(spec_to_json(spec)),
            self._bell.message(job.job_id, queue=job.queue, priority=priority, title=spec.title),
            lane(job.queue, priority),
            "" if spec.deadline is None else codec.to_ms(spec.deadline),
            "" if key is None else codec.idempotency_name(key),
            "" if key is None else codec.spec_digest(spec),
            *dict.fromkeys(spec.labels),
            bell_list=self._bell.list_key(job.queue, priority),
        )

    def cancel(self, job_id: str, *, reason: str = "") -> JobState:
        """Ask for the end of a job."""
        state = self._run("cancel", job_id, reason).decode()
        if not state:
            raise JobNotFound(job_id)
        return JobState(state)

    def retry(self, job_id: str) -> JobState:
        """Queue a failed, canceled or expired job anew."""
        ring = self._ring_of(job_id)
        if ring is None:
            raise JobNotFound(job_id)
        word, *state = self._run("retry", job_id, self._message(ring), bell_list=self._list_key(ring))
        if word == b"unknown":
            raise JobNotFound(job_id)
        if word == b"refused":
            raise IllegalMove(job_id, state[0].decode(), "queued again")
        return JobState.QUEUED

    # -- moves of a worker -----------------------------------------------------------------------

    def claim(self, job_id: str, *, worker: str) -> Claim | Refused:
        """Take the next attempt at a queued job."""
        # The nonce lets a claim whose answer was lost be repeated by the connection's own retry.
        word, *granted = self._run(
            "claim",
            job_id,
            worker,
            uuid.uuid4().hex,
            _ms(self.limits.lease_s),
            SCHEMA_VERSION,
            _ms(min(RING_AGAIN_S, self.limits.avoid_s)),
        )
        if word != b"granted":
            return Refused(word.decode())
        attempt, at, claimed, lease, spec = granted
        return Claim(
            job_id=job_id,
            attempt=int(attempt),
            spec=codec.unpack_spec(spec),
            submitted_at=codec.from_order(at),
            claimed_at=utc_from_ms(int(claimed)),
            lease_until=utc_from_ms(int(lease)),
        )

    def renew(self, job_id: str, attempt: int) -> LeaseAnswer:
        """Prolong the lease by `lease_s` from now."""
        return LeaseAnswer(self._run("renew", job_id, attempt, _ms(self.limits.lease_s)).decode())

    def report(
        self, job_id: str, attempt: int, events: Sequence[NewEvent], *, progress: Progress | None = None
    ) -> LeaseAnswer:
        """Append events to the job's stream and keep `progress` in its record."""
        kept = b"" if progress is None else codec.PROGRESS.dump_json(progress)
        flat: list[Argument] = []
        for event in events:
            flat += [event.kind.value, json.dumps(event.data, separators=(",", ":"), ensure_ascii=False)]
        return LeaseAnswer(self._run("report", job_id, attempt, kept, *flat).decode())

    def succeed(self, job_id: str, attempt: int, result: JobResult) -> LeaseAnswer:
        """Commit the result."""
        return LeaseAnswer(self._run("succeed", job_id, attempt, codec.RESULT.dump_json(result)).decode())

    def fail(
        self, job_id: str, attempt: int, error: JobError, *, retry_in_s: float | None
    ) -> JobState | LeaseAnswer:
        """End an attempt that failed; returns the new state, or ``LOST``."""
        ring = self._ring_of(job_id)
        if ring is None:
            return LeaseAnswer.LOST
        word = self._run(
            "fail",
            job_id,
            attempt,
            codec.ERROR.dump_json(error),
            int(error.kind is not ErrorKind.MACHINE),
            "" if retry_in_s is None else _ms(retry_in_s),
            _ms(self.limits.avoid_s),
            self._message(ring),
            error.message,
            bell_list=self._list_key(ring),
        ).decode()
        return LeaseAnswer.LOST if word == LeaseAnswer.LOST else JobState(word)

    def release(self, job_id: str, attempt: int, *, reason: str) -> LeaseAnswer:
        """Give a running job back: queued at once, rung at the front."""
        ring = self._ring_of(job_id)
        if ring is None:
            return LeaseAnswer.LOST
        answer = self._run(
            "release", job_id, attempt, reason, self._message(ring), bell_list=self._list_key(ring)
        )
        return LeaseAnswer(answer.decode())

    def end_canceled(self, job_id: str, attempt: int) -> LeaseAnswer:
        """The worker has stopped a job whose cancel was requested: it is canceled now."""
        return LeaseAnswer(self._run("end_canceled", job_id, attempt).decode())

    # -- repair ----------------------------------------------------------------------------------

    def sweep(self) -> Swept:
        """Repair what died; rings by itself. Two round trips when nothing is wrong."""
        limits, batch = self.limits, self.limits.sweep_batch
        with translated(self._client):
            lost, due, expired, purged, lanes = run_many(
                self._client,
                [
                    self._call("sweep_leases", batch, f"{limits.lease_s:g}", limits.max_lost_attempts),
                    self._call("sweep_due", batch),
                    self._call("sweep_deadlines", batch),
                    self._call("sweep_finished", batch, _ms(limits.retention_s)),
                    self._call("lanes"),
                ],
            )
            missing = run_many(self._client, [self._lane_call(name.decode()) for name in lanes])
        rings = [ring for flat in (due, *missing) for ring in _rings(flat)]
        self.ring(rings)
        return Swept(
            rings=tuple(rings),
            lost=tuple(job_id.decode() for job_id in lost),
            expired=tuple(job_id.decode() for job_id in expired),
            purged=purged,
        )

    def _lane_call(self, name: str) -> Call:
        return self._call(
            "sweep_lane",
            self.limits.sweep_batch,
            name,
            _ms(self.limits.ring_again_after_s),
            bell_list=self._bell.list_key(*of_lane(name)),
        )

    def ring(self, rings: Sequence[Ring]) -> None:
        """Put the bell of each job into its queue (again)."""
        # Backwards, since what is put at the front last is popped first.
        calls = [
            self._call(
                "ring", ring.job_id, self._message(ring), int(ring.front), bell_list=self._list_key(ring)
            )
            for ring in reversed(rings)
        ]
        with translated(self._client):
            run_many(self._client, calls)

    # -- reads -----------------------------------------------------------------------------------

    def get(self, job_id: str) -> JobRecord:
        """The job as it is now."""
        with translated(self._client):
            fields = self._execute("HGETALL", self.keys.job(job_id))
        if not fields:
            raise JobNotFound(job_id)
        return codec.record_from(job_id, fields)

    def find(
        self,
        *,
        state: JobState | None = None,
        label: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Jobs submitted within [since, until), newest first; filters are joined by *and*."""
        lowest = "-inf" if since is None else str(codec.to_order(since))
        highest = "+inf" if until is None else f"({codec.to_order(until)}"
        jobs: list[JobRecord] = []
        below = highest if cursor is None else f"({int(cursor)}"
        while True:
            go_on, *found = self._run("find", state or "", label or "", below, lowest, limit - len(jobs))
            jobs += [record for flat in found if (record := _readable(flat)) is not None]
            # A rare pair of state and label is looked for in parts, so that no call is long.
            if not go_on or len(jobs) >= limit:
                return Page(jobs=tuple(jobs), next_cursor=go_on.decode() or None)
            below = f"({go_on.decode()}"

    def counts(self) -> Counts:
        """How many jobs are in each state, and how many wait in each queue and priority."""
        states, lanes = self._run("counts")
        waiting = []
        for name, count in zip(lanes[::2], lanes[1::2], strict=True):
            queue, priority = of_lane(name.decode())
            waiting.append(Queued(queue=queue, priority=priority, waiting=count))
        return Counts(
            by_state={JobState(s.decode()): n for s, n in zip(states[::2], states[1::2], strict=True)},
            waiting=tuple(sorted((q for q in waiting if q.waiting), key=lambda q: (q.priority, q.queue))),
        )

    def events(
        self, job_id: str, *, after: str = "0", limit: int = 100, block_s: float = 0.0
    ) -> list[JobEvent]:
        """Events after `after`, oldest first; waits up to `block_s` when there is none yet."""
        if re.fullmatch(r"\d+(-\d+)?", after) is None:
            raise ValueError(f"{after!r} is no event id")
        until = time.monotonic() + block_s
        while True:
            found, ended = self._events_now(job_id, after, limit)
            left_s = until - time.monotonic()
            if found or ended or left_s <= 0:
                return found
            block_ms = max(1, _ms(min(left_s, _LONGEST_BLOCK_S)))
            with translated(self._client):
                self._execute(
                    "XREAD", "BLOCK", block_ms, "COUNT", 1, "STREAMS", self.keys.events(job_id), after
                )

    def _events_now(self, job_id: str, after: str, limit: int) -> tuple[list[JobEvent], bool]:
        with translated(self._client), self._client.pipeline(transaction=False) as pipe:
            put: Callable[..., Any] = pipe.execute_command
            put("HMGET", self.keys.job(job_id), "state", "at")
            put("XRANGE", self.keys.events(job_id), f"({after}", "+", "COUNT", limit)
            put("EXISTS", self.keys.events(job_id))
            (state, at), entries, has_stream = pipe.execute()
        if state is None:
            raise JobNotFound(job_id)
        if not has_stream:
            first = codec.first_event(job_id, at)
            return ([first] if _event_order(first.event_id) > _event_order(after) else []), False
        events = [codec.event_from(job_id, event_id, fields) for event_id, fields in entries]
        return events, JobState(state.decode()).final

    def news(
        self, after: Mapping[str, str], *, limit: int = 100, block_s: float = 0.0
    ) -> dict[str, list[JobEvent]]:
        """Events of several jobs, of each those after its event id, oldest first."""
        if not after:
            return {}
        job_of = {self.keys.events(job_id).encode(): job_id for job_id in after}
        # BLOCK 0 would wait for ever.
        block = ("BLOCK", max(1, _ms(min(block_s, _LONGEST_BLOCK_S)))) if block_s > 0 else ()
        with translated(self._client):
            found = self._execute("XREAD", "COUNT", limit, *block, "STREAMS", *job_of, *after.values())
        return {
            job_of[key]: [codec.event_from(job_of[key], event_id, fields) for event_id, fields in entries]
            for key, entries in found or ()
        }

    def listen_control(self) -> RedisCancelFeed:
        """Cancels as they are requested; for one thread, which closes it."""
        return RedisCancelFeed(self._client, self.keys.control)

    def ping(self) -> dict[str, Any]:
        """Facts of the server; `farm.store.server.check_server` judges them."""
        return read_facts(self._client, self.keys.epoch)

    # -- workers and locks -----------------------------------------------------------------------

    def put_worker(self, name: str, card: dict[str, Any], *, ttl_s: float) -> None:
        """Keep a worker's card for `ttl_s`."""
        self._run("put_worker", name, json.dumps(card, separators=(",", ":")), _ms(ttl_s))

    def drop_worker(self, name: str) -> None:
        """Forget a worker's card: it left in good order."""
        with translated(self._client):
            self._execute("DEL", self.keys.worker(name))

    def workers(self) -> list[dict[str, Any]]:
        """The cards of all workers that live, by name."""
        found = {name.decode(): json.loads(card) for name, card in self._run("workers")}
        return [found[name] for name in sorted(found)]

    def put_blob(self, name: str, data: bytes, *, ttl_s: float) -> None:
        """Keep something that is too large for a card."""
        with translated(self._client):
            self._execute("SET", self.keys.blob(name), data, "PX", _ms(ttl_s))

    def get_blob(self, name: str) -> bytes | None:
        """What `put_blob` keeps under that name."""
        with translated(self._client):
            data: bytes | None = self._execute("GET", self.keys.blob(name))
        return data

    def acquire(self, name: str, holder: str, *, ttl_s: float) -> bool:
        """Take or keep a named lock for `ttl_s`."""
        return bool(self._run("acquire", name, holder, _ms(ttl_s)))

    def unlock(self, name: str, holder: str) -> None:
        """Give a lock back, if it is still this holder's."""
        self._run("unlock", name, holder)

    # -- how -------------------------------------------------------------------------------------

    def _call(self, script: str, *args: Argument, bell_list: str | None = None) -> Call:
        keys = [self.keys.root] if bell_list is None else [self.keys.root, bell_list]
        return Call(script, keys, [self.limits.events_kept, *args])

    def _run(self, script: str, *args: Argument, bell_list: str | None = None) -> Any:
        with translated(self._client):
            return run(self._client, self._call(script, *args, bell_list=bell_list))

    def _ring_of(self, job_id: str) -> Ring | None:
        """How to ring for a job at the front; None when there is no such job."""
        with translated(self._client):
            head = self._execute("HGET", self.keys.job(job_id), "head")
        return None if head is None else _ring(job_id, head)

    def _message(self, ring: Ring) -> bytes:
        return self._bell.message(ring.job_id, queue=ring.queue, priority=ring.priority, title=ring.title)

    def _list_key(self, ring: Ring) -> str:
        return self._bell.list_key(ring.queue, ring.priority)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _ring(job_id: str, head_json: bytes) -> Ring:
    head = codec.head_from_json(head_json)
    return Ring(job_id=job_id, queue=head.queue, priority=head.priority, title=head.title, front=True)


def _rings(flat: Sequence[bytes]) -> list[Ring]:
    return [_ring(job_id.decode(), head) for job_id, head in zip(flat[::2], flat[1::2], strict=True)]


def _readable(flat: Sequence[bytes]) -> JobRecord | None:
    job_id = flat[0].decode()
    try:
        return codec.record_from(job_id, codec.fields_of(flat[1:]))
    except FarmError as exc:
        # One record of a newer farm must not hide all others from an older listing.
        log.warning(
            "Job left out of a listing", extra={"event": "job_unreadable", "job_id": job_id, "why": str(exc)}
        )
        return None


def _event_order(event_id: str) -> tuple[int, int]:
    ms, _, sequence = event_id.partition("-")
    return int(ms), int(sequence or 0)
