"""`Farm`: what a producer holds. Submit, follow, wait, cancel, retry, fetch. Thread-safe."""

from __future__ import annotations

import builtins
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Final, Self, Unpack

from comfy.doctor.report import Report
from comfy.node_defs.definitions import Definitions
from comfy.wan.binding import Bindings
from farm.arguments import Cursor, EventId, Gib, Many, Only, checks_arguments
from farm.asking.building import GraphSource, InputSource
from farm.asking.prepare import prepare_with_files
from farm.asking.request import JobOptions, JobRequest
from farm.asking.selection import Selection, select
from farm.errors import JobFailed, WaitTimeout
from farm.fleet.preflight import Preflight
from farm.fleet.waiting import why_waiting
from farm.handle import Job
from farm.job import JobEvent, JobRecord, JobSpec, JobState
from farm.local.surroundings import settings_here
from farm.notifier import store_at
from farm.reports import FleetDiagnosis, report_in, sum_up
from farm.settings.graphs import GateSettings
from farm.settings.redis import RedisSettings
from farm.settings.s3 import S3Settings
from farm.steering import Wanted, ids_of, prioritize, remove, retry_each
from farm.storage import S3Storage, Storage
from farm.storage.base import ProgressHook
from farm.storage.downloads import DEFAULT_NAME, Extra
from farm.store.base import Counts, Page
from farm.store.follow import follow, past_events
from farm.store.roles import SubmitterStore
from farm.submission import Checked, Submission

if TYPE_CHECKING:
    from farm.fleet.planning import JobPlan
    from farm.status.worker import WorkerStatus

_BLOCK_S: Final = 1.0  # longest single wait for news; a lost event costs no more than this
BATCH: Final = 500  # jobs of one round trip
StateName = Annotated[str, Only(set(JobState).__contains__, ", ".join(JobState))]


