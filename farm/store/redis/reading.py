"""The part of the Redis store that reads: records, listings, counts, events."""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from farm.errors import FarmError, RecordUnreadable
from farm.job import JobEvent, JobRecord, JobState, utc_from_ms
from farm.store import codec
from farm.store.base import Counts, IdPage, JobBrief, Page, Queued
from farm.store.redis.control import RedisCancelFeed
from farm.store.redis.epoch import RedisEpoch
from farm.store.redis.keys import of_priority_queue
from farm.store.redis.link import in_ms
from farm.store.redis.server import read_facts
from farm.store.redis.trouble import translated
from farm.store.tally import Tally, read_tally

log = logging.getLogger(__name__)

_SCANNED: Final = 5_000  # ids looked at in one call: a few milliseconds
_BRIEFS: Final = 2_000  # looked up in one call: a few milliseconds
_LONGEST_BLOCK_S: Final = 2.0  # well under the socket's time-out

_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bounds:
    """Which jobs a listing is of."""

    state: JobState | None
    label: str | None
    since: datetime | None
    until: datetime | None

    @property
    def lowest(self) -> str:
        return "-inf" if self.since is None else str(codec.to_order(self.since))

    @property
    def highest(self) -> str:
        return "+inf" if self.until is None else f"({codec.to_order(self.until)}"


