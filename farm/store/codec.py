"""How a job stands in Redis, and back: the only place that knows the fields of its record.

Fields: ``head`` what scripts must read, ``spec`` JSON, compressed; ``state``, ``at``
(µs, the order), ``attempt``, ``failed``, ``lost``, ``ill`` (machine failures), ``worker``, ``cancel``,
``cancel_reason``; ``started``, ``claimed``, ``finished``, ``lease``, ``not_before``, ``deadline``, ``rung``
(ms, when its last notification was sent; stored under its old name); ``progress``, ``result``,
``error`` JSON; ``report`` JSON, the doctor's;
``parked`` why no worker fits, in words; ``notes`` JSON objects with commas between;
``avoid`` JSON, worker -> until (ms); ``places`` JSON, workers without what it needs;
``doubts`` JSON, worker -> in which way the job failed there; ``losses`` JSON, the leases that ran out, but of
workers that were heard of since;
``held`` the worker that has its finished files;
``nonce`` the token of the claim that runs; ``accepted`` that of the claim whose result counts;
``ended`` the last final write and its answer; ``reused`` whose result it has;
``told`` its events once it has no stream any more, a line for each: id, kind, data.
A waiting job has the first four only: there may be a million of them.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any, Final

from pydantic import TypeAdapter

from farm.errors import FarmError, InvalidJob, Problem, RecordUnreadable
from farm.job import (
    SCHEMA_VERSION,
    AttemptNote,
    EventKind,
    JobError,
    JobEvent,
    JobRecord,
    JobResult,
    JobSpec,
    JobState,
    Progress,
    spec_from_json,
    spec_to_json,
    utc_from_ms,
)
from farm.limits import MOST_UNPACKED_BYTES, short, unpacked
from farm.store.base import JobBrief, NewJob

PROGRESS: Final = TypeAdapter(Progress)
RESULT: Final = TypeAdapter(JobResult)
ERROR: Final = TypeAdapter(JobError)
_NOTES: Final = TypeAdapter(tuple[AttemptNote, ...])

# What specs of WAN jobs have in common, as a preset dictionary: of 4,000 bytes some 200 are left. A
# packed spec names its dictionary by checksum, so this file must never change; words that are missing
# go into a second one beside it.
_WORDS: Final = (resources.files("farm.store") / "spec_words_1.txt").read_bytes()
_PACKED: Final = b"\x78"  # how every zlib stream begins here; JSON begins with a brace
_KINDS: Final = frozenset(EventKind)
_STATES: Final = {state.encode(): state for state in JobState}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Fields = Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What never changes and scripts and notifications need without the spec."""

    queue: str
    priority: int
    title: str


def pack_spec(spec_json: bytes) -> bytes:
    """The spec as it is kept: compressed when that pays.

    Raises:
        InvalidJob: it is larger than a job may be.
    """
    if len(spec_json) > MOST_UNPACKED_BYTES:
        raise InvalidJob([Problem(field="job", message=f"has {len(spec_json) / 2**20:.1f} MiB: too large")])
    # A harder search would save no 20 bytes, and less working memory is cleared in half the time.
    packer = zlib.compressobj(level=3, memLevel=7, zdict=_WORDS)
    packed = packer.compress(spec_json) + packer.flush()
    return packed if len(packed) < len(spec_json) else spec_json


def unpack_spec(packed: bytes) -> JobSpec:
    """Back from `pack_spec`.

    Raises:
        FarmError: it is damaged, too large, or was packed with words that this farm does not have.
    """
    return spec_from_json(_spec_json(packed))


def _spec_json(packed: bytes) -> bytes:
    if not packed.startswith(_PACKED):
        return packed[: MOST_UNPACKED_BYTES + 1]
    return unpacked(packed, most_bytes=MOST_UNPACKED_BYTES, words=_WORDS)


