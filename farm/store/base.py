"""What goes into a job store and comes out of it; its protocols are in `farm.store.roles`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Protocol

from pydantic import AwareDatetime

from comfy.graphs.plain_json import exceeds
from farm.job import EventKind, JobRecord, JobSpec, JobState
from farm.limits import LONGEST_TEXT, bounded

MOST_PREVIEW_CHARACTERS: Final = 512 << 10  # of base64
REASON_LENGTH: Final = 500  # characters: a caller's words stand in a record and in several events


def kept_reason(reason: str) -> str:
    """A caller's reason as it is stored: short, and text that every encoder takes."""
    return reason.strip()[:REASON_LENGTH].encode(errors="replace").decode()


class LeaseAnswer(StrEnum):
    """What a write of an attempt is told. Anything but OK means: stop working on it."""

    OK = "ok"
    CANCELED = "canceled"  # somebody asked for it; end the attempt with `end_canceled`
    LOST = "lost"  # a newer attempt, a final state, or no such job: write nothing more


class Refused(StrEnum):
    """Why a claim was not granted; none of these is an error, the notification is simply dropped."""

    UNKNOWN = "unknown"  # no such job (any more)
    NOT_QUEUED = "not_queued"  # running elsewhere, or final
    PAUSED = "paused"  # until somebody resumes it
    MOVED = "moved"  # the message is of a more urgent priority than the job has now
    NOT_YET = "not_yet"  # waiting for its retry time
    EXPIRED = "expired"  # its deadline has passed; the claim has moved it to `expired`
    UNREADABLE = "unreadable"  # what is stored of it is damaged; the claim has failed it
    NEWER = "newer"  # stored by a newer farm; left for a worker that can read it
    NOT_HERE = "not_here"  # this worker failed it lately; another one has the first right to it


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A checked job on its way in."""

    job_id: str
    spec: JobSpec
    queue: str  # Celery queue of its VRAM class
    parked: str | None = None  # why no live worker fits: it gets no notification until `unpark`
    content: str | None = None  # its result is kept under this for jobs of the same content
    reuses: str | None = None  # a job of that content: while its result is kept, nothing is rendered


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """What became of a `NewJob`."""

    job_id: str  # an older job's, when the idempotency key was known
    created: bool  # False: it was there already, nothing was stored or announced
    reused: bool = False  # it has succeeded at once, with the result of the job it `reuses`


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to work on one attempt until `lease_until`, unless renewed."""

    job_id: str
    attempt: int  # from 1; every later write names it
    token: str  # tells this attempt from one that was given the same number after a fail-over
    spec: JobSpec
    submitted_at: AwareDatetime
    claimed_at: AwareDatetime
    lease_until: AwareDatetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event on its way into a job's stream."""

    kind: EventKind
    data: dict[str, Any]

    def __post_init__(self) -> None:
        """Keep it short, whatever a node has said; a preview's picture is small or left out."""
        if self.kind is EventKind.PREVIEW and len(self.data.get("image", "")) <= MOST_PREVIEW_CHARACTERS:
            return
        if exceeds(self.data, LONGEST_TEXT):
            object.__setattr__(self, "data", bounded(self.data))


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """A job that must be announced (again): its message is missing, or it became due again."""

    job_id: str
    queue: str
    priority: int
    title: str
    front: bool  # next to run within its priority: it has waited already


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What one sweep repaired."""

    notifications: tuple[Notification, ...] = ()
    lost: tuple[str, ...] = ()  # leases that ran out; the jobs are queued again, or failed as poison
    expired: tuple[str, ...] = ()
    purged: int = 0  # finished jobs past their retention

    def __bool__(self) -> bool:
        return bool(self.notifications or self.lost or self.expired or self.purged)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobBrief:
    """What is told of a job among a hundred thousand: a fortieth of the time that its record takes."""

    job_id: str
    state: JobState
    priority: int
    submitted_at: AwareDatetime
    held: bool = False  # queued, and parked or paused: nothing runs it until somebody or something comes


@dataclass(frozen=True, slots=True, kw_only=True)
class IdPage:
    """A part of a listing of ids, newest first. `next_cursor` is None on the last page."""

    ids: tuple[str, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A part of a listing, newest first. `next_cursor` is None on the last page."""

    jobs: tuple[JobRecord, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLimits:
    """The store's own times and sizes. Tests make them short."""

    lease_s: float = 15.0
    notify_again_after_s: float = 30.0  # a queued job whose priority queue has fewer messages than jobs
    avoid_s: float = 20.0  # for so long a failed job is kept from the worker that failed it
    max_lost_attempts: int = 3  # so many lost workers, of which none was heard of since: poison
    max_lost_publishing: int = 5  # so many that only published it; they may have died of what else they ran
    max_machine_failures: int = 5  # so many failures for a machine's reasons: poison too
    max_unsuitable: int = 50  # so many workers without what it needs, and it is failed whoever else lives
    pass_over_s: float = 120.0  # a job older by this than one claimed from a larger class runs there next
    retention_s: float = 7 * 86400.0  # of finished jobs
    fold_after_s: float = 600.0  # after its end a job's events move into its record; progress is dropped
    events_kept: int = 1000  # per job, about
    paces_kept: int = 5000  # kinds of jobs whose seconds are remembered, about 150 bytes each
    sweep_batch: int = 200  # most jobs touched of each kind in one sweep
    looked_at: int = 500  # messages of each priority queue that one sweep holds against their jobs
    stale_batch: int = 5_000  # most messages of jobs that wait no more that one sweep drops


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """How many jobs of one queue and priority wait."""

    queue: str
    priority: int
    waiting: int
    oldest_s: float = field(default=0.0, compare=False)  # since the oldest of them was submitted


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many jobs there are, by state and by priority queue."""

    by_state: dict[JobState, int] = field(default_factory=dict)
    waiting: tuple[Queued, ...] = ()
    parked: int = 0  # queued, and in no priority queue: no live worker fits
    leases_overdue: int = 0  # ran out, and no steward has taken them back yet


class Notifier(Protocol):
    """How a waiting job is announced: one message in one Redis list. `farm.broker.CeleryNotifier` is it."""

    def list_key(self, queue: str, priority: int) -> str:
        """Full name of the Redis list that workers of that queue pop at that priority."""

    def message(self, job_id: str, *, queue: str, priority: int, title: str) -> bytes:
        """The message that says "this job is waiting"."""


class Drain(StrEnum):
    """What a worker was told from outside; it fetches nothing until that is taken back."""

    FINISH = "finish"  # end the job in hand first
    NOW = "now"  # give it back at once


class CancelFeed(Protocol):
    """Ids of running jobs whose cancel was just requested, as they come: a hint within milliseconds.

    An empty id means that a worker's drain was ordered or taken back.

    Not a promise: what is missed while the connection is away is told by the next `renew`.
    """

    def next(self, timeout_s: float) -> str | None:
        """The next id, or None when none came in that time.

        Raises:
            StoreUnavailable: the connection is gone; call again, it is made anew.
        """

    def close(self) -> None:
        """Give the connection back."""