class RedisReading(RedisEpoch):
    """Reads; nothing here changes a job."""

    def get(self, job_id: str) -> JobRecord:
        fields = self._command("HGETALL", self.keys.job(job_id))
        if not fields:
            raise self._missing(job_id)
        return codec.record_from(job_id, fields)

    def get_many(self, job_ids: Sequence[str]) -> dict[str, JobRecord]:
        kept = self._commands([["HGETALL", self.keys.job(each)] for each in job_ids]) if job_ids else []
        found: dict[str, JobRecord] = {}
        for job_id, fields in zip(job_ids, kept, strict=True):
            with contextlib.suppress(RecordUnreadable):
                if fields:
                    found[job_id] = codec.record_from(job_id, fields)
        return found

    def id_of_key(self, idempotency_key: str) -> str | None:
        held = self._command("GET", self.keys.idempotency(codec.idempotency_name(idempotency_key)))
        return None if held is None else str(held.split()[0].decode())

    def ids_beginning(self, text: str, *, limit: int) -> list[str]:
        """Ids that begin so; looks through all jobs, in pieces that hold up nobody."""
        found: list[str] = []
        for state in JobState:
            cursor = -1
            while cursor and len(found) < limit:
                scan: Callable[..., Any] = self._client.zscan  # whose stubs know nothing of undecoded answers
                with translated(self._client):
                    cursor, pairs = scan(
                        self.keys.state(state), max(cursor, 0), match=f"{text}*", count=_SCANNED
                    )
                # A job that moved meanwhile may be met twice.
                found += [name.decode() for name, _ in pairs if name.decode() not in found]
        return found[:limit]

    def find(
        self,
        *,
        state: JobState | None = None,
        label: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
        hints: Sequence[str] = (),
    ) -> Page:

        def read(found: Sequence[Any]) -> list[JobRecord]:
            last = len(found) - 1
            wanted = (
                flat for at, flat in enumerate(found) if at == last or not hints or _may_have(flat, hints)
            )
            return [record for flat in wanted if (record := _readable(flat)) is not None]

        bounds = _Bounds(state=state, label=label, since=since, until=until)
        jobs, next_cursor = self._find("records", read, bounds, limit, cursor)
        return Page(jobs=tuple(jobs), next_cursor=next_cursor)

    def find_ids(
        self,
        *,
        state: JobState | None = None,
        label: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 5000,
        cursor: str | None = None,
    ) -> IdPage:

        def read(found: Sequence[Any]) -> list[str]:
            return [job_id.decode() for job_id in found]

        bounds = _Bounds(state=state, label=label, since=since, until=until)
        ids, next_cursor = self._find("ids", read, bounds, limit, cursor)
        return IdPage(ids=tuple(ids), next_cursor=next_cursor)

    def _find(
        self,
        what: str,
        read: Callable[[Sequence[Any]], list[_Found]],
        bounds: _Bounds,
        limit: int,
        cursor: str | None,
    ) -> tuple[list[_Found], str | None]:
        found: list[_Found] = []
        below = bounds.highest if cursor is None else f"({int(cursor)}"
        state, label = bounds.state or "", bounds.label or ""
        while True:
            go_on, *more = self._run("find", what, state, label, below, bounds.lowest, limit - len(found))
            found += read(more)
            # A rare pair of state and label is looked for in parts, so that no call is long.
            if not go_on or len(found) >= limit:
                return found, go_on.decode() or None
            below = f"({go_on.decode()}"

    def briefs(self, job_ids: Sequence[str]) -> dict[str, JobBrief]:
        found: dict[str, JobBrief] = {}
        for start in range(0, len(job_ids), _BRIEFS):
            batch = job_ids[start : start + _BRIEFS]
            flat = self._run("briefs", *batch)
            columns = (flat[at::4] for at in range(4))
            for job_id, *told in zip(batch, *columns, strict=True):
                brief = codec.brief_from(job_id, *told)
                if brief is not None:
                    found[job_id] = brief
        return found

    def find_results(self, contents: Sequence[str]) -> dict[str, JobRecord]:
        flat = self._run("results", *contents) if contents else []
        pairs = zip(flat[::2], flat[1::2], strict=True)
        records = {content.decode(): _readable(fields) for content, fields in pairs}
        return {content: record for content, record in records.items() if record is not None}

    def counts(self) -> Counts:
        states, sizes, parked, overdue = self._run("counts")
        waiting = []
        for name, count, oldest_us in zip(sizes[::3], sizes[1::3], sizes[2::3], strict=True):
            known = of_priority_queue(name)
            if known is not None:
                oldest_s = oldest_us / 1_000_000
                waiting.append(Queued(queue=known[0], priority=known[1], waiting=count, oldest_s=oldest_s))
        return Counts(
            by_state={JobState(s.decode()): n for s, n in zip(states[::2], states[1::2], strict=True)},
            waiting=tuple(sorted((q for q in waiting if q.waiting), key=lambda q: (q.priority, q.queue))),
            parked=parked,
            leases_overdue=overdue,
        )

    def queue_positions(self, job_ids: Sequence[str]) -> dict[str, int]:
        found = self._run("queue_positions", *job_ids) if job_ids else []
        pairs = zip(job_ids, found, strict=True)
        return {job_id: int(position) for job_id, position in pairs if position >= 0}

    def recent_events(self, job_id: str, *, limit: int = 20) -> list[JobEvent]:
        entries, told = self._commands(
            [
                ["XREVRANGE", self.keys.events(job_id), "+", "-", "COUNT", limit],
                ["HGET", self.keys.job(job_id), "told"],
            ]
        )
        if told and not entries:
            return codec.folded_events(job_id, told)[-limit:]
        return [codec.event_from(job_id, event_id, fields) for event_id, fields in reversed(entries)]

    def tally(self) -> Tally:
        fields = self._command("HGETALL", f"{self.keys.root}tally")
        return read_tally({name.decode(): int(value) for name, value in fields.items()})

    def parked(self, *, after: datetime | None = None, limit: int = 100) -> list[JobRecord]:
        behind = "-inf" if after is None else codec.to_order(after)
        found = self._run("parked", behind, limit)
        return [record for flat in found if (record := _readable(flat)) is not None]

    def events(
        self, job_id: str, *, after: str = "0", limit: int = 100, block_s: float = 0.0
    ) -> list[JobEvent]:
        if re.fullmatch(r"\d+(-\d+)?", after) is None:
            raise ValueError(f"{after!r} is no event id")
        until = time.monotonic() + block_s
        while True:
            found, ended = self._events_now(job_id, after, limit)
            left_s = until - time.monotonic()
            if found or ended or left_s <= 0:
                return found
            block_ms = max(1, in_ms(min(left_s, _LONGEST_BLOCK_S)))
            self._command("XREAD", "BLOCK", block_ms, "COUNT", 1, "STREAMS", self.keys.events(job_id), after)

    def _events_now(self, job_id: str, after: str, limit: int) -> tuple[list[JobEvent], bool]:
        with translated(self._client), self._client.pipeline(transaction=False) as pipe:
            put: Callable[..., Any] = pipe.execute_command
            put("HMGET", self.keys.job(job_id), "state", "at", "told")
            put("XRANGE", self.keys.events(job_id), f"({after}", "+", "COUNT", limit)
            put("EXISTS", self.keys.events(job_id))
            (state, at, told), entries, has_stream = pipe.execute()
        if state is None:
            raise self._missing(job_id)
        events = [codec.event_from(job_id, event_id, fields) for event_id, fields in entries]
        if not has_stream:
            whole = codec.folded_events(job_id, told) if told else [codec.first_event(job_id, at)]
            events = [each for each in whole if _event_order(each.event_id) > _event_order(after)][:limit]
        return events, JobState(state.decode()).final

    def news(
        self, after: Mapping[str, str], *, limit: int = 100, block_s: float = 0.0
    ) -> dict[str, list[JobEvent]]:
        if not after:
            return {}
        job_of = {self.keys.events(job_id).encode(): job_id for job_id in after}
        # BLOCK 0 would wait for ever.
        block = ("BLOCK", max(1, in_ms(min(block_s, _LONGEST_BLOCK_S)))) if block_s > 0 else ()
        found = self._command("XREAD", "COUNT", limit, *block, "STREAMS", *job_of, *after.values())
        return {
            job_of[key]: [codec.event_from(job_of[key], event_id, fields) for event_id, fields in entries]
            for key, entries in found or ()
        }

    def clock(self) -> datetime:
        seconds, micros = self._command("TIME")
        return utc_from_ms(int(seconds) * 1000 + int(micros) // 1000)

    def listen_control(self) -> RedisCancelFeed:
        return RedisCancelFeed(self._client, self.keys.control)

    def ping(self) -> dict[str, Any]:
        return read_facts(self._client, self.keys, fsync=self._safety.fsync)


def _may_have(flat: Sequence[bytes], hints: Sequence[str]) -> bool:
    fields = codec.fields_of(flat[1:])
    try:
        text = codec.text_of(fields)
    except FarmError:
        return True  # to be told of with those that cannot be read
    return all(hint in text for hint in hints)


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
