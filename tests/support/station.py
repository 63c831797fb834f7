"""A worker in this process, without Celery and ComfyUI: all that handles jobs, leases and finished files.

What is between it and its Redis and S3 is the test's. Its render is a function: it draws a picture, unless
it is told to fail.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from comfy.rewrites.optimize import Optimized
from farm.errors import StorageUnavailable
from farm.job import JobError, Progress
from farm.status.not_fetching import NotFetching
from farm.status.worker import QuarantineStatus, WorkerFacts, WorkerStatus
from farm.storage import Storage
from farm.store.base import Claim, LeaseAnswer
from farm.store.roles import JobStore
from tests.support.clips import make_picture
from tests.support.jobs import GRAPH
from tests.support.worker_here import Hooks as NoHooks
from worker.fetching.gate import Gate
from worker.jobs import attempt as attempts
from worker.jobs import tries
from worker.jobs.at_work import AtWork
from worker.jobs.context import AloneOnGpu, AttemptContext, GpuTurn
from worker.jobs.lease import LeaseKeeper
from worker.jobs.names import run_folder
from worker.results.publish import LocalOutput, Publisher
from worker.results.rendered import Rendered
from worker.results.republish import Republisher
from worker.results.retained import RetainedRenders
from worker.results.storage_watch import StorageWatch
from worker.service.draining import Draining
from worker.service.epoch import EpochWatch
from worker.service.health import Health

LIMIT_BYTES = 1 << 20
_ALONE = AloneOnGpu()


class _Hooks(NoHooks):
    """What a station's own parts are told; see `worker.jobs.context.AttemptHooks`."""

    def __init__(self, station: Station) -> None:
        super().__init__()
        self._station = station

    def facts(self) -> WorkerFacts:
        return WorkerFacts(name=self._station.name)

    def on_succeeded(self, job_id: str) -> None:
        self._station.health.succeeded(job_id)

    def on_failed(self, job_id: str, error: JobError) -> None:
        self._station.health.failed(job_id, error)

    def on_doubted(self, job_id: str, error: JobError) -> None:
        self._station.health.doubted(job_id, error)

    def on_storage(self, trouble: StorageUnavailable | None) -> None:
        self._station.storage.note(trouble)

    def may_publish(self) -> bool:
        return self._station.gate.has_room_to_publish

    def drains(self, patience_s: float) -> bool:
        return self._station.draining.ends_within(patience_s)


