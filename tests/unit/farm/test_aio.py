from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from farm import aio
from farm.aio import AsyncFarm, AsyncJob
from farm.asking.request import JobRequest
from farm.errors import InvalidJob, JobFailed, JobNotFound, StoreUnavailable, WaitTimeout
from farm.job import JobEvent, JobState
from farm.status.worker import WorkerStatus
from farm.store.base import LeaseAnswer
from farm.testing import FolderStorage, MemoryJobStore
from tests.support.fleet import TEMPLATE, wan_graph
from tests.support.jobs import a_result

Body = Callable[[AsyncFarm], Awaitable[Any]]


@pytest.fixture
def run(store: MemoryJobStore, storage: FolderStorage) -> Callable[[Body], Any]:
    """Run a coroutine with a farm in memory, for ten seconds at most."""

    async def whole(body: Body) -> Any:
        async with asyncio.timeout(60), AsyncFarm(store=store, storage=storage) as farm:
            return await body(farm)

    return lambda body: asyncio.run(whole(body))


def succeed(store: MemoryJobStore, job_id: str) -> None:
    """Do what a worker does."""
    store.claim(job_id, worker="w1")
    assert store.succeed(job_id, 1, a_result()) is LeaseAnswer.OK


def succeed_all(store: MemoryJobStore, job_ids: Iterable[str]) -> None:
    """The same for many."""
    for job_id in job_ids:
        succeed(store, job_id)


async def until_waiting(farm: AsyncFarm, count: int = 1) -> None:
    """Until so many coroutines wait for news."""
    while len(farm.follower.waiting) < count:
        await asyncio.sleep(0.001)


def test_a_job_is_queued_waited_for_and_fetched(
    run: Callable[[Body], Any], store: MemoryJobStore, storage: FolderStorage, tmp_path: Path
) -> None:
    stored = storage.put_bytes(b"mp4", "clip.mp4", media_type="video/mp4")

    async def body(farm: AsyncFarm) -> list[Path]:
        job = await farm.submit(template=TEMPLATE, parameters={"prompt": "a fox"}, labels=["a"])
        waiting = asyncio.create_task(job.wait(timeout_s=60))
        await until_waiting(farm)
        store.claim(job.job_id, worker="w1")
        artifact = replace(a_result().artifacts[0], key="clip.mp4", sha256=stored.sha256)
        store.succeed(job.job_id, 1, replace(a_result(), artifacts=(artifact,)))
        await waiting
        assert job.state is JobState.SUCCEEDED
        made = await job.result()
        assert (await made.url()).startswith("file:")
        assert made.main.key == made.facts.artifacts[0].key
        return await made.download(tmp_path / "out")

    assert [path.read_bytes() for path in run(body)] == [b"mp4"]


def test_a_thousand_waiters_hold_no_thread_each(run: Callable[[Body], Any], store: MemoryJobStore) -> None:
    async def body(farm: AsyncFarm) -> tuple[int, int]:
        jobs = await farm.submit_many([JobRequest(graph=wan_graph())] * 1000)
        waiting = [asyncio.create_task(job.wait()) for job in jobs]
        await until_waiting(farm, 1000)
        threads = threading.active_count()
        await asyncio.to_thread(succeed_all, store, [job.job_id for job in jobs])
        done = await asyncio.gather(*waiting)
        return threads, len(done)

    before = threading.active_count()  # other tests' threads may still be about

    threads, done = run(body)

    assert done == 1000
    assert threads - before < 20


def test_events_are_followed_and_taken_up_where_they_were_left(
    run: Callable[[Body], Any], store: MemoryJobStore
) -> None:
    async def body(farm: AsyncFarm) -> tuple[list[JobEvent], list[JobEvent]]:
        job = await farm.submit(wan_graph())
        seen = asyncio.create_task(collect(job))
        await until_waiting(farm)
        succeed(store, job.job_id)
        whole = await seen
        return whole, [event async for event in job.events(after=whole[0].event_id)]

    whole, rest = run(body)

    assert [event.data["state"] for event in whole] == ["queued", "running", "succeeded"]
    assert rest == whole[1:]


async def collect(job: AsyncJob) -> list[JobEvent]:
    """All events of a job, to its end."""
    return [event async for event in job.events()]


