"""`Farm`: what a producer holds. Submit, follow, wait, cancel, retry, fetch. Thread-safe."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final, Unpack

from farm.broker import CeleryBell, make_app, queue_for
from farm.errors import InvalidJob, JobFailed, Problem, WaitTimeout
from farm.handle import Job
from farm.job import JobEvent, JobSpec, JobState, new_job_id
from farm.preflight import Preflight
from farm.request import GraphSource, InputSource, JobOptions, JobRequest, prepare
from farm.settings import RedisSettings, S3Settings, StoreSettings
from farm.storage import S3Storage, Storage
from farm.store.base import JobStore, NewJob, Page
from farm.store.redis import connect
from farm.surroundings import settings_here

_BLOCK_S: Final = 1.0  # longest single wait for news; a lost event costs no more than this


class Farm:
    """The farm, seen by a producer.

    Without arguments it finds its way by the environment (`FARM_REDIS_URL`, `FARM_S3_…`), or else by
    the local stack that runs in this folder (`farm up`).

    Raises:
        SettingsError: a variable is wrong; the message names it.
    """

    def __init__(
        self,
        *,
        redis: RedisSettings | None = None,
        s3: S3Settings | None = None,
        store: JobStore | None = None,
        storage: Storage | None = None,
    ) -> None:
        redis = redis or settings_here(RedisSettings)
        limits = settings_here(StoreSettings).limits()
        self.store = store or connect(redis, limits, CeleryBell(make_app(redis), redis.namespace))
        self.storage: Storage = storage or S3Storage(s3 or settings_here(S3Settings))
        self._preflight = Preflight(self.store)

    def submit(
        self,
        graph: GraphSource | None = None,
        parameters: Mapping[str, Any] | None = None,
        *,
        template: str | None = None,
        inputs: Mapping[str, InputSource] | None = None,
        **options: Unpack[JobOptions],
    ) -> Job:
        """Queue one job; when this returns, the job is stored and will end.

        Args:
            graph: an API-format graph: a mapping, JSON bytes, or the path of a file.
            parameters: of the template; or "node.input" -> value, set in the graph.
            template: name of a built-in template, instead of a graph.
            inputs: "node.input" -> file: a URL (https, s3), a local path, or the bytes.

        Raises:
            InvalidJob: the job cannot run as it is; names every field, node and input.
            IdempotencyConflict: the key belongs to a job that asks for something else.
            StoreUnavailable: Redis does not answer; nothing was stored, or (a lost answer) the
                job was: an idempotency key makes trying again safe.
            StorageUnavailable: an input file could not be stored.
        """
        request = JobRequest(
            graph=graph, template=template, parameters=parameters or {}, inputs=inputs or {}, options=options
        )
        return self.submit_many([request])[0]

    def submit_many(self, requests: Iterable[JobRequest], *, batch: int = 500) -> Sequence[Job]:
        """Queue many jobs, in order, a batch for each round trip.

        Every request of a batch is checked before any of it is stored.

        Raises:
            InvalidJob: names the request by its place, from 0; earlier batches are stored.
        """
        jobs: Sequence[Job] = ()
        numbered = enumerate(requests)
        while chunk := tuple(islice(numbered, batch)):
            specs = [self._checked_at(index, request) for index, request in chunk]
            # Inputs are uploaded only now: a batch that is refused leaves nothing behind in S3.
            jobs = [*jobs, *self._store([self._with_sources(spec) for spec in specs])]
        return jobs

    def validate(self, request: JobRequest) -> JobSpec:
        """Check a request as `submit` does, against the nodes and models of the live workers too.

        Raises:
            InvalidJob: names every field, node and input that is wrong.
        """
        return self._checked(request)

    def get(self, job_id: str) -> Job:
        """The job as it is now.

        Raises:
            JobNotFound: there is none.
        """
        return Job(self, job_id, self.store.get(job_id))

    def list(
        self,
        *,
        state: JobState | str | None = None,
        label: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[Job]:
        """Jobs, newest first, fetched page by page as you go on."""
        cursor: str | None = None
        wanted = JobState(state) if state is not None else None
        while True:
            page: Page = self.store.find(state=wanted, label=label, since=since, until=until, cursor=cursor)
            yield from (Job(self, record.job_id, record) for record in page.jobs)
            cursor = page.next_cursor
            if cursor is None:
                return

    def events(self, job_id: str, *, after: str = "0", follow: bool = True) -> Iterator[JobEvent]:
        """What happened and happens to a job, in order; ends when the job has ended.

        Args:
            after: the `event_id` of the last event seen; "0" is from the beginning.
            follow: False gives only what there is by now.

        Raises:
            JobNotFound: there is no such job.
        """
        ended = False
        while True:
            # The state is read before the events: what it says is in the stream by then.
            ended = self.store.get(job_id).state.final
            block_s = _BLOCK_S if follow and not ended else 0.0
            news = self.store.events(job_id, after=after, block_s=block_s)
            for event in news:
                after = event.event_id
                yield event
            if not news and (ended or not follow):
                return

    def wait(self, job_id: str, *, timeout_s: float | None = None) -> Job:
        """Wait until the job succeeded.

        Raises:
            JobFailed: it ended failed, canceled or expired.
            WaitTimeout: the time is up and the job goes on.
            JobNotFound: there is no such job.
        """
        started = time.monotonic()
        after = "0"
        while True:
            record = self.store.get(job_id)
            if record.state.final:
                break
            waited_s = time.monotonic() - started
            left_s = _BLOCK_S if timeout_s is None else min(_BLOCK_S, timeout_s - waited_s)
            if left_s <= 0:
                raise WaitTimeout(job_id, record.state, waited_s)
            news = self.store.events(job_id, after=after, limit=1000, block_s=left_s)
            after = news[-1].event_id if news else after
        if record.state is not JobState.SUCCEEDED:
            raise JobFailed(job_id, record.state, record.error.message if record.error else "no reason given")
        return Job(self, job_id, record)

    def cancel(self, job_id: str, *, reason: str = "") -> JobState:
        """Ask for the job's end; returns its state: canceled at once when it was queued, running
        until its worker has stopped it, or the final state that it had already.

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

    def workers(self) -> Sequence[Mapping[str, Any]]:
        """The cards of the workers that live."""
        return self.store.workers()

    def _checked(self, request: JobRequest, index: int) -> JobSpec:
        try:
            spec = prepare(request, inputs=dict.fromkeys(request.inputs, ""))
            self._preflight.check(spec)
        except InvalidJob as exc:
            place = f"request {index}: " if index else ""
            raise InvalidJob(
                [
                    Problem(field=f"{place}{problem.field}", message=problem.message)
                    for problem in exc.problems
                ]
            ) from exc
        if request.inputs:
            # Only now: a job that is refused leaves nothing behind in S3.
            spec = replace(spec, inputs={name: self._source(v) for name, v in request.inputs.items()})
        return spec

    def _source(self, source: InputSource) -> str:
        if isinstance(source, str) and "://" in source:
            return source
        return self.storage.upload_input(Path(source) if isinstance(source, str) else source)

    def _store(self, specs: Sequence[JobSpec]) -> Sequence[Job]:
        new = [
            NewJob(job_id=new_job_id(), spec=spec, queue=queue_for(spec.requirements.vram_gib))
            for spec in specs
        ]
        return [Job(self, done.job_id) for done in self.store.submit(new)]
