"""Who needs what of the job store: narrow protocols, and `JobStore`, which is all of them.

All clocks are the store's own, every method is one atomic move, and every one may raise `StoreUnavailable`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import AwareDatetime

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from comfy.wan.paces import Pace
    from farm.job import JobError, JobEvent, JobRecord, JobResult, JobState, Progress
    from farm.status.worker import WorkerStatus
    from farm.store.base import (
        CancelFeed,
        Claim,
        Counts,
        Drain,
        IdPage,
        JobBrief,
        LeaseAnswer,
        NewEvent,
        NewJob,
        Notification,
        Page,
        Refused,
        Submitted,
        Swept,
    )
    from farm.store.tally import Tally
    from farm.store.webhooks import Message, Webhook


class JobReader(Protocol):
    """What anybody may read of jobs."""

    def id_of_key(self, idempotency_key: str) -> str | None:
        """The job that a key stands for; None: nothing was stored under it, or it is forgotten."""

    def ids_beginning(self, text: str, *, limit: int) -> list[str]:
        """Ids of jobs that begin with a text, at most `limit`, in no order."""

    def get(self, job_id: str) -> JobRecord:
        """The job as it is now.

        Raises:
            JobNotFound: there is none.
        """

    def get_many(self, job_ids: Sequence[str]) -> dict[str, JobRecord]:
        """Those of these jobs that there are and that can be read."""

    def find(
        self,
        *,
        state: JobState | None = None,
        label: str | None = None,
        since: AwareDatetime | None = None,
        until: AwareDatetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
        hints: Sequence[str] = (),
    ) -> Page:
        """Jobs submitted within [since, until), newest first; filters are joined by *and*.

        Args:
            hints: in lower case; a job may be left out in whose spec one of them stands nowhere, whatever the
                case, but for the last job of the page.
        """

    def find_ids(
        self,
        *,
        state: JobState | None = None,
        label: str | None = None,
        since: AwareDatetime | None = None,
        until: AwareDatetime | None = None,
        limit: int = 5000,
        cursor: str | None = None,
    ) -> IdPage:
        """As `find`, of ids alone."""

    def briefs(self, job_ids: Sequence[str]) -> dict[str, JobBrief]:
        """What matters of many jobs, of those that there are, in the order of their ids."""

    def find_results(self, contents: Sequence[str]) -> dict[str, JobRecord]:
        """Of each content the succeeded job that made it last, if one is kept."""

    def counts(self) -> Counts:
        """How many jobs are in each state, and how many wait in each queue and priority."""

    def queue_positions(self, job_ids: Sequence[str]) -> dict[str, int]:
        """Of each of the jobs that waits in a priority queue: how many of the same queue come before it.

        Those that run, ended, are paused, parked or not due are left out.
        """

    def recent_events(self, job_id: str, *, limit: int = 20) -> list[JobEvent]:
        """The newest events of a job, oldest first; of one that was never claimed, or is not there, none."""

    def parked(self, *, after: AwareDatetime | None = None, limit: int = 100) -> list[JobRecord]:
        """Parked jobs submitted after a moment, oldest first."""

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


class FleetReader(Protocol):
    """What anybody may read of workers, and of what jobs took on them."""

    def workers(self) -> list[WorkerStatus]:
        """What all workers that live say of themselves, by name.

        One whose status cannot be read is among them and says that (`farm.status.worker.read_status`).
        """

    def get_blob(self, name: str) -> bytes | None:
        """What `put_blob` keeps under that name; None when its time is over."""

    def paces(self) -> dict[str, Pace]:
        """What jobs took on average, by name."""


class ViewerStore(JobReader, FleetReader, Protocol):
    """For those who only look: listings, metrics, planning, the clean-up."""

    def tally(self) -> Tally:
        """What has become of all jobs since the store began."""

    def ping(self) -> dict[str, Any]:
        """Facts of the server (version, clock, up-time, persistence, eviction policy, epoch); judged by
        `farm.store.redis.server.check_server`.

        Raises:
            StoreUnavailable: no answer, or access denied.
        """

    def close(self) -> None:
        """Give connections back; a call after that opens new ones."""


class CleanerStore(ViewerStore, Protocol):
    """For those who clean up: files of jobs that were removed are found by these notes alone."""

    def removed(self, *, limit: int = 1000) -> list[str]:
        """Ids of jobs that were removed by `SubmitterStore.remove`, of those whose files may still be there,
        longest gone first."""

    def files_are_gone(self, job_id: str) -> None:
        """Nothing of a removed job is left."""


class DrainOrders(Protocol):
    """Orders to workers, which outlive them."""

    def set_drain(self, name: str, drain: Drain | None) -> None:
        """Order a worker to fetch nothing, or take the order back; it outlives the worker."""

    def drain_of(self, name: str) -> Drain | None:
        """What the worker was told."""


class WebhookStore(Protocol):
    """Who is told of ends of jobs. What is to be told is stored by the move that ends a job."""

    def put_webhook(self, webhook: Webhook) -> None:
        """Keep a webhook, or change its secrets."""

    def webhooks(self) -> list[Webhook]:
        """All of them, the oldest first."""

    def drop_webhook(self, webhook_id: str) -> bool:
        """Forget a webhook and its messages; whether there was one."""

    def due_messages(self, *, most: int) -> dict[str, list[Message]]:
        """What is to be sent now: up to `most` messages of each webhook, by its id."""

    def heard(self, webhook_id: str, answer: str) -> None:
        """What its receiver answered just now, or why it did not."""

    def delivered(self, webhook_id: str, message_id: str) -> None:
        """It was taken: no more of it."""

    def postpone(self, webhook_id: str, message_id: str, *, in_s: float, reason: str) -> None:
        """It was not taken: it is due again in so many seconds."""

    def bury(self, webhook_id: str, message_ids: Sequence[str], *, reason: str) -> None:
        """Give messages up: they are dead letters, of which the newest are kept (`MOST_KEPT`)."""

    def disable_webhook(self, webhook_id: str, *, reason: str) -> None:
        """Tell it nothing more, and give up what waits for it."""

    def dead_letters(self, webhook_id: str, *, limit: int = 100) -> list[Message]:
        """The messages that were given up last, newest first."""

    def resend(self, webhook_id: str, message_ids: Sequence[str] = ()) -> int:
        """Let dead letters (none named: all) be due now, and enable the webhook; how many there were."""


class SubmitterStore(CleanerStore, DrainOrders, WebhookStore, Protocol):
    """For producers and people: jobs are submitted, canceled and tried again."""

    def submit(self, jobs: Sequence[NewJob]) -> list[Submitted]:
        """Store jobs as queued and announce them, in order; one round trip for the batch.

        Raises:
            IdempotencyConflict: a key belongs to a job that asks for something else;
                the others of the batch are stored all the same.
            NotDurable: they are stored, and not as safely as the settings ask.
        """

    def cancel(self, job_id: str, *, reason: str = "") -> JobState:
        """Ask for the end of a job: queued → canceled at once; running → asked (stays running
        until the worker has stopped it, or its lease ran out). Final: nothing changes.

        Args:
            reason: of the first who asks; stands in the record and in the last event, up to 500 characters.

        Raises:
            JobNotFound: there is none.
        """

    def cancel_many(self, job_ids: Sequence[str], *, reason: str = "") -> dict[str, JobState]:
        """As `cancel`, of many jobs in one round trip; the state of each that there is."""

    def pause(self, job_ids: Sequence[str]) -> dict[str, JobState]:
        """Keep queued jobs from being run until `resume`; they expire and can be canceled as before.
        Others stay as they are. Answers the state of each job that there is."""

    def resume(self, job_ids: Sequence[str]) -> dict[str, JobState]:
        """Let paused jobs wait again, at the front of their priority; answers as `pause`."""

    def prioritize(self, job_ids: Sequence[str], priority: int) -> dict[str, JobState]:
        """Move queued jobs to the front of another priority; others stay. Answers as `pause`."""

    def remove(self, job_ids: Sequence[str]) -> dict[str, JobState]:
        """Drop the records of those jobs that have ended, and note that their files are to go (`removed`);
        answers the state that each was in."""

    def retry(self, job_id: str) -> JobState:
        """Queue a failed, canceled or expired job anew, with fresh counters and the same spec.

        Raises:
            JobNotFound: there is none.
            IllegalMove: it is queued, running or succeeded.
        """


class Locks(Protocol):
    """Named locks with an end: steward and janitor are elected by them, a card has one worker."""

    def acquire(self, name: str, holder: str, *, ttl_s: float) -> bool:
        """Take or keep a named lock (steward election, one worker per GPU) for `ttl_s`."""

    def unlock(self, name: str, holder: str) -> None:
        """Give a lock back, if it is still this holder's."""