def idempotency_name(key: str) -> str:
    """A caller's key as part of a Redis key: short, whatever characters it has."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def spec_digest(spec: JobSpec) -> str:
    """The same for specs that ask for the same, in whatever order their graphs were written.

    A title makes no other clip, and a deadline given as "in 2 h" is another one at each repeat.
    """
    asked = json.loads(spec_to_json(spec))
    asked.pop("title", None)
    asked.pop("deadline", None)
    return _digest(asked)


def spec_digests(spec: JobSpec) -> tuple[str, str]:
    """The digests that a record may have for this spec: the second was by farms before, title and all."""
    return spec_digest(spec), _digest(json.loads(spec_to_json(spec)))


def _digest(asked: Mapping[str, Any]) -> str:
    canonical = json.dumps(asked, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def head_to_json(job: NewJob) -> str:
    """The `head` field of a new job."""
    spec = job.spec
    head: dict[str, Any] = {
        "v": SCHEMA_VERSION,
        "q": job.queue,
        "p": spec.priority,
        "t": spec.title,
        "m": spec.max_attempts,
    }
    if spec.labels:
        head["l"] = list(dict.fromkeys(spec.labels))
    if spec.idempotency_key is not None:
        head["i"] = idempotency_name(spec.idempotency_key)
    if job.content is not None:
        head["c"] = job.content
    return json.dumps(head, separators=(",", ":"), ensure_ascii=False)


def head_from_json(text: bytes) -> Head:
    """Back from `head_to_json`.

    Raises:
        RecordUnreadable: it is none.
    """
    with _reading("what is stored of a job"):
        head = json.loads(text)
        return Head(queue=str(head["q"]), priority=int(head["p"]), title=str(head["t"]))


def head_with_queue(head_json: bytes, queue: str) -> bytes:
    """The same head for a job that moves to another queue."""
    head = {**json.loads(head_json), "q": queue}
    return json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()


def from_order(at: bytes | int) -> datetime:
    """When a job was submitted."""
    return _EPOCH + timedelta(microseconds=int(at))


def to_order(moment: datetime) -> int:
    """Where a moment stands in the order of jobs (µs)."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def cursor_behind(job: JobRecord) -> str:
    """Where a listing goes on that ended with this job."""
    return str(to_order(job.submitted_at))


def moment_of(cursor: str) -> datetime:
    """How far back a listing has looked that goes on there."""
    return from_order(int(cursor))


