"""`JobStore`: the truth about each job, whatever keeps it. Every method is one atomic move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Protocol

from pydantic import AwareDatetime

from comfy.graphs.plain_json import exceeds
from comfy.wan.paces import Pace
from farm.job import EventKind, JobError, JobEvent, JobRecord, JobResult, JobSpec, JobState, Progress
from farm.limits import LONGEST_TEXT, bounded
from farm.status.worker import WorkerStatus

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
    NOT_YET = "not_yet"  # waiting for its retry time
    EXPIRED = "expired"  # its deadline has passed; the claim has moved it to `expired`
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
    events_kept: int = 1000  # per job, about
    paces_kept: int = 5000  # kinds of jobs whose seconds are remembered, about 150 bytes each
    sweep_batch: int = 200  # most jobs touched of each kind in one sweep
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


class JobStore(Protocol):
    """Moves and reads of jobs. All clocks are the store's own.

    Every method may raise `StoreUnavailable`. A method that takes `attempt` refuses (``LOST``)
    when that is not the running attempt any more: a late zombie can never overwrite a newer one.
    With the `token` of its claim it is refused as well when the store lost that claim and gave the
    same number again (a fail-over to a replica that lagged behind); without, only the number counts.
    The same final write of the same attempt, sent twice, is answered OK twice.
    """

    def submit(self, jobs: Sequence[NewJob]) -> list[Submitted]:
        """Store jobs as queued and announce them, in order; one round trip for the batch.

        Raises:
            IdempotencyConflict: a key belongs to a job that asks for something else;
                the others of the batch are stored all the same.
        """

    def get(self, job_id: str) -> JobRecord:
        """The job as it is now.

        Raises:
            JobNotFound: there is none.
        """

    def find(
        self,
        *,
        state: JobState | None = None,
        label: str | None = None,
        since: AwareDatetime | None = None,
        until: AwareDatetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Jobs submitted within [since, until), newest first; filters are joined by *and*."""

    def find_results(self, contents: Sequence[str]) -> dict[str, JobRecord]:
        """Of each content the succeeded job that made it last, if one is kept."""

    def counts(self) -> Counts:
        """How many jobs are in each state, and how many wait in each queue and priority."""

    def claim(self, job_id: str, *, worker: str) -> Claim | Refused:
        """Take the next attempt at a queued job."""

    def renew(self, job_id: str, attempt: int, *, token: str = "") -> LeaseAnswer:
        """Prolong the lease by `lease_s` from now."""

    def report(
        self,
        job_id: str,
        attempt: int,
        events: Sequence[NewEvent],
        *,
        progress: Progress | None = None,
        token: str = "",
    ) -> LeaseAnswer:
        """Append events to the job's stream and keep `progress` in its record. Does not renew."""

    def succeed(self, job_id: str, attempt: int, result: JobResult, *, token: str = "") -> LeaseAnswer:
        """Commit the result. ``CANCELED`` when a cancel came first: then the result does not count,
        and the job is canceled with this very call (`end_canceled` after it is answered OK)."""

    def fail(
        self,
        job_id: str,
        attempt: int,
        error: JobError,
        *,
        retry_in_s: float | None,
        queue: str | None = None,
        doubt: str = "",
        token: str = "",
    ) -> JobState | LeaseAnswer:
        """End an attempt that failed; returns the new state, or ``LOST``.

        With ``retry_in_s`` the job is queued again after that time while attempts are left
        (`JobSpec.max_attempts` counts failed ones), and kept from this worker for `avoid_s`, and for
        fifteen times as long while another worker lives that can take it; with None it is failed for
        good. An `ErrorKind.MACHINE` error is not counted against the job, but `max_machine_failures`
        of them make it poison. Nor is an `ErrorKind.UNSUITABLE` error: the job goes to a worker that has not
        found without what it needs, and is failed once none lives. With `queue` it waits there from now
        on (a larger VRAM class).
        With `doubt`, in which way it failed, nothing proves yet that the job is at fault: another worker
        that lives tries it before this is final, the first time without counting it. A second worker on
        which it fails in the same way is the proof, and so is that there is none.
        A job whose cancel was requested ends canceled instead.
        """

    def release(self, job_id: str, attempt: int, *, reason: str, token: str = "") -> LeaseAnswer:
        """Give a running job back: queued at once, announced at the front, not counted as an attempt
        that failed. ``CANCELED`` when a cancel was requested: then it is canceled now."""

    def put_on_hold(
        self, job_id: str, attempt: int, error: JobError, *, hold_s: float, token: str = ""
    ) -> JobState | LeaseAnswer:
        """End an attempt whose finished files could not be stored; returns the new state, or ``LOST``.

        The job is queued again, not counted as failed, and for `hold_s` only this worker may claim it,
        which needs no notification for that; then it is announced for everybody. Canceled instead, if that
        was asked.
        """

    def keep_on_hold(self, job_id: str, worker: str, *, hold_s: float) -> bool:
        """Keep a job on hold for `hold_s` from now; 0 lets it go. False: it is not held for
        that worker (any more), and nothing changed."""

    def end_canceled(self, job_id: str, attempt: int, *, token: str = "") -> LeaseAnswer:
        """The worker has stopped a job whose cancel was requested: it is canceled now."""

    def cancel(self, job_id: str, *, reason: str = "") -> JobState:
        """Ask for the end of a job: queued → canceled at once; running → asked (stays running
        until the worker has stopped it, or its lease ran out). Final: nothing changes.

        Args:
            reason: of the first who asks; stands in the record and in the last event, up to 500 characters.

        Raises:
            JobNotFound: there is none.
        """

    def unpark(self, job_ids: Sequence[str], *, reason: str) -> int:
        """Announce parked jobs, since a worker that fits has come; the first of them runs first.

        Ids of jobs that are not parked (any more) are passed over. Returns how many were.
        """

    def parked(self, *, after: AwareDatetime | None = None, limit: int = 100) -> list[JobRecord]:
        """Parked jobs submitted after a moment, oldest first."""

    def retry(self, job_id: str) -> JobState:
        """Queue a failed, canceled or expired job anew, with fresh counters and the same spec.

        Raises:
            JobNotFound: there is none.
            IllegalMove: it is queued, running or succeeded.
        """

    def sweep(self) -> Swept:
        """Repair what died, bounded work per call: leases that ran out, retries that are due, deadlines
        that passed, notifications that are missing, finished jobs past retention."""

    def notify(self, notifications: Sequence[Notification]) -> None:
        """Put the notification of each job into its queue (again)."""

    def events(
        self, job_id: str, *, after: str = "0", limit: int = 100, block_s: float = 0.0
    ) -> list[JobEvent]:
        """Events after `after`, oldest first; waits up to `block_s` when there is none yet and the
        job has not ended.

        Raises:
            JobNotFound: there is no such job.
        """

    def news(
        self, after: Mapping[str, str], *, limit: int = 100, block_s: float = 0.0
    ) -> dict[str, list[JobEvent]]:
        """Events of several jobs in one round trip, of each those after its event id, oldest first.

        Jobs without any are left out, unknown ones and those that were never claimed among them;
        waits up to `block_s` (a few seconds at most) until one has some. `limit` is per job.
        """

    def listen_control(self) -> CancelFeed:
        """Cancels as they are requested; for one thread, which closes it."""

    def put_worker(self, status: WorkerStatus, *, ttl_s: float) -> None:
        """Keep a worker's status, by its name, for `ttl_s`."""

    def drop_worker(self, name: str) -> None:
        """Forget a worker's status: it left in good order."""

    def workers(self) -> list[WorkerStatus]:
        """What all workers that live say of themselves, by name.

        One whose status cannot be read is among them and says that (`farm.status.worker.read_status`).
        """

    def set_drain(self, name: str, drain: Drain | None) -> None:
        """Order a worker to fetch nothing, or take the order back; it outlives the worker."""

    def drain_of(self, name: str) -> Drain | None:
        """What the worker was told."""

    def put_blob(self, name: str, data: bytes, *, ttl_s: float) -> None:
        """Keep what is too large for a status (node definitions) for `ttl_s`, or for so long again."""

    def get_blob(self, name: str) -> bytes | None:
        """What `put_blob` keeps under that name; None when its time is over."""

    def note_paces(self, seconds: Mapping[str, float]) -> None:
        """Take what one job took into the means, by name (`comfy.wan.paces.PaceKey.name`).

        Of more than `paces_kept` names those that were not heard of for longest are forgotten.
        """

    def paces(self) -> dict[str, Pace]:
        """What jobs took on average, by name."""

    def acquire(self, name: str, holder: str, *, ttl_s: float) -> bool:
        """Take or keep a named lock (steward election, one worker per GPU) for `ttl_s`."""

    def unlock(self, name: str, holder: str) -> None:
        """Give a lock back, if it is still this holder's."""

    def epoch(self, *, known: str = "") -> str:
        """A random word that lasts as long as the store's memory; made now when there is none.

        When it is not the word that the caller has `known`, the store has forgotten everything. That is
        noted: whoever asks for a job that is not there is then told so (`JobForgotten`), for as long
        as finished jobs are kept.
        """

    def ping(self) -> dict[str, Any]:
        """Facts of the server (version, clock, up-time, persistence, eviction policy, epoch); judged by
        `farm.store.redis.server.check_server`.

        Raises:
            StoreUnavailable: no answer, or access denied.
        """

    def close(self) -> None:
        """Give connections back; a call after that opens new ones."""
