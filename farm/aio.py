"""`AsyncFarm`: the same words for asyncio. Made for web back-ends with a thousand clients that wait.

Short calls run in a small pool of threads. Waiting holds no thread: one follower reads the news of all
jobs that somebody waits for in one round trip.
"""

from __future__ import annotations

import asyncio
import builtins
import functools
import time
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
)
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar, Unpack

from comfy.wan.binding import Bindings
from farm.arguments import EventId, checks_arguments
from farm.asking.building import GraphSource, InputSource
from farm.asking.request import JobOptions, JobRequest
from farm.asking.selection import Selection
from farm.client import BATCH, Farm, StateName, succeeded
from farm.errors import JobFailed, WaitTimeout
from farm.handle import Job, Result, result_of
from farm.job import Artifact, JobEvent, JobRecord, JobResult, JobState
from farm.settings.redis import RedisSettings
from farm.settings.s3 import S3Settings
from farm.steering import Wanted, ids_of
from farm.storage import Storage
from farm.storage.base import ProgressHook
from farm.storage.downloads import DEFAULT_NAME, Extra
from farm.store.follow import ends
from farm.store.follower import Follower
from farm.store.roles import SubmitterStore

_P = ParamSpec("_P")
_T = TypeVar("_T")
_THREADS: Final = 8
_LOOK_AGAIN_S: Final = 15.0  # a job whose last event was missed is found out by then
_PAGE: Final = 50


