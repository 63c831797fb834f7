"""All parts of one worker, made once, started and stopped in order."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Callable
from typing import Final, Protocol

from farm.broker import CeleryNotifier, make_app
from farm.job import VRAM_CLASSES_GIB, Progress
from farm.settings import (
    CleanSettings,
    GateSettings,
    RedisSettings,
    S3Settings,
    StoreSettings,
    WorkerSettings,
)
from farm.status.not_fetching import NotFetching
from farm.status.worker import WorkerStatus
from farm.storage import S3Patience, S3Storage
from farm.store.redis.server import check_server, doubts
from farm.store.redis.store import (
    RedisJobStore,
    connect,
    store_limits,
)
from farm.upkeep.cleaning import (
    Cleaner,
    limits_of,
)
from farm.upkeep.janitor import Janitor
from farm.upkeep.steward import Steward
from worker.comfyui.own_comfy import OwnComfy
from worker.consumer import Line
from worker.exits import EX_TEMPFAIL
from worker.gate import Gate
from worker.gpu.card import GIB
from worker.inputs.cache import InputCache
from worker.jobs.at_work import AtWork
from worker.jobs.attempt import Parts, attempt
from worker.jobs.faults import DISK_FULL, GPU_LOST, MachineTrouble
from worker.jobs.lease import LeaseKeeper
from worker.machine import Machine
from worker.results.publish import S3Publisher
from worker.results.republish import Republisher
from worker.results.retained import RetainedRenders
from worker.service.control import ControlListener
from worker.service.definitions import Definitions
from worker.service.describe import StatusMaker
from worker.service.disk import DiskWatch, written_folders
from worker.service.draining import Draining
from worker.service.epoch import EpochWatch
from worker.service.gpu_hold import CardHold
from worker.service.graph_fitter import GraphFitter
from worker.service.health import Health
from worker.service.model_shelf import ModelShelf
from worker.service.spot import spot_watch
from worker.service.status_keeper import StatusKeeper
from worker.watchdog import Watchdog, work_waits

log = logging.getLogger(__name__)

_LAST_WORDS_S: Final = 8.0  # for a worker that gives itself up to take leave


class _Part(Protocol):
    """What works in a thread of its own."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


