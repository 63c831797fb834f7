"""All parts of one worker, made once, started and stopped in order."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from comfy.errors import ComfyError
from farm.broker import CeleryBell, make_app
from farm.errors import StoreUnavailable
from farm.job import VRAM_CLASSES_GIB, Progress
from farm.preflight import DEFINITIONS_FIELD
from farm.settings import RedisSettings, S3Settings, StoreSettings, WorkerSettings
from farm.steward import Steward
from farm.storage import S3Storage
from farm.store.base import Drain
from farm.store.redis import RedisJobStore, connect
from farm.store.server import check_server
from worker.attempt import Parts, attempt
from worker.card import TTL_S, CardKeeper, Definitions
from worker.consumer import STARTING, Gate
from worker.describe import resources_now, worker_facts
from worker.errors import GpuUnusable, InUse, WorkerError
from worker.gpu import GpuCard
from worker.gpu_watch import GpuWatch
from worker.inputs import InputCache
from worker.keeper import ComfyState
from worker.launch import ComfyKind
from worker.lease import Lease, LeaseKeeper
from worker.model_files import models_folder
from worker.nvenc import NvencFinding, try_nvenc
from worker.own_comfy import OwnComfy
from worker.pace import Pace
from worker.plan_check import PlanCheck
from worker.publish import S3Publisher
from worker.recycle_comfy import recycler_of
from worker.spot import Command, Metadata, Notice, SpotWatch
from worker.supervisor import ComfySupervisor
from worker.wellness import Wellness

log = logging.getLogger(__name__)

_COMFY_DOWN: Final = "comfy down"
_DRAINING: Final = "draining"
_DRAINED: Final = "drained"
_SPOT: Final = "spot notice"
_UNKNOWN_PACE_S: Final = 2.0  # how long a leaving worker waits for a first sign of a job's pace
_CARD_TROUBLE: Final = "card cannot be used"
_CANCEL_POLL_S: Final = 0.25  # how soon the listener sees that the worker stops


class Runtime:
    """One worker: its card, its ComfyUI, its leases, and the job it works on.

    Each thread that must not wait for another has a Redis connection of its own.
    """

    def __init__(
        self, *, redis: RedisSettings, store: StoreSettings, s3: S3Settings, worker: WorkerSettings
    ) -> None:
        """Keep the settings; nothing is opened, read or started before `start`."""
        # One thread renders, the others publish; the gate lets a message in only when the GPU is free.
        self.threads = 1 + worker.publish_slots
        self.gate = Gate(threads=self.threads)
        self._redis, self._store_settings, self._s3, self._worker = redis, store, s3, worker
        self._stopping = threading.Event()
        self._started: list[Callable[[], None]] = []  # how to stop what was started, in that order
        self._name = ""
        self._gpu: GpuCard | None = None
        self._watch: GpuWatch | None = None
        self._nvenc: NvencFinding | None = None  # None: not tried, the card has no encoder
        self._vram_gib = VRAM_CLASSES_GIB[0]
        self._jobs: dict[str, Progress] = {}
        self._paces: dict[str, Pace] = {}
        self._told: Drain | None = None
        self._state = ComfyState.STOPPED
        self._failure: WorkerError | None = None
        self._plan_check: PlanCheck | None = None

    @property
    def vram_gib(self) -> int:
        """The VRAM class whose jobs this worker takes, with those of all smaller ones."""
        return self._vram_gib

    def start(self, name: str) -> None:
        """Bring everything up; returns when ComfyUI answers and the card is published.

        Raises:
            WorkerError: no usable GPU or ComfyUI, or another worker has them.
            FarmError: Redis or S3 cannot be used as they are.
        """
        self._name = name
        storage = S3Storage(self._s3)
        self._started.append(storage.close)
        storage.check()
        self._store = self._connect()
        for warning in check_server(self._store.ping()):
            log.warning("Redis should be set up better", extra={"event": "redis_warning", "what": warning})
        self._start_comfy(name)
        self._make_parts(storage)
        self._start_threads()

    def open(self) -> None:
        """Fetch from now on: Celery is connected."""
        self.gate.open(STARTING)
        self._card.changed()  # who waits for this worker reads it there

    def work_on(self, job_id: str, *, announce: Callable[[Progress], None]) -> str:
        """Work on the job that a message names; returns what became of it."""
        if self._stopping.is_set() or self._told is not None:
            # Fetched in the moment in which the drain began: the steward rings for it again.
            return "dropped: this worker leaves"

        def note(progress: Progress) -> None:
            if self._jobs.get(job_id) is None or self._jobs[job_id].phase != progress.phase:
                self._card.changed()
            self._jobs[job_id] = progress
            self._paces.setdefault(job_id, Pace()).note(progress)
            announce(progress)

        try:
            return attempt(job_id, self._parts, announce=note)
        finally:
            self._jobs.pop(job_id, None)
            self._paces.pop(job_id, None)
            self._card.changed()

    def drain(self) -> None:
        """Fetch nothing more; give what still renders after the grace back, so that it runs elsewhere."""
        self.gate.close(_DRAINING)
        self._stopping.set()
        log.info("Draining", extra={"event": "draining", "jobs": list(self._jobs)})
        self._hand_over(self._worker.drain_grace_s, reason=f"{self._name} leaves")

    def _hand_over(self, grace_s: float, *, reason: str) -> None:
        """Let end what will end within the grace, and give the rest back at once."""
        began = time.monotonic()
        while held := [lease for lease in self._keeper.leases() if not lease.released]:
            spent_s = time.monotonic() - began
            for lease in held:
                if not self._fits(lease, grace_s - spent_s, spent_s):
                    self._give_back(lease, reason)
            time.sleep(0.05)

    def _fits(self, lease: Lease, time_s: float, waited_s: float) -> bool:
        pace = self._paces.get(lease.claim.job_id)
        left_s = pace.left_s() if pace is not None else None
        if left_s is None:
            return waited_s < _UNKNOWN_PACE_S and time_s > 0
        return left_s <= time_s and time_s > 0

    def _give_back(self, lease: Lease, reason: str) -> None:
        claim = lease.claim
        try:
            self._store.release(claim.job_id, claim.attempt, reason=reason)
        except StoreUnavailable:
            log.warning("Not given back; its lease runs out", extra={"event": "release_failed"})
        lease.release()

    def _obey(self) -> None:
        """Do what `farm drain` ordered, or took back."""
        told = self._store.drain_of(self._name)
        if told is self._told:
            return
        self._told = told
        log.info("Drain ordered or taken back", extra={"event": "drain", "told": told})
        if told is None:
            self.gate.open(_DRAINED)
        else:
            self.gate.close(_DRAINED)
        if told is Drain.NOW:
            self._hand_over(0.0, reason=f"{self._name} is drained")
        self._card.changed()

    def _spot_notice(self, notice: Notice) -> None:
        self.gate.close(_SPOT)
        self._card.changed()
        self._hand_over(notice.left_s, reason=f"{self._name} loses its machine")

    def stop(self) -> None:
        """End everything that was started, in reverse; does nothing the second time."""
        self._stopping.set()
        while self._started:
            stop = self._started.pop()
            try:
                stop()
            except Exception:
                log.exception("A part did not stop well", extra={"event": "stop_failed"})

    def _connect(self) -> RedisJobStore:
        bell = CeleryBell(make_app(self._redis), self._redis.namespace)
        store = connect(self._redis, self._store_settings.limits(), bell)
        self._started.append(store.close)
        return store

    def _start_comfy(self, name: str) -> None:
        self._supervisor = ComfySupervisor.for_this_machine(self._worker, name=name, on_state=self._comfy_is)
        self._gpu = self._supervisor.gpu
        self._started.append(self._supervisor.stop)
        self._hold_card()
        self._plan_check = PlanCheck(
            self._supervisor.proof,
            lambda: self._supervisor.generation,
            self.gate,
            strict=self._worker.strict,
        )
        self._recycler = recycler_of(self._supervisor, self._worker)
        self._try_nvenc()
        self._supervisor.start()
        self._vram_gib = self._supervisor.vram_class_gib

    def _try_nvenc(self) -> None:
        if self._gpu is None or self._gpu.has_nvenc is False:
            return
        self._nvenc = try_nvenc(self._gpu.uuid)
        if self._gpu.has_nvenc and not self._nvenc.usable:
            log.warning(
                "The card's video encoder does not work; clips are encoded on the CPU",
                extra={"event": "nvenc_unusable", "reason": self._nvenc.reason},
            )

    def _hold_card(self) -> None:
        """Keep the card for this worker across containers too, which share no lock files."""
        if self._gpu is None or self._supervisor.target.kind is not ComfyKind.INSTALLED:
            return
        lock = f"gpu:{self._gpu.uuid}"
        if not self._store.acquire(lock, self._name, ttl_s=TTL_S):
            uuid = self._gpu.uuid
            cards = [card for card in self._store.workers() if (card.get("gpu") or {}).get("uuid") == uuid]
            raise InUse(
                f"GPU {self._gpu.index} ({self._gpu.name}, {uuid})",
                str(cards[0]["name"]) if cards else "another worker of this farm",
                f"one worker per card; a worker that died lets go of it within {TTL_S:g} s",
            )
        self._started.append(lambda: self._store.unlock(lock, self._name))

    def _keep_card(self) -> None:
        if self._gpu is not None and self._supervisor.target.kind is ComfyKind.INSTALLED:
            self._store.acquire(f"gpu:{self._gpu.uuid}", self._name, ttl_s=TTL_S)

    def _make_parts(self, storage: S3Storage) -> None:
        settings = self._store_settings
        self._keeper = LeaseKeeper(self._connect(), renew_s=settings.renew_s, lease_s=settings.lease_s)
        publisher = S3Publisher(storage)
        self._started.append(publisher.close)
        self._definitions = Definitions(self._store)
        self._card = CardKeeper(self._connect(), self._name, self._describe)
        self._wellness = Wellness(
            self.gate,
            self._supervisor,
            first_probe_s=self._worker.probe_after_s,
            card_trouble=lambda: str(self._watch.trouble) if self._watch and self._watch.trouble else None,
            on_change=self._card.changed,
        )
        self._parts = Parts(
            name=self._name,
            store=self._store,
            keeper=self._keeper,
            gate=self.gate,
            comfy=OwnComfy(self._supervisor),
            inputs=InputCache(self._worker.data_dir / "inputs", storage=storage, settings=self._worker),
            publisher=publisher,
            scratch=self._worker.data_dir / "scratch",
            facts=self._facts,
            renew_s=settings.renew_s,
            previews=self._worker.previews,
            on_failed=self._wellness.failed,
            on_succeeded=self._wellness.succeeded,
            after_render=self._after_render,
        )

    def _start_threads(self) -> None:
        steward = Steward(self._connect(), sweep_s=self._store_settings.sweep_s, holder=self._name)
        listener = threading.Thread(target=self._hear_cancels, name="cancels", daemon=True)
        self._obey()  # an order outlives the worker that it was given to
        for start, stop in (
            (self._keeper.start, self._keeper.stop),
            (self._wellness.start, self._wellness.stop),
            (steward.start, steward.stop),
            (self._card.start, self._card.stop),
        ):
            start()
            self._started.append(stop)
        if self._gpu is not None:
            self._watch = GpuWatch(self._gpu, self._card_is)
            self._watch.start()
            self._started.append(self._watch.stop)
        self._start_spot_watch()
        listener.start()
        # Before the store is closed under it.
        self._started.append(listener.join)

    def _start_spot_watch(self) -> None:
        spot, command = self._worker.spot, self._worker.spot_command
        if spot is None:
            return
        if spot == "command":
            ask = Command(command or "false", left_s=self._worker.drain_grace_s).ask
        else:
            ask = Metadata(spot, base_url=self._worker.spot_url).ask
        watch = SpotWatch(ask, self._spot_notice)
        watch.start()
        self._started.append(watch.stop)

    def _hear_cancels(self) -> None:
        """A cancel is in force by the next renewal; this makes it milliseconds instead of seconds."""
        while not self._stopping.is_set():
            try:
                feed = self._store.listen_control()
                try:
                    while not self._stopping.is_set():
                        heard = feed.next(_CANCEL_POLL_S)
                        if heard:
                            self._keeper.renew_now()
                        elif heard is not None:
                            self._obey()
                finally:
                    feed.close()
            except StoreUnavailable:
                self._stopping.wait(1.0)
            except Exception:
                log.exception("Listening for cancels failed", extra={"event": "cancel_feed_failed"})
                self._stopping.wait(1.0)

    def _comfy_is(self, state: ComfyState, failure: WorkerError | None) -> None:
        self._state, self._failure = state, failure
        if state is ComfyState.READY:
            if self._plan_check is not None:
                self._plan_check.look()
            self.gate.open(_COMFY_DOWN)
        else:
            self.gate.close(_COMFY_DOWN)
        if hasattr(self, "_card"):
            self._card.changed()

    def _card_is(self, trouble: GpuUnusable | None) -> None:
        """Never on the CPU instead: a worker whose card went takes no job until it is back."""
        if trouble is None:
            self.gate.open(_CARD_TROUBLE)
        else:
            self.gate.close(_CARD_TROUBLE)
        self._card.changed()

    def _facts(self) -> dict[str, Any]:
        return worker_facts(self._name, self._gpu, self._supervisor)

    def _describe(self) -> Mapping[str, Any]:
        """The card, as it is now."""
        self._keep_card()
        self._obey()
        self._share_definitions()
        illness = self._wellness.quarantine.illness
        return {
            **self._facts(),
            "pid": os.getpid(),
            **resources_now(self._watch, self._supervisor, self._folders()),
            "vram_gib": self.vram_gib,
            "state": self._state.value,
            "not_fetching": sorted(self.gate.closed_for),
            "trouble": self._trouble(),
            "drain": self._told.value if self._told else None,
            "quarantine": {"code": illness.code, "reason": illness.reason, "probes": illness.probes}
            if illness
            else None,
            "nvenc": asdict(self._nvenc) if self._nvenc else None,
            "proof": self._proof_facts(),
            "jobs": {job_id: asdict(progress) for job_id, progress in list(self._jobs.items())},
            DEFINITIONS_FIELD: self._definitions.digest,
        }

    def _trouble(self) -> str | None:
        """What keeps it from working, for a person."""
        card = self._watch.trouble if self._watch is not None else None
        if card or self._failure:
            return str(card or self._failure)
        illness = self._wellness.quarantine.illness
        return f"out of service: {illness.reason}" if illness is not None else None

    def _folders(self) -> dict[str, Path]:
        """Where models are, and where a worker writes."""
        models = models_folder(self._worker)
        named = {"work": self._worker.data_dir}
        return named | {"models": models} if models is not None else named

    def _proof_facts(self) -> dict[str, Any] | None:
        if self._plan_check is None:
            return None
        self._plan_check.look()
        return asdict(self._plan_check.proof) if self._plan_check.proof is not None else None

    def _after_render(self) -> None:
        """Between two jobs: the first one's loads are proof, and what a job left behind is looked at."""
        try:
            if self._plan_check is not None:
                self._plan_check.look(after_job=True)
            self._recycler.after_job(self._supervisor.generation)
        except Exception:
            # A look must not cost the job that was rendered.
            log.exception("Not looked at between two jobs", extra={"event": "after_render_failed"})

    def _share_definitions(self) -> None:
        """Let producers check their jobs against what this ComfyUI has; model files come and go."""
        if self._state is not ComfyState.READY or not self._definitions.due(self._supervisor.generation):
            return
        try:
            info = self._supervisor.client().object_info()
        except (ComfyError, WorkerError) as exc:
            log.info("Definitions not read", extra={"event": "definitions_unread", "reason": str(exc)})
            return
        self._definitions.share(info, generation=self._supervisor.generation)