@checks_arguments
class Farm:
    """The farm, seen by a producer.

    Without arguments it finds its way by the environment (`FARM_REDIS_URL`, `FARM_S3_…`), or else by
    the local stack that runs in this folder or one above it (`farm up`). Nothing is connected before
    the first call. It may be used as a context manager; threads may share one.

    Raises:
        SettingsError: a variable is wrong; the message names it.
    """

    def __init__(
        self,
        *,
        redis: RedisSettings | None = None,
        s3: S3Settings | None = None,
        store: SubmitterStore | None = None,
        storage: Storage | None = None,
        folder: Path | None = None,
    ) -> None:
        """What is not given comes from the environment; `store` and `storage` replace Redis and S3.

        Args:
            folder: of the local stack that is meant (its `.farm`); default: the nearest, here or above.
        """
        self.store: Final[SubmitterStore] = store or store_at(redis or settings_here(RedisSettings, folder))
        self.storage: Final[Storage] = storage or S3Storage(s3 or settings_here(S3Settings, folder))
        self._preflight = Preflight(self.store)
        self._submission = Submission(
            self.store,
            self.storage,
            self._preflight,
            allowed_nodes=settings_here(GateSettings).allowed_nodes,
        )

    def submit(
        self,
        graph: GraphSource | None = None,
        parameters: Mapping[str, Any] | None = None,
        *,
        template: str | None = None,
        inputs: Mapping[str, InputSource] | None = None,
        bind: Bindings | None = None,
        **options: Unpack[JobOptions],
    ) -> Job:
        """Queue one job; when this returns, the job is stored and will end.

        Args:
            graph: a graph in either of ComfyUI's formats: a mapping, JSON bytes, or the path of a file.
            parameters: of the template, or of the graph: "node.input", a name of `bind`, or what an input is
                for as `farm inspect` shows it ("prompt", "seed", "width", "frames", …).
            template: name of a built-in template, instead of a graph.
            inputs: files, by names of the same kinds: a URL (https, s3), a local path, or the bytes.
            bind: names of your own for inputs of the graph: {"mood": "6.text"}.
            options: see `JobOptions`: priority, labels, deadline, idempotency_key, …

        Raises:
            InvalidJob: the job cannot run as it is; names every field, node and input.
            IdempotencyConflict: the key belongs to a job that asks for something else.
            NotDurable: the job is stored (`job_ids` of the error), and not replicated or on the disk in time,
                as FARM_REPLICAS or FARM_DURABLE asks; trying again with the same key waits for that again.
            StoreUnavailable: Redis does not answer; nothing was stored, or (a lost answer) the
                job was: with an idempotency key, trying again is safe and `get_by_key` tells.
            StorageUnavailable: an input file could not be stored.
        """
        return self.submit_one(
            JobRequest(graph, parameters, template=template, inputs=inputs, bind=bind, **options)
        )

    def render(
        self,
        graph: GraphSource | None = None,
        parameters: Mapping[str, Any] | None = None,
        *,
        folder: str | Path = ".",
        timeout_s: float | None = None,
        template: str | None = None,
        inputs: Mapping[str, InputSource] | None = None,
        bind: Bindings | None = None,
        **options: Unpack[JobOptions],
    ) -> builtins.list[Path]:
        """Submit one job, wait until it succeeded, and fetch its files into `folder`; their paths.

        Args:
            timeout_s: longest wait; a job that is not ready by then goes on, and the error has its id.

        Raises:
            InvalidJob, IdempotencyConflict, StoreUnavailable: as `submit`.
            JobFailed, WaitTimeout: as `wait`.
            StorageUnavailable: an input file could not be stored, or a result not be fetched.
        """
        job = self.submit(graph, parameters, template=template, inputs=inputs, bind=bind, **options)
        return job.wait(timeout_s).result().download(folder)

    def submit_one(self, request: JobRequest) -> Job:
        """As `submit`, of a request that was made before."""
        (job_id,) = self._submission.store([self.checked(request)])
        return Job(self, job_id)

    def submit_many(self, requests: Iterable[JobRequest], *, batch: int = BATCH) -> builtins.list[Job]:
        """Queue many jobs, in order, a batch for each round trip.

        Every request of a batch is checked before any of it is stored, and requests are taken
        from the iterable only as batches are stored.

        Raises:
            InvalidJob: names each request at fault by its position, from 0; nothing of its batch is
                stored, earlier batches are.
            IdempotencyConflict: of one job; the others of its batch are stored.
            StoreUnavailable, StorageUnavailable: as `submit`; earlier batches are stored.
        """
        return [Job(self, job_id) for job_id in self._submission.store_many(requests, batch=batch)]

    def validate(self, request: JobRequest) -> JobSpec:
        """Check a request as `submit` does, against the nodes and models of the live workers too.

        The spec names local input files by their path: nothing is stored.

        Raises:
            InvalidJob: names every field, node and input that is wrong.
            StoreUnavailable: the live workers cannot be asked.
        """
        return self.checked(request).spec

    def checked(self, request: JobRequest) -> Checked:
        """As `validate`, and what the live workers say of the job.

        Where workers have other forms of a node class, an editor's file is read as each of them would, until
        one takes the job.
        """
        return self._submission.checked(request)

    def plan(self, request: JobRequest, *, gpus: Sequence[str] = (), vram_gib: Gib | None = None) -> JobPlan:
        """Quote a job before it is rendered: memory, VRAM class, seconds on each card of the fleet.

        Args:
            gpus: cards by name, beside those of the fleet.
            vram_gib: the size of a card that is not known by name.

        Raises:
            InvalidJob: the job is wrong in itself, or a card is not known.
            StoreUnavailable: the live workers cannot be asked.
        """
        from farm.fleet.planning import plan_job  # nobody who only submits needs it

        spec = prepare_with_files(request, self.node_definitions).spec
        return plan_job(self.store, spec, gpus=gpus, vram_gib=vram_gib)

    def node_definitions(self) -> Definitions:
        """What is known of ComfyUI's nodes: by the live workers, else by what ships with the farm.

        Raises:
            StoreUnavailable: the live workers cannot be asked.
        """
        return self._preflight.definitions()

    def why_waiting(self, job_id: str) -> builtins.list[str]:
        """What a queued job waits for, in words: which workers could take it, and what others lack.

        Empty for a job that does not wait.

        Raises:
            JobNotFound: there is no such job.
        """
        record = self.store.get(job_id)
        if record.state is not JobState.QUEUED:
            return []
        return why_waiting(record, self._preflight.verdicts(record.spec), self.store.counts())

    def get(self, job_id: str) -> Job:
        """The job as it is now.

        Raises:
            JobNotFound: there is none.
        """
        return Job(self, job_id, self.store.get(job_id))

    def diagnose(self, job_id: str) -> Report | None:
        """Where a finished job's seconds went, what was lost and what to change; None: it has no report.

        Raises:
            JobNotFound: there is no such job.
        """
        return report_in(self.store.get(job_id))

    def diagnose_fleet(self, since: datetime | None = None) -> FleetDiagnosis:
        """What the jobs that were submitted since then have lost, by finding and worker."""
        ended = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED)
        return sum_up(
            job.record for state in ended for job in self.select(Selection(state=state, since=since))
        )

    def get_by_key(self, idempotency_key: str) -> Job | None:
        """The job that was stored under a key; None: none was, or it is forgotten by now."""
        job_id = self.store.id_of_key(idempotency_key)
        return None if job_id is None else self.get(job_id)

    def list(
        self,
        *,
        state: JobState | StateName | None = None,
        label: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        where: Mapping[str, Any] | None = None,
        search: str = "",
    ) -> Iterator[Job]:
        """Jobs for which all that is given holds, newest first, fetched page by page as you go on.

        Args:
            since: submitted then or later; `until`: submitted before.
            where: values of parameters and the like, and `search`: words; see `Selection`.
        """
        wanted = Selection(
            state=JobState(state) if state is not None else None,
            label=label,
            since=since,
            until=until,
            where=where or {},
            search=search,
        )
        return self.select(wanted)

    def select(self, wanted: Selection) -> Iterator[Job]:
        """The jobs that are meant, as `list` gives them.

        Raises:
            JobNotFound: there is no job of one of the ids.
        """
        return (Job(self, record.job_id, record) for record in select(self.store, wanted))

    def page(
        self,
        *,
        state: JobState | None = None,
        label: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: Many = 50,
        cursor: Cursor | None = None,
        hints: Sequence[str] = (),
    ) -> Page:
        """One page of a listing, newest first, for who goes on with it later by its `next_cursor`.

        Args:
            hints: of a `Selection` that the jobs are held against afterwards: those that cannot pass may be
                left out.
        """
        return self.store.find(
            state=state, label=label, since=since, until=until, limit=limit, cursor=cursor, hints=hints
        )

    def queue_positions(self, job_ids: Sequence[str]) -> dict[str, int]:
        """Of each of the jobs that waits for a worker: how many of its VRAM class come before it."""
        return self.store.queue_positions(job_ids)

    def recent_events(self, job_id: str, *, limit: Many = 20) -> builtins.list[JobEvent]:
        """The newest events of a job that has been claimed, oldest first."""
        return self.store.recent_events(job_id, limit=limit)

    def events(self, job_id: str, *, after: EventId = "0", live: bool = True) -> Iterator[JobEvent]:
        """What happened and happens to a job, in order; ends when the job has ended.

        Args:
            after: the `event_id` of the last event seen; "0" is from the beginning.
            live: False gives only what there is by now.

        Raises:
            JobNotFound: there is no such job.
        """
        if live:
            return follow(self.store, job_id, after)
        return past_events(self.store, job_id, after)

    def wait(self, job_id: str, *, timeout_s: float | None = None) -> Job:
        """Wait until the job succeeded.

        Raises:
            JobFailed: it ended failed, canceled or expired.
            WaitTimeout: the time is up and the job goes on.
            JobNotFound: there is no such job.
        """
        started = time.monotonic()
        after = "0"
        while not (record := self.store.get(job_id)).state.final:
            waited_s = time.monotonic() - started
            left_s = _BLOCK_S if timeout_s is None else min(_BLOCK_S, timeout_s - waited_s)
            if left_s <= 0:
                raise WaitTimeout(job_id, record.state, waited_s)
            news = self.store.events(job_id, after=after, limit=1000, block_s=left_s)
            after = news[-1].event_id if news else after
        return Job(self, job_id, succeeded(record))

    def cancel(self, job_id: str, *, reason: str = "") -> JobState:
        """Ask for the job's end; returns its state: canceled at once when it was queued, running
        until its worker has stopped it, or the final state that it had already.

        Args:
            reason: told to whoever waits for the job, kept in its record and events; up to 500 characters.

        Raises:
            JobNotFound: there is no such job.
        """
        return self.store.cancel(job_id, reason=reason)

    def retry(self, job_id: str) -> Job:
        """Queue a failed, canceled or expired job anew, under the same id.

        Raises:
            JobNotFound: there is no such job.
            IllegalMove: it is queued, running or succeeded.
        """
        self.store.retry(job_id)
        return self.get(job_id)

    def cancel_many(self, jobs: Wanted, *, reason: str = "") -> dict[str, JobState]:
        """Ask for the end of jobs, many in one round trip; the state of each that there is, as `cancel`.

        Args:
            jobs: a `Selection`, or ids.
        """
        return self.store.cancel_many(ids_of(self.store, jobs), reason=reason)

    def retry_many(self, jobs: Wanted) -> Iterator[str]:
        """Queue anew those of the jobs that ended badly; the ids of those that were, as it goes on."""
        return retry_each(self.store, ids_of(self.store, jobs))

    def pause_many(self, jobs: Wanted) -> dict[str, JobState]:
        """Keep queued jobs from being run until they are resumed; the state of each job that there is."""
        return self.store.pause(ids_of(self.store, jobs))

    def resume_many(self, jobs: Wanted) -> dict[str, JobState]:
        """Let paused jobs run, before others of their priority; the state of each job that there is."""
        return self.store.resume(ids_of(self.store, jobs))

    def prioritize_many(self, jobs: Wanted, priority: int) -> dict[str, JobState]:
        """Move queued jobs to the front of another priority; the state of each job that there is.

        Raises:
            InvalidJob: there is no such priority.
        """
        return prioritize(self.store, ids_of(self.store, jobs), priority)

    def remove_many(self, jobs: Wanted) -> dict[str, JobState]:
        """Remove jobs that have ended, records and files; the state that each of the jobs was in."""
        return remove(self.store, self.storage, ids_of(self.store, jobs))

    def wait_many(self, jobs: Wanted, *, timeout_s: float | None = None) -> builtins.list[Job]:
        """Wait until all have ended, however they did; the jobs, as they are then.

        Raises:
            WaitTimeout: the time is up and one of them goes on.
            JobNotFound: there is no job of one of the ids.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        ended = []
        for job_id in ids_of(self.store, jobs):
            left_s = None if until is None else max(until - time.monotonic(), 0.0)
            try:
                ended.append(self.wait(job_id, timeout_s=left_s))
            except JobFailed:
                ended.append(self.get(job_id))
        return ended

    def pull_many(
        self,
        jobs: Wanted,
        folder: str | Path = ".",
        *,
        name: str = DEFAULT_NAME,
        extras: Collection[Extra | str] = (),
        progress: ProgressHook | None = None,
    ) -> Iterator[tuple[Job, builtins.list[Path]]]:
        """Download the files of those of the jobs that succeeded, as `Result.download` does, one job after
        the other; each with the paths of its files.
        """
        for job_id in ids_of(self.store, jobs):
            job = self.get(job_id)
            if job.record.result is not None:
                yield job, job.result().download(folder, name=name, extras=extras, progress=progress)

    def workers(self) -> Sequence[WorkerStatus]:
        """What the workers that live say of themselves, by name."""
        return self.store.workers()

    def counts(self) -> Counts:
        """How many jobs are in each state, and how many wait in each queue and priority."""
        return self.store.counts()

    def close(self) -> None:
        """Give connections and threads back. A farm that was closed connects again when it is used."""
        self.storage.close()
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def succeeded(record: JobRecord) -> JobRecord:
    """The record itself, of a job that ended well.

    Raises:
        JobFailed: it ended failed, canceled or expired.
    """
    if record.state is not JobState.SUCCEEDED:
        raise JobFailed(record.job_id, record.state, record.reason or "it has not ended")
    return record