class Station:
    """One worker; `close` it."""

    def __init__(
        self,
        name: str,
        folder: Path,
        store: JobStore,
        storage: Storage,
        *,
        publish_slots: int = 3,
        lease_s: float = 15.0,
        renew_s: float = 0.2,
        patience_s: float = 60.0,
        limit_bytes: int = LIMIT_BYTES,
    ) -> None:
        self.name, self.store, self._folder = name, store, folder
        self.renders: list[str] = []  # jobs, in the order in which they were rendered here
        self.before_render: Callable[[Claim], None] = lambda _claim: None
        threads = 2 + publish_slots
        self.gate = Gate(threads=threads)
        self.gate.open(NotFetching.STARTING)
        self.retained = RetainedRenders(folder / "kept", limit_bytes=limit_bytes)
        self.storage = StorageWatch(name, self.gate, store, self.retained)
        self.publisher = Publisher(
            storage, patience_s=patience_s, hurry=lambda: self.gate.crowded or bool(self.retained.all())
        )
        self.keeper = LeaseKeeper(store, renew_s=renew_s, lease_s=lease_s)
        self.at_work = AtWork()
        self.draining = Draining(
            name, store, self.gate, self.keeper, self.at_work, EpochWatch(store), on_change=lambda: None
        )
        self.trouble: str | None = None  # what a probe of its ComfyUI finds
        self.health = Health(
            self.gate,
            lambda: self.trouble,
            first_probe_s=0.5,
            card_trouble=lambda: None,
            disk_is_full=lambda: False,
            briefs=store.briefs,
            judged_elsewhere=lambda: [each.judged for each in store.workers() if each.name != name],
            on_change=self.tell_status,
        )
        self.context = AttemptContext(
            name=name,
            store=store,
            keeper=self.keeper,
            comfy=MagicMock(render_here=self._render),
            fitter=MagicMock(),
            inputs=MagicMock(),
            publisher=self.publisher,
            retained=self.retained,
            hold_limit_s=3600.0,
            scratch=folder / "scratch",
            hooks=_Hooks(self),
            renew_s=renew_s,
            inputs_time_s=600.0,
            previews=False,
            prompt_metadata=False,
        )
        self.republisher = Republisher(
            name,
            self.retained,
            store,
            self.storage,
            ask_storage=storage.check,
            publish=lambda job_id: self._attempt(job_id, only_publish=True),
            hold_limit_s=3600.0,
            every_s=0.1,
        )
        self._closing = threading.Event()
        self._pop: Callable[[], str | None] = lambda: None
        self._consumer = threading.Thread(target=self._consume, daemon=True)
        self._pool = ThreadPoolExecutor(max_workers=threads)
        self.keeper.start()

    def take(self, job_id: str) -> Future[str]:
        """Begin with the job of a message, as Celery's consumer does when the gate is open."""
        return self._pool.submit(self._work_on, job_id)

    def tell_status(self) -> None:
        """Let the others know of it."""
        reasons = tuple(self.gate.closed_for)
        status = WorkerStatus(
            name=self.name,
            vram_gib=24,
            not_fetching=reasons,
            quarantine=quarantine_status(self.health),
            storage=self.storage.status(),
            judged=self.health.suspicion.status(),
        )
        self.store.put_worker(status, ttl_s=600)

    def consume(self, pop: Callable[[], str | None]) -> None:
        """Fetch from now on, one job after the other, as long as the gate is open."""
        self.health.start()
        self._consumer.start()
        self._pop = pop

    def _consume(self) -> None:
        while not self._closing.wait(0.005):
            self.tell_status()
            if self.gate.may_fetch(reserved=0) and (job_id := self._pop()) is not None:
                self._work_on(job_id)

    def close(self) -> None:
        """End its threads, as far as they end."""
        self._closing.set()
        if self._consumer.is_alive():
            self._consumer.join(30)
            self.health.stop()
        self.republisher.stop()
        # What still publishes may never hear from its storage, and must not ask a store that is gone.
        self.publisher.discard = lambda *_: None  # type: ignore[method-assign]
        for lease in self.keeper.leases():
            lease.note(LeaseAnswer.LOST, asked_at=time.monotonic())
        self._pool.shutdown(wait=True, cancel_futures=True)
        self.publisher.close()
        self.keeper.stop()

    def _work_on(self, job_id: str) -> str:
        with self.gate.work() as ticket:
            return self._attempt(job_id, turn=ticket)

    def _attempt(self, job_id: str, *, turn: GpuTurn = _ALONE, only_publish: bool = False) -> str:
        with self.at_work.on(job_id) as work:

            def note(progress: Progress) -> None:
                work.note(progress)

            return attempts.attempt(
                job_id,
                self.context,
                announce=note,
                turn=turn,
                only_publish=only_publish,
            )

    def _render(self, claim: Claim) -> Rendered:
        self.renders.append(claim.job_id)
        self.before_render(claim)
        picture = make_picture(self._folder / "output" / run_folder(claim) / "a.png")
        return Rendered(
            outputs=(LocalOutput(path=picture, node_id="9", filename="a.png"),),
            graph=GRAPH,
            changes=(),
            fitted=Optimized(graph={}, outcomes=()),
        )


def quarantine_status(health: Health) -> QuarantineStatus | None:
    """What the status of a worker says of it."""
    failure = health.quarantine.failure
    return QuarantineStatus(code=failure.code, reason=failure.reason) if failure is not None else None


Stations = Callable[..., Station]


@contextmanager
def renders_in_place() -> Iterator[None]:
    """Let every attempt in this process be rendered by its own station."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tries, "render", lambda of: of.comfy.render_here(of.claim))
        yield


@pytest.fixture
def stations() -> Iterator[Stations]:
    """Makes stations, and closes them."""
    made: list[Station] = []

    def make(*args: object, **options: object) -> Station:
        made.append(Station(*args, **options))  # type: ignore[arg-type]
        return made[-1]

    with renders_in_place():
        yield make
        for station in made:
            station.close()