def _in_a_thread(
    method: Callable[Concatenate[Farm, _P], _T],
) -> Callable[Concatenate[AsyncFarm, _P], Coroutine[Any, Any, _T]]:
    """A short call of `Farm` as one of `AsyncFarm`, which makes it in its threads."""

    @functools.wraps(method)
    async def ask(farm: AsyncFarm, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await farm.call(functools.partial(method, farm._farm), *args, **kwargs)

    return ask


@checks_arguments
class AsyncFarm:
    """`Farm` for one event loop.

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
        threads: int = _THREADS,
    ) -> None:
        """As `Farm`; `threads` is how many short calls are under way at once."""
        self._farm = Farm(redis=redis, s3=s3, store=store, storage=storage, folder=folder)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="farm")
        self.follower: Final = Follower(self._farm.store)  # who waits for news, and of what

    @property
    def storage(self) -> Storage:
        """Where results and inputs are kept."""
        return self._farm.storage

    @property
    def store(self) -> SubmitterStore:
        """Where jobs are kept; its methods block (`call`)."""
        return self._farm.store

    async def submit(
        self,
        graph: GraphSource | None = None,
        parameters: Mapping[str, Any] | None = None,
        *,
        template: str | None = None,
        inputs: Mapping[str, InputSource] | None = None,
        bind: Bindings | None = None,
        **options: Unpack[JobOptions],
    ) -> AsyncJob:
        """As `Farm.submit`."""
        return await self.submit_one(
            JobRequest(graph, parameters, template=template, inputs=inputs, bind=bind, **options)
        )

    async def render(
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
        """As `Farm.render`."""
        job = await self.submit(graph, parameters, template=template, inputs=inputs, bind=bind, **options)
        result = await (await job.wait(timeout_s)).result()
        return await result.download(folder)

    async def submit_one(self, request: JobRequest) -> AsyncJob:
        """As `Farm.submit_one`."""
        return AsyncJob(self, await self.call(lambda: self._farm.submit_one(request).record))

    async def submit_many(
        self, requests: Iterable[JobRequest], *, batch: int = BATCH
    ) -> builtins.list[AsyncJob]:
        """As `Farm.submit_many`."""
        submit = self._farm.submit_many
        records = await self.call(lambda: [job.record for job in submit(requests, batch=batch)])
        return [AsyncJob(self, record) for record in records]

    checked = _in_a_thread(Farm.checked)
    node_definitions = _in_a_thread(Farm.node_definitions)
    validate = _in_a_thread(Farm.validate)
    plan = _in_a_thread(Farm.plan)
    why_waiting = _in_a_thread(Farm.why_waiting)

    async def get(self, job_id: str) -> AsyncJob:
        """As `Farm.get`."""
        return AsyncJob(self, await self._record(job_id))

    diagnose = _in_a_thread(Farm.diagnose)
    diagnose_fleet = _in_a_thread(Farm.diagnose_fleet)

    async def get_by_key(self, idempotency_key: str) -> AsyncJob | None:
        """As `Farm.get_by_key`."""
        found = await self.call(self._farm.get_by_key, idempotency_key)
        return None if found is None else AsyncJob(self, found.record)

    async def list(
        self,
        *,
        state: JobState | StateName | None = None,
        label: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        where: Mapping[str, Any] | None = None,
        search: str = "",
    ) -> AsyncIterator[AsyncJob]:
        """As `Farm.list`: ``async for job in farm.list(state="failed")``."""
        found = self._farm.list(
            state=state, label=label, since=since, until=until, where=where, search=search
        )
        async for job in self._each(found):
            yield job

    async def select(self, wanted: Selection) -> AsyncIterator[AsyncJob]:
        """As `Farm.select`: ``async for job in farm.select(…)``."""
        async for job in self._each(self._farm.select(wanted)):
            yield job

    page = _in_a_thread(Farm.page)
    queue_positions = _in_a_thread(Farm.queue_positions)
    recent_events = _in_a_thread(Farm.recent_events)

    async def events(
        self, job_id: str, *, after: EventId = "0", live: bool = True
    ) -> AsyncIterator[JobEvent]:
        """As `Farm.events`: ``async for event in farm.events(job_id)``."""
        read = functools.partial(self._farm.store.events, job_id, limit=1000)
        record = await self._record(job_id)
        while True:
            news = await self.call(read, after=after)
            if not news and (record.state.final or not live):
                return
            if not news:
                # Nothing yet: only now is it worth a place among those who wait.
                news = await self.follower.next(job_id, after, timeout_s=_LOOK_AGAIN_S)
            for event in news:
                after = event.event_id
                yield event
            if not news or ends(news[-1]):
                record = await self._record(job_id)

    async def wait(self, job_id: str, *, timeout_s: float | None = None) -> AsyncJob:
        """As `Farm.wait`. A wait that is cancelled leaves the job as it is."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(timeout_s):
                record = await self._ended(job_id)
        except TimeoutError:
            record = await self._record(job_id)
            if not record.state.final:
                raise WaitTimeout(job_id, record.state, time.monotonic() - started) from None
        return AsyncJob(self, succeeded(record))

    cancel = _in_a_thread(Farm.cancel)

    async def retry(self, job_id: str) -> AsyncJob:
        """As `Farm.retry`."""
        return AsyncJob(self, await self.call(lambda: self._farm.retry(job_id).record))

    cancel_many = _in_a_thread(Farm.cancel_many)

    async def retry_many(self, jobs: Wanted) -> AsyncIterator[str]:
        """As `Farm.retry_many`: ``async for job_id in farm.retry_many(…)``."""
        ids = await self.call(self._farm.retry_many, jobs)
        while (job_id := await self.call(next, ids, None)) is not None:
            yield job_id

    pause_many = _in_a_thread(Farm.pause_many)
    resume_many = _in_a_thread(Farm.resume_many)
    prioritize_many = _in_a_thread(Farm.prioritize_many)
    remove_many = _in_a_thread(Farm.remove_many)

    async def wait_many(self, jobs: Wanted, *, timeout_s: float | None = None) -> builtins.list[AsyncJob]:
        """As `Farm.wait_many`. A wait that is cancelled leaves the jobs as they are."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        ended = []
        for job_id in await self.call(ids_of, self._farm.store, jobs):
            left_s = None if until is None else max(until - time.monotonic(), 0.0)
            try:
                ended.append(await self.wait(job_id, timeout_s=left_s))
            except JobFailed:
                ended.append(await self.get(job_id))
        return ended

    async def pull_many(
        self,
        jobs: Wanted,
        folder: str | Path = ".",
        *,
        name: str = DEFAULT_NAME,
        extras: Collection[Extra | str] = (),
        progress: ProgressHook | None = None,
    ) -> AsyncIterator[tuple[AsyncJob, builtins.list[Path]]]:
        """As `Farm.pull_many`: ``async for job, paths in farm.pull_many(…)``."""
        pulled = self._farm.pull_many(jobs, folder, name=name, extras=extras, progress=progress)
        while (one := await self.call(next, pulled, None)) is not None:
            yield AsyncJob(self, one[0].record), one[1]

    workers = _in_a_thread(Farm.workers)
    counts = _in_a_thread(Farm.counts)

    async def close(self) -> None:
        """End threads and give connections back; who still waits is told by `asyncio.CancelledError`."""
        await asyncio.to_thread(self.follower.close)
        await asyncio.to_thread(self._pool.shutdown)
        await asyncio.to_thread(self._farm.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _each(self, jobs: Iterator[Job]) -> AsyncIterator[AsyncJob]:
        while page := await self.call(lambda: [*islice(jobs, _PAGE)]):
            for job in page:
                yield AsyncJob(self, job.record)

    async def _ended(self, job_id: str) -> JobRecord:
        """The record of the job once it is final."""
        after = "0"
        while not (record := await self._record(job_id)).state.final:
            until = time.monotonic() + _LOOK_AGAIN_S
            # Progress is of no interest here: each look at the record would cost a round trip.
            while (left_s := until - time.monotonic()) > 0:
                news = await self.follower.next(job_id, after, timeout_s=left_s)
                after = news[-1].event_id if news else after
                if any(ends(event) for event in news):
                    break
        return record

    def _result_of(self, record: JobRecord) -> Result:
        return result_of(record, self._farm.storage, self._farm.store)

    async def _record(self, job_id: str) -> JobRecord:
        return await self.call(self._farm.store.get, job_id)

    async def call(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """What a short blocking function answers, run in this farm's pool of threads."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, functools.partial(function, *args, **kwargs))


@checks_arguments
class AsyncJob:
    """One job, as it was when last asked for, and what can be done with it."""

    __slots__ = ("_farm", "_record", "job_id")

    def __init__(self, farm: AsyncFarm, record: JobRecord) -> None:
        self._farm = farm
        self._record = record
        self.job_id: Final = record.job_id

    def __repr__(self) -> str:
        return f"<AsyncJob {self.job_id} {self.state}>"

    @property
    def record(self) -> JobRecord:
        """As `Job.record`; known from the beginning, so that nothing has to be awaited."""
        return self._record

    @property
    def state(self) -> JobState:
        """As `Job.state`."""
        return self._record.state

    async def refresh(self) -> Self:
        """Look again; returns itself."""
        self._record = (await self._farm.get(self.job_id)).record
        return self

    async def wait(self, timeout_s: float | None = None) -> Self:
        """As `Job.wait`."""
        self._record = (await self._farm.wait(self.job_id, timeout_s=timeout_s)).record
        return self

    def events(self, *, after: EventId = "0", live: bool = True) -> AsyncIterator[JobEvent]:
        """As `Farm.events`."""
        return self._farm.events(self.job_id, after=after, live=live)

    async def cancel(self, *, reason: str = "") -> JobState:
        """As `Farm.cancel`."""
        return await self._farm.cancel(self.job_id, reason=reason)

    async def retry(self) -> Self:
        """As `Farm.retry`; returns itself."""
        self._record = (await self._farm.retry(self.job_id)).record
        return self

    async def result(self) -> AsyncResult:
        """As `Job.result`."""
        record = self.record if self.record.result else (await self.refresh()).record
        return AsyncResult(self._farm, self._farm._result_of(record))


@checks_arguments
class AsyncResult:
    """The files of a succeeded job."""

    __slots__ = ("_farm", "_result")

    def __init__(self, farm: AsyncFarm, result: Result) -> None:
        self._farm = farm
        self._result = result

    @property
    def job(self) -> JobRecord:
        """Whose they are."""
        return self._result.job

    @property
    def storage(self) -> Storage:
        """Where they are kept."""
        return self._result.storage

    @property
    def facts(self) -> JobResult:
        """What was made, and where it is."""
        return self._result.facts

    @property
    def main(self) -> Artifact:
        """As `Result.main`."""
        return self._result.main

    async def url(self, artifact: Artifact | None = None, *, expires_s: int | None = None) -> str:
        """As `Result.url`."""
        return await self._farm.call(self._result.url, artifact, expires_s=expires_s)

    async def download(
        self,
        folder: str | Path = ".",
        *,
        name: str = DEFAULT_NAME,
        extras: Collection[Extra | str] = (),
        progress: ProgressHook | None = None,
    ) -> builtins.list[Path]:
        """As `Result.download`; `progress` is called from another thread."""
        return await self._farm.call(
            self._result.download, folder, name=name, extras=extras, progress=progress
        )