class StewardStore(ViewerStore, Locks, WebhookStore, Protocol):
    """For the loops that repair."""

    def sweep(self) -> Swept:
        """Repair what died, bounded work per call: leases that ran out, retries that are due, deadlines
        that passed, notifications that are missing, finished jobs past retention."""

    def unpark(self, job_ids: Sequence[str], *, reason: str) -> int:
        """Announce parked jobs, since a worker that fits has come; the first of them runs first.

        Ids of jobs that are not parked (any more) are passed over. Returns how many were.
        """


class AttemptStore(Protocol):
    """For whoever works on an attempt, from its claim to its outcome.

    A method that takes `attempt` refuses (``LOST``) when that is not the running attempt any more: a late
    zombie can never overwrite a newer one. With the `token` of its claim it is refused as well when the
    store lost that claim and gave the same number again (a fail-over to a replica that lagged behind);
    without, only the number counts. The same final write of the same attempt, sent twice, is answered OK
    twice.
    """

    def claim(self, job_id: str, *, worker: str, priority: int | None = None) -> Claim | Refused:
        """Take the next attempt at a queued job.

        Args:
            priority: of the message that named the job: it may have been made less urgent since.
        """

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
        report: Mapping[str, Any] | None = None,
        token: str = "",
    ) -> JobState | LeaseAnswer:
        """End an attempt that failed; returns the new state, or ``LOST``.

        The job carries the doctor's `report` of it until another attempt ends.
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

    def note_paces(self, seconds: Mapping[str, float]) -> None:
        """Take what one job took into the means, by name (`comfy.wan.paces.PaceKey.name`).

        Of more than `paces_kept` names those that were not heard of for longest are forgotten.
        """


class StatusStore(Protocol):
    """For what a worker says of itself."""

    def put_worker(self, status: WorkerStatus, *, ttl_s: float) -> None:
        """Keep a worker's status, by its name, for `ttl_s`."""

    def drop_worker(self, name: str) -> None:
        """Forget a worker's status: it left in good order."""

    def put_blob(self, name: str, data: bytes, *, ttl_s: float) -> None:
        """Keep what is too large for a status (node definitions) for `ttl_s`, or for so long again."""


class WorkerStore(CleanerStore, DrainOrders, Locks, AttemptStore, StatusStore, Protocol):
    """For a worker as a whole."""

    def notify(self, notifications: Sequence[Notification]) -> None:
        """Put the notification of each job into its queue (again)."""

    def clock(self) -> AwareDatetime:
        """The store's time, which all workers share."""

    def listen_control(self) -> CancelFeed:
        """Cancels as they are requested; for one thread, which closes it."""

    def epoch(self, *, known: str = "") -> str:
        """A random word that lasts as long as the store's memory; made now when there is none.

        When it is not the word that the caller has `known`, the store has forgotten everything. That is
        noted: whoever asks for a job that is not there is then told so (`JobForgotten`), for as long
        as finished jobs are kept.
        """


class JobStore(SubmitterStore, StewardStore, WorkerStore, Protocol):
    """All of it: what a store implements. Who uses one names the part that it needs."""