def test_two_may_follow_one_job_from_different_positions(
    run: Callable[[Body], Any], store: MemoryJobStore
) -> None:
    async def body(farm: AsyncFarm) -> list[int]:
        job = await farm.submit(wan_graph())
        first = asyncio.create_task(collect(job))
        await until_waiting(farm)
        store.claim(job.job_id, worker="w1")
        second = asyncio.create_task(collect(job))
        await until_waiting(farm, 2)
        store.succeed(job.job_id, 1, a_result())
        return [len(events) for events in await asyncio.gather(first, second)]

    assert run(body) == [3, 3]


def test_past_events_do_not_wait_for_more(run: Callable[[Body], Any]) -> None:
    async def body(farm: AsyncFarm) -> list[str]:
        job = await farm.submit(wan_graph())
        return [event.data["state"] async for event in job.events(live=False)]

    assert run(body) == ["queued"]


def test_a_wait_that_is_too_short_leaves_the_job_alone(run: Callable[[Body], Any]) -> None:
    async def body(farm: AsyncFarm) -> JobState:
        job = await farm.submit(wan_graph())
        with pytest.raises(WaitTimeout, match="still queued"):
            await job.wait(timeout_s=0.02)
        return (await job.refresh()).state

    assert run(body) is JobState.QUEUED


def test_a_job_that_ends_badly_is_told(run: Callable[[Body], Any]) -> None:
    async def body(farm: AsyncFarm) -> None:
        job = await farm.submit(wan_graph())
        waiting = asyncio.create_task(job.wait())
        await until_waiting(farm)
        assert await job.cancel(reason="enough") is JobState.CANCELED
        with pytest.raises(JobFailed, match="canceled"):
            await waiting
        assert (await job.retry()).state is JobState.QUEUED

    run(body)


def test_a_last_event_that_went_unseen_is_found_out(
    run: Callable[[Body], Any], store: MemoryJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aio, "_LOOK_AGAIN_S", 0.05)
    monkeypatch.setattr(store, "news", lambda after, **_: {})

    async def body(farm: AsyncFarm) -> None:
        job = await farm.submit(wan_graph())
        succeed(store, job.job_id)
        await asyncio.gather(job.wait(), collect(job))

    run(body)


def test_an_outage_reaches_who_waits(run: Callable[[Body], Any], store: MemoryJobStore) -> None:
    def away(*_args: object, **_kwargs: object) -> None:
        raise StoreUnavailable("127.0.0.1:6379", "connection refused")

    async def body(farm: AsyncFarm) -> None:
        job = await farm.submit(wan_graph())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store, "news", away)
            with pytest.raises(StoreUnavailable):
                await job.wait()

    run(body)


def test_who_still_waits_when_the_farm_is_closed_is_cancelled(
    store: MemoryJobStore, storage: FolderStorage
) -> None:
    async def body() -> None:
        farm = AsyncFarm(store=store, storage=storage)
        job = await farm.submit(wan_graph())
        waiting = asyncio.create_task(job.wait())
        await until_waiting(farm)
        await farm.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(body())


def test_a_wait_that_is_cancelled_leaves_nobody_behind(run: Callable[[Body], Any]) -> None:
    async def body(farm: AsyncFarm) -> int:
        job = await farm.submit(wan_graph())
        waiting = asyncio.create_task(job.wait())
        await until_waiting(farm)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        return len(farm.follower.waiting)

    assert run(body) == 0


def test_lists_counts_and_errors_are_those_of_the_farm(
    run: Callable[[Body], Any], store: MemoryJobStore
) -> None:
    store.put_worker(WorkerStatus(name="w1"), ttl_s=60)

    async def body(farm: AsyncFarm) -> None:
        jobs = await farm.submit_many([JobRequest(graph=wan_graph())] * 60)
        listed = [job.job_id async for job in farm.list()]
        assert listed == [job.job_id for job in reversed(jobs)]
        assert (await farm.counts()).by_state[JobState.QUEUED] == 60
        assert [worker.name for worker in await farm.workers()] == ["w1"]
        assert (await farm.validate(JobRequest(graph=wan_graph()))).title
        with pytest.raises(JobNotFound):
            await farm.get("nowhere")
        with pytest.raises(JobNotFound):
            await anext(farm.events("nowhere"))
        with pytest.raises(InvalidJob):
            await farm.submit({})

    run(body)


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    yield
    left = [thread.name for thread in threading.enumerate() if thread.name in ("follower", "farm")]
    assert left == []