class Runtime:
    """One worker: what Celery's hooks and its one task call.

    Each thread that must not wait for another has a Redis connection of its own.
    """

    def __init__(
        self,
        *,
        redis: RedisSettings,
        store: StoreSettings,
        s3: S3Settings,
        worker: WorkerSettings,
        allowed: GateSettings,
        clean: CleanSettings,
    ) -> None:
        """Keep the settings; nothing is opened, read or started before `start`."""
        self._allowed_nodes = allowed.allowed_nodes
        # One thread renders, the others publish; the gate lets a message in only when the GPU is free.
        self.threads = 1 + worker.publish_slots
        self.gate = Gate(threads=self.threads)
        self.vram_gib: int = VRAM_CLASSES_GIB[0]  # the class whose jobs it takes, with all smaller ones
        self._redis, self._store_settings, self._s3, self._worker = redis, store, s3, worker
        self._clean = clean
        self._at_work = AtWork()
        self._changed = threading.Event()  # the status is to be written anew
        self._stops: list[Callable[[], None]] = []  # how to stop what was started, in that order

    def start(self, name: str) -> None:
        """Bring everything up; returns when ComfyUI answers.

        What does not need ComfyUI comes first: ComfyUI takes minutes to start at times, and this may be the
        only worker. Jobs that died with the process before are queued again meanwhile, orders are heard,
        and the worker says that it is starting.

        Raises:
            WorkerError: no usable GPU or ComfyUI, or another worker has them.
            FarmError: Redis or S3 cannot be used as they are.
        """
        self._name = name
        self._store = self._connect()
        facts = self._store.ping()
        for warning in [*check_server(facts), *doubts(facts)]:
            log.warning("Redis should be set up better", extra={"event": "redis_warning", "what": warning})
        kept = facts["durability"]
        log.info(
            "How durable jobs and results are",
            extra={"event": "redis_durability", "durability": kept.value, "loses": kept.loses},
        )
        self._start(self._make_steward())
        # Whoever uses it has a patience of its own: what is to be stored waits on the disk, not in a request.
        storage = S3Storage(self._s3, patience=S3Patience(silence_s=10.0, attempts=2))
        self._stops.append(storage.close)
        storage.check()
        self._take_machine()
        self._make_parts(storage)
        self._start_threads()
        self._machine.start()
        self.vram_gib = self._machine.comfy.vram_class_gib or self.vram_gib
        self._changed.set()

    def open(self, line: Line) -> None:
        """Fetch from now on: Celery is connected, by `line`."""
        self.gate.open(NotFetching.STARTING)
        watchdog = Watchdog(
            self.gate,
            work_waits=lambda: work_waits(self._store, line),
            reconnect=line.cut,
            give_up=self._give_up,
            on_change=self._changed.set,
        )
        self._status.watch(watchdog)
        watchdog.start()
        self._stops.append(watchdog.stop)
        self._changed.set()  # who waits for this worker reads it there

    def work_on(
        self,
        job_id: str,
        *,
        priority: int | None,
        announce: Callable[[Progress], None],
        off_the_gpu: Callable[[], None],
    ) -> str:
        """Work on the job that a message names; returns what became of it.

        `off_the_gpu` is called when the next job may come, while this one may still be published.

        Args:
            priority: of the message.
        """
        if self._draining.takes_no_job:
            self._draining.pass_on(job_id)
            return "dropped: this worker drains"
        return self._attempt(job_id, priority=priority, announce=announce, off_the_gpu=off_the_gpu)

    def _attempt(
        self,
        job_id: str,
        *,
        priority: int | None = None,
        announce: Callable[[Progress], None] = lambda _progress: None,
        off_the_gpu: Callable[[], None] = lambda: None,
        only_publish: bool = False,
    ) -> str:
        try:
            with self._at_work.on(job_id) as work:

                def note(progress: Progress) -> None:
                    if work.note(progress):
                        self._changed.set()
                    announce(progress)

                outcome = attempt(
                    job_id,
                    self._parts,
                    priority=priority,
                    announce=note,
                    off_the_gpu=off_the_gpu,
                    only_publish=only_publish,
                )
            self._at_work.ended(outcome)
            return outcome
        finally:
            self._changed.set()

    def drain(self) -> None:
        """Fetch nothing more; give what still renders after the grace back, so that it runs elsewhere."""
        self._draining.end(self._worker.drain_grace_s)

    def stop(self) -> None:
        """End everything that was started, in reverse; does nothing the second time."""
        while self._stops:
            stop = self._stops.pop()
            try:
                stop()
            except Exception:
                log.exception("A part failed to stop", extra={"event": "stop_failed"})

    def _give_up(self) -> None:
        """End the process without its main thread, which hears nobody any more."""
        self.gate.close(NotFetching.CONSUMER_GIVEN_UP)
        # Should a part not end either: nobody is left to wait for it.
        fuse = threading.Timer(_LAST_WORDS_S, os._exit, (EX_TEMPFAIL,))
        fuse.daemon = True
        fuse.start()
        self.stop()
        logging.shutdown()
        os._exit(EX_TEMPFAIL)

    def _connect(self) -> RedisJobStore:
        notifier = CeleryNotifier(make_app(self._redis), self._redis.namespace)
        store = connect(self._redis, store_limits(self._store_settings), notifier)
        self._stops.append(store.close)
        return store

    def _take_machine(self) -> None:
        """Nothing is said or cleared away in this worker's name before folder and card are its own."""
        machine = Machine(self._worker, self.gate, name=self._name, on_change=self._changed.set)
        self._machine, self._hold = machine, None
        self.vram_gib = machine.comfy.vram_class_gib or self.vram_gib
        machine.take()
        if machine.gpu is not None and machine.owns_card:
            self._hold = CardHold(self._store, self._name, machine.gpu)
            self._stops.append(self._hold.release)
        self._stops.append(machine.stop)
        if self._hold is not None:
            self._hold.take()

    def _make_parts(self, storage: S3Storage) -> None:
        limits = self._store_settings
        self._keeper = LeaseKeeper(self._connect(), renew_s=limits.renew_s, lease_s=limits.lease_s)
        scratch = self._worker.data_dir / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)  # of a process that was killed
        retained = RetainedRenders(
            # The folder, its notes and their fields are named as before: an upgrade finds what waits there.
            self._worker.data_dir / "kept",
            limit_bytes=int(self._worker.retained_limit_gib * GIB),
        )
        publisher = S3Publisher(
            storage,
            patience_s=self._worker.publish_patience_s,
            hurry=lambda: self.gate.crowded or bool(retained.all()),
        )
        self._stops.append(publisher.close)
        epoch = EpochWatch(self._store)
        self._draining = Draining(
            self._name,
            self._store,
            self.gate,
            self._keeper,
            self._at_work,
            epoch,
            on_change=self._changed.set,
        )
        self._disk = DiskWatch(self.gate, written_folders(self._worker.data_dir), on_change=self._changed.set)
        self._health = Health(
            self.gate,
            self._machine.probe,
            first_probe_s=self._worker.probe_after_s,
            card_trouble=lambda: self._machine.card_trouble,
            disk_is_full=self._disk.is_full,
            on_change=self._changed.set,
        )
        self._definitions = Definitions(self._store, self._machine.comfy)
        self._shelf = ModelShelf(self._store, self._worker)
        epoch.on_forgot(self._definitions.forget)
        epoch.on_forgot(self._shelf.forget)
        epoch.on_forgot(self._keeper.renew_now)  # it is answered that the attempts of before are lost
        self._status = StatusMaker(
            self._name,
            self._worker,
            self.gate,
            self._machine,
            disk=self._disk,
            health=self._health,
            draining=self._draining,
            definitions=self._definitions,
            epoch=epoch,
            shelf=self._shelf,
            at_work=self._at_work,
        )
        self._parts = Parts(
            name=self._name,
            store=self._store,
            keeper=self._keeper,
            comfy=OwnComfy(self._machine.comfy),
            fitter=GraphFitter(
                self._name,
                self._worker,
                self._machine,
                self._definitions,
                allowed_nodes=self._allowed_nodes,
            ),
            inputs=InputCache(self._worker.data_dir / "inputs", storage=storage, settings=self._worker),
            publisher=publisher,
            retained=retained,
            hold_limit_s=self._worker.hold_s,
            scratch=scratch,
            facts=self._status.facts,
            renew_s=limits.renew_s,
            previews=self._worker.previews,
            prompt_metadata=self._worker.prompt_metadata,
            machine_trouble=self._machine_trouble,
            on_failed=self._health.failed,
            on_succeeded=self._health.succeeded,
            on_rendered=self._machine.warm.rendered,
            sizes_of=self._shelf.sizes_of,
            printed_for=self._machine.printed_for,
            after_render=self._machine.after_render,
        )
        cleans = self._connect()
        self._janitor = Janitor(
            cleans,
            Cleaner(cleans, storage, limits_of(self._clean)),
            holder=self._name,
            every_s=self._clean.every_s,
        )
        self._republisher = Republisher(
            self._name,
            retained,
            self._connect(),
            self.gate,
            ask_storage=storage.check,
            publish=lambda job_id: self._attempt(job_id, only_publish=True),
            hold_limit_s=self._worker.hold_s,
        )

    def _machine_trouble(self) -> MachineTrouble | None:
        """What card and disks say now."""
        if (trouble := self._machine.look_at_card()) is not None:
            return MachineTrouble(code=GPU_LOST, reason=trouble)
        if self._disk.is_full():
            return MachineTrouble(code=DISK_FULL, reason=self._disk.trouble or "a disk is full")
        return None

    def _make_steward(self) -> Steward:
        settings = self._store_settings
        return Steward(self._connect(), holder=self._name, sweep_s=settings.sweep_s, grace_s=settings.grace_s)

    def _start_threads(self) -> None:
        self._draining.obey()  # an order outlives the worker that it was given to
        spot = spot_watch(self._worker, self._draining.notice)
        parts: list[_Part] = [
            self._keeper,
            self._disk,
            self._health,
            self._shelf,
            self._republisher,
            StatusKeeper(self._connect(), self._name, self._refresh, changed=self._changed),
            self._janitor,
            *([spot] if spot is not None else []),
            # Last, so that it ends before the store is closed under it.
            ControlListener(self._store, on_cancel=self._keeper.renew_now, on_drain=self._draining.obey),
        ]
        for part in parts:
            self._start(part)

    def _start(self, part: _Part) -> None:
        part.start()
        self._stops.append(part.stop)

    def _refresh(self) -> WorkerStatus:
        """What is due every few seconds, and then the status."""
        if self._hold is not None:
            self._hold.keep()
        self._draining.obey()
        self._definitions.refresh()
        return self._status.status()