def to_ms(moment: datetime) -> int:
    """A moment in ms since the epoch."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def record_from(job_id: str, fields: Fields) -> JobRecord:
    """The record of a job from the fields of its hash.

    Raises:
        FarmError: a newer version of the farm wrote it, or it is damaged.
    """
    with _reading(f"job {job_id}"):
        head = json.loads(fields[b"head"])
        if head["v"] > SCHEMA_VERSION:
            raise FarmError(
                f"job {job_id} was stored by a newer farm (schema {head['v']}, this one reads up to "
                f"{SCHEMA_VERSION}); upgrade this installation"
            )
        # Within one schema only fields are added; a new word in an old field is a mistake of that version.
        return _record(job_id, head, fields)


def text_of(fields: Fields) -> str:
    """Head and spec of a record as they are stored, in lower case: a tenth of the work of `record_from`.

    Raises:
        FarmError: the spec cannot be unpacked.
    """
    stored = fields.get(b"head", b"") + _spec_json(fields.get(b"spec", b""))
    return stored.decode(errors="replace").casefold()


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """Whatever was stored there, by whomever: it is read, or it is told that it cannot be."""
    try:
        yield
    except FarmError:
        raise
    # RecursionError: JSON that is nested by the thousand. OverflowError: a time beyond all calendars.
    except (
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
        OSError,
    ) as exc:
        reason = short(f"{type(exc).__name__}: {exc}", longest=300)
        raise RecordUnreadable(f"{what} cannot be read: {reason}; was it stored by a newer farm?") from exc


def _record(job_id: str, head: Mapping[str, Any], fields: Fields) -> JobRecord:
    state = JobState(fields[b"state"].decode())
    return JobRecord(
        job_id=job_id,
        spec=with_priority(unpack_spec(fields[b"spec"]), head["p"]),
        state=state,
        submitted_at=from_order(fields[b"at"]),
        queue=head["q"],
        attempt=int(fields.get(b"attempt", 0)),
        token=_text(fields, b"nonce") or _text(fields, b"accepted") or None,
        attempts_failed=int(fields.get(b"failed", 0)),
        attempts_lost=int(fields.get(b"lost", 0)),
        worker=_text(fields, b"worker"),
        started_at=_time(fields, b"started"),
        claimed_at=_time(fields, b"claimed"),
        finished_at=_time(fields, b"finished"),
        lease_until=_time(fields, b"lease"),
        not_before=_time(fields, b"not_before"),
        cancel_requested=b"cancel" in fields,
        cancel_reason=fields[b"cancel_reason"].decode() if b"cancel_reason" in fields else None,
        progress=_progress(fields[b"progress"], state) if b"progress" in fields else None,
        result=RESULT.validate_json(fields[b"result"]) if b"result" in fields else None,
        error=ERROR.validate_json(fields[b"error"]) if b"error" in fields else None,
        report=_object(fields[b"report"]) if b"report" in fields else None,
        parked=_text(fields, b"parked"),
        paused_at=_time(fields, b"paused"),
        reused_from=_text(fields, b"reused"),
        attempts=_NOTES.validate_json(b"[" + fields.get(b"notes", b"") + b"]"),
    )


def _progress(text: bytes, state: JobState) -> Progress:
    told = PROGRESS.validate_json(text)
    return told.at_end() if state is JobState.SUCCEEDED else told


def _object(text: bytes) -> dict[str, Any]:
    found = json.loads(text)
    return found if isinstance(found, dict) else {}


def brief_from(job_id: str, state: bytes, at: bytes, priority: int, held: int) -> JobBrief | None:
    """A job as `briefs.lua` tells of it; None for no job, or for one that cannot be read."""
    try:
        return JobBrief(
            job_id=job_id,
            state=_STATES[state],
            priority=priority,
            submitted_at=from_order(at),
            held=bool(held),
        )
    except (LookupError, ValueError, OverflowError):
        return None


def with_priority(spec: JobSpec, priority: int) -> JobSpec:
    """The spec as it was stored, but for what may change while the job waits."""
    return spec if spec.priority == priority else replace(spec, priority=priority)


def fields_of(flat: Sequence[bytes]) -> Fields:
    """A hash as a script answers it: name, value, name, value, …"""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def event_from(job_id: str, event_id: bytes, fields: Fields) -> JobEvent:
    """An entry of the job's stream; one that cannot be read is one of a kind that nobody knows."""
    try:
        with _reading("an event"):
            kind, data = fields[b"k"].decode(), dict(json.loads(fields[b"d"]))
    except RecordUnreadable:
        kind, data = "unreadable", {}
    known = kind in _KINDS
    return JobEvent(
        event_id=event_id.decode(),
        job_id=job_id,
        at=utc_from_ms(int(event_id.split(b"-")[0])),
        kind=EventKind(kind) if known else EventKind.OTHER,
        data=data if known else {**data, "kind": kind},
    )


def folded_events(job_id: str, told: bytes) -> list[JobEvent]:
    """The events of a job whose stream was folded into its record (scripts/sweep_events.lua)."""
    with _reading(f"events of job {job_id}"):
        entries = (line.split(b" ", 2) for line in told.splitlines())
        return [event_from(job_id, event_id, {b"k": kind, b"d": data}) for event_id, kind, data in entries]


def first_event(job_id: str, at: bytes) -> JobEvent:
    """What the stream of a job will begin with once it has one (`begin_stream` in scripts/_common.lua)."""
    stamp = b"%d-0" % (int(at) // 1000)
    return event_from(job_id, stamp, {b"k": b"state", b"d": b'{"state":"queued","attempt":0}'})


def _text(fields: Fields, name: bytes) -> str | None:
    return fields[name].decode() if name in fields else None


def _time(fields: Fields, name: bytes) -> datetime | None:
    return utc_from_ms(int(fields[name])) if name in fields else None
