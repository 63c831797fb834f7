"""One worker as a whole, from start to stop; `worker.runtime` puts it together."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from farm.errors import StorageUnavailable
from farm.job import VRAM_CLASSES_GIB
from farm.status.not_fetching import NotFetching, most_telling_first
from farm.storage import Storage
from farm.store.redis.server import check_server, doubts
from farm.store.roles import JobStore
from farm.upkeep.steward import Steward
from worker.exits import EX_TEMPFAIL
from worker.fetching.flower import Told
from worker.fetching.gate import Gate
from worker.fetching.watchdog import Watchdog
from worker.jobs.context import GpuTurn
from worker.machine import Machine
from worker.results.republish import HOLD_S
from worker.results.retained import RetainedRenders
from worker.results.storage_watch import StorageWatch
from worker.service.describe import facts_shown, worker_facts
from worker.service.desk import Desk
from worker.service.draining import Draining
from worker.service.holds import Holds
from worker.service.lifetime import Lifetime, Part

log = logging.getLogger(__name__)

_END_S: Final = 16.0  # beyond the drain's grace: ComfyUI's end, and the last writes
_LAST_WORDS_S: Final = 8.0  # for a worker that gives itself up to take leave


@dataclass(eq=False, kw_only=True)
class Worker:
    """One worker: what Celery's hooks and its one task call. `worker.runtime.build` makes it."""

    gate: Gate
    store: JobStore
    storage: Storage
    machine: Machine
    holds: Holds
    retained: RetainedRenders
    storage_watch: StorageWatch
    name: str
    steward: Steward
    desk: Desk
    draining: Draining
    drain_grace_s: float
    parts: Sequence[Part]  # started in this order
    watchdog: Watchdog
    lifetime: Lifetime
    changed: threading.Event
    # They end the process, should a drain not do it.
    fuses: list[threading.Timer] = field(default_factory=list)
    handed_over: threading.Event = field(default_factory=threading.Event)  # a drain has ended

    @property
    def vram_gib(self) -> int:
        """The VRAM class whose jobs it takes, with all smaller ones."""
        return self.machine.comfy.vram_class_gib or VRAM_CLASSES_GIB[0]

    def start(self) -> None:
        """Bring everything up; returns when ComfyUI answers.

        What does not need ComfyUI comes first: ComfyUI takes minutes to start at times, and this may be the
        only worker. Jobs that died with the process before are queued again meanwhile, orders are heard,
        and the worker says that it is starting.

        Raises:
            WorkerError: another worker has the card, or ComfyUI does not run.
            FarmError: Redis or S3 cannot be used as they are. An S3 that is only away ends no worker.
        """
        # Before anything else, which may take long: the right to the jobs whose finished files wait here.
        for retained in self.retained.all():
            self.store.keep_on_hold(retained.job_id, self.name, hold_s=HOLD_S)
        facts = self.store.ping()
        for warning in [*check_server(facts), *doubts(facts)]:
            log.warning("Redis should be set up better", extra={"event": "redis_warning", "what": warning})
        kept = facts["durability"]
        log.info(
            "How durable jobs and results are",
            extra={"event": "redis_durability", "durability": kept.value, "loses": kept.loses},
        )
        self.lifetime.start(self.steward)
        self.storage_watch.note(_trouble_of(self.storage))
        # Nothing is said in this worker's name before name and card are its own.
        self.holds.take()
        self.draining.obey()  # an order outlives the worker that it was given to
        for part in self.parts:
            self.lifetime.start(part)
        self.machine.start()
        self.changed.set()

    def open(self) -> None:
        """Fetch from now on: Celery is connected."""
        self.gate.open(NotFetching.STARTING)
        self.lifetime.start(self.watchdog)
        self.changed.set()  # who waits for this worker reads it there

    def work_on(self, job_id: str, *, priority: int | None, turn: GpuTurn) -> str:
        """See `Desk.work_on`."""
        return self.desk.work_on(job_id, priority=priority, turn=turn)

    def told(self, job_id: str, outcome: str) -> Told:
        """See `Desk.told`."""
        return self.desk.told(job_id, outcome)

    def shown(self) -> dict[str, str]:
        """What its page in Flower says of it."""
        facts = worker_facts(self.name, self.machine.gpu, self.machine.comfy)
        return facts_shown(facts, most_telling_first(self.gate.closed_for))

    def drain(self) -> None:
        """Fetch nothing more; give what still renders after the grace back, so that it runs elsewhere."""
        fuse = threading.Timer(self.drain_grace_s + _END_S, give_up, (self.gate, self.lifetime))
        fuse.daemon = True
        fuse.start()
        self.fuses.append(fuse)
        self.draining.end(self.drain_grace_s)
        self.handed_over.set()

    def stop(self) -> None:
        """End everything that was made and started, in reverse; does nothing the second time.

        A drain that has begun is waited for: no thread of Celery has what is published without a message.
        """
        if self.fuses:
            self.handed_over.wait()
        self.lifetime.end()
        for fuse in self.fuses:
            fuse.cancel()


def give_up(gate: Gate, lifetime: Lifetime) -> None:
    """End the process without its main thread, which hears nobody any more."""
    gate.close(NotFetching.CONSUMER_GIVEN_UP)
    # Should a part not end either: nobody is left to wait for it.
    fuse = threading.Timer(_LAST_WORDS_S, os._exit, (EX_TEMPFAIL,))
    fuse.daemon = True
    fuse.start()
    lifetime.end()
    logging.shutdown()
    os._exit(EX_TEMPFAIL)


def _trouble_of(storage: Storage) -> StorageUnavailable | None:
    """Why it takes no files now, if that may pass.

    Raises:
        StorageUnavailable: a person has to act: the key is wrong, or there is no such bucket.
    """
    try:
        storage.check()
    except StorageUnavailable as exc:
        if type(exc) is not StorageUnavailable:
            raise
        log.warning(
            "The storage is away; what is rendered waits on the disk until it is back",
            extra={"event": "storage_away_at_start", "reason": str(exc)},
        )
        return exc
    return None
