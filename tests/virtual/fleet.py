"""Workers under a virtual clock: the farm's own steward, leases and attempts; storage and renders are not."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from comfy.errors import RunFailed
from comfy.rewrites.optimize import Optimized
from farm.errors import FarmError, StorageUnavailable, StoreUnavailable, TransferStopped
from farm.job import Artifact, JobResult
from farm.status.not_fetching import NotFetching
from farm.status.worker import WorkerFacts, WorkerStatus
from farm.store.base import StoreLimits
from farm.store.redis.safety import Safety
from farm.store.redis.store import RedisJobStore
from farm.testing import PlainNotifier
from farm.upkeep.steward import Steward
from tests.chaos.history import Death, Harm, Run
from tests.virtual.loop import Loop, Process, VirtualEvent
from tests.virtual.valkey import VirtualClient, VirtualValkey
from worker.errors import AttemptStopped, ComfyDied
from worker.fetching.gate import Gate, Ticket
from worker.jobs.at_work import AtWork
from worker.jobs.context import AttemptContext, RenderContext
from worker.jobs.lease import LeaseKeeper
from worker.jobs.names import run_folder
from worker.results.publish import LocalOutput
from worker.results.rendered import Rendered
from worker.results.republish import Republisher
from worker.results.retained import RetainedRenders
from worker.results.storage_watch import StorageWatch
from worker.service.desk import Desk
from worker.service.draining import Draining
from worker.service.epoch import EpochWatch
from worker.service.giving_way import GivingWay
from worker.service.health import Health

NAMESPACE: Final = "virtual"
NOTIFIER: Final = PlainNotifier(f"{{{NAMESPACE}}}:q:")
RENEW_S, SWEEP_S, GRACE_S = 3.0, 1.0, 4.0
_GRACE_S: Final = 20.0  # that a process that leaves has
_STATUS_S, _STATUS_TTL_S = 3.0, 10.0
_FETCH_S: Final = 1.0  # after which a fetch that found nothing is made anew, as Celery's is
_PATIENCE_S: Final = 60.0  # FARM_PUBLISH_PATIENCE_S
_HOLD_S: Final = 3600.0
_STEP_S: Final = 0.5  # of a render, after which it looks whether it is to stop
_POSTED: Final = b"a clip"


class _Hooks:
    """What of a worker wants to know of attempts; see `worker.jobs.context.AttemptHooks`."""

    def __init__(self, health: Health, watch: StorageWatch, gate: Gate, draining: Draining) -> None:
        self.on_succeeded, self.on_failed = health.succeeded, health.failed
        self.on_doubted, self.on_storage = health.doubted, watch.note
        self.drains, self._gate = draining.ends_within, gate

    def may_publish(self) -> bool:
        return self._gate.has_room_to_publish

    def facts(self) -> WorkerFacts:
        return WorkerFacts()

    def machine_trouble(self) -> None:
        return None

    def sizes_of(self, _files: object) -> dict[str, int]:
        return {}

    def printed_for(self, _began_s: float, _ended_s: float, _ran_s: float | None = None) -> tuple[str, ...]:
        return ()

    def card_during(self, _began_s: float, _ended_s: float) -> None:
        return None

    def said_at_start(self) -> tuple[str, ...]:
        return ()

    def on_report(self, _report: object) -> None: ...

    def after_render(self) -> None: ...

    def on_rendered(self, _graph: object) -> None: ...


@dataclass
class World:
    """Everything outside the processes of a play, and what is known of it."""

    loop: Loop
    valkey: VirtualValkey
    folder: Path
    limits: StoreLimits
    queues: Sequence[str]
    waits_for_file: bool  # FARM_DURABLE=fsync
    objects: dict[str, str] = field(default_factory=dict)  # what lies in the storage
    storage_away_until_s: dict[str, float] = field(default_factory=dict)  # by worker, or "" for everybody
    runs: list[Run] = field(default_factory=list)
    deaths: list[Death] = field(default_factory=list)
    harms: list[Harm] = field(default_factory=list)
    outages: list[tuple[float, float]] = field(default_factory=list)
    able: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def store_of(self, process: Process) -> RedisJobStore:
        """A store with connections of that process."""
        client: Any = VirtualClient(self.valkey, process)
        return RedisJobStore(
            client,
            namespace=NAMESPACE,
            limits=self.limits,
            notifier=NOTIFIER,
            safety=Safety(fsync=self.waits_for_file),
        )

    def seam(self, process: Process, name: str, *, done: bool) -> None:
        """A process is about to do something, or has done it."""
        self.valkey.spring(process, [name], answered=done)

    def harm(self, kind: str, *explains: str, lasts_s: float = 0.0, worker: str | None = None) -> None:
        """Note a fault that begins now."""
        now_s = self.loop.now_s
        self.harms.append(
            Harm(
                kind=kind,
                since_s=now_s,
                until_s=now_s + lasts_s,
                explains=frozenset(explains),
                worker=worker,
            )
        )

    def lose_messages(self) -> None:
        """Jobs may wait now although nobody is told of them, until they are noticed."""
        now_s = self.loop.now_s
        self.outages.append((now_s, now_s + self.limits.notify_again_after_s + 2 * SWEEP_S))

    def storage_away(self, worker: str) -> bool:
        """Whether the storage takes nothing from a worker now."""
        return any(self.loop.now_s < self.storage_away_until_s.get(name, 0.0) for name in ("", worker))


class PlayedStorage:
    """The publisher of a worker, and its clean-up."""

    def __init__(self, world: World, process: Process, gate: Gate, waits: Callable[[], bool]) -> None:
        self._world = world
        self._process = process
        self._gate = gate
        self._waits = waits

    def publish(
        self, job_id: str, token: str, outputs: Sequence[LocalOutput], manifest: Any, **given: Any
    ) -> JobResult:
        """Store the one clip and its manifest, in a second or two."""
        del manifest
        stop: VirtualEvent = given["stop"]
        self._world.seam(self._process, "publish", done=False)
        loop, until_s = self._world.loop, self._world.loop.now_s + _PATIENCE_S
        while True:
            if stop.wait(loop.dice.uniform(0.5, 2.0)):
                raise TransferStopped("published no further")
            if not self._world.storage_away(self._process.name):
                break
            if loop.now_s > until_s or self._gate.crowded or self._waits():
                raise StorageUnavailable("s3", "it does not answer")
        sha256 = hashlib.sha256(outputs[0].path.read_bytes()).hexdigest()
        prefix = f"jobs/{job_id}/{token}/"
        self._world.objects |= {f"{prefix}clip.mp4": sha256, f"{prefix}manifest.json": "manifest"}
        self._world.seam(self._process, "publish", done=True)
        artifact = Artifact(key=f"{prefix}clip.mp4", size_bytes=6, sha256=sha256, media_type="video/mp4")
        return JobResult(bucket="farm", artifacts=(artifact,), manifest_key=f"{prefix}manifest.json")

    def discard(self, job_id: str, token: str) -> None:
        """Remove what that claim has stored."""
        self._world.seam(self._process, "discard", done=False)
        if self._process.alive and not self._world.storage_away(self._process.name):
            for key in [key for key in self._world.objects if key.startswith(f"jobs/{job_id}/{token}/")]:
                del self._world.objects[key]

    def check(self) -> None:
        """Raise while the storage is away."""
        if self._world.storage_away(self._process.name):
            raise StorageUnavailable("s3", "it does not answer")


class PlayedComfy:
    """The ComfyUI of a worker: what it breaks, and the files that it leaves."""

    def __init__(self, world: World, process: Process, folder: Path) -> None:
        self._world = world
        self._process = process
        self._folder = folder
        self.broken_install = False
        self.dies = False  # under the run that it has now

    def render(self, context: RenderContext) -> Rendered:
        """A run of some seconds, as `worker.jobs.render.render` tells of it."""
        loop, claim, stop = self._world.loop, context.claim, context.stop
        context.prove()
        if stop.is_set():
            raise AttemptStopped(f"job {claim.job_id} was stopped before it ran")
        self.dies = False
        self._world.runs.append(
            Run(
                job_id=claim.job_id,
                attempt=claim.attempt,
                started_s=loop.now_s,
                worker=self._process.name,
            )
        )
        self._world.seam(self._process, "render", done=False)
        until_s = loop.now_s + float(claim.spec.parameters["3.seconds"])
        while loop.now_s < until_s:
            if stop.wait(min(_STEP_S, until_s - loop.now_s)):
                raise AttemptStopped(f"job {claim.job_id} was stopped")
            if self.dies:
                raise ComfyDied(-9)
            if self.broken_install:
                raise RunFailed(
                    prompt_id=claim.token,
                    exception_type="ImportError",
                    exception_message="cannot import name 'flash_attn'",
                    node_id="3",
                    node_type="KSampler",
                )
        file = self._folder / run_folder(claim) / "clip.mp4"
        file.parent.mkdir(parents=True)
        file.write_bytes(_POSTED + claim.token.encode())
        self._world.seam(self._process, "render", done=True)
        return Rendered(
            outputs=(LocalOutput(path=file, node_id="9", filename="clip.mp4"),),
            graph={},
            changes=(),
            fitted=Optimized(graph={}, outcomes=()),
        )

    def clean(self, folder: str) -> None:
        """Remove a run's folder."""
        if self._process.alive:
            shutil.rmtree(self._folder / folder, ignore_errors=True)

    def request_restart(self, reason: str) -> None:
        """Another process is there for the next job."""

    def settle(self) -> None:
        """All is as planned."""

    def offers(self) -> frozenset[Any]:
        """Nothing to fall back on."""
        return frozenset()


class PlayedWorker:
    """One place of the fleet; who ends there is started again after a while."""

    def __init__(self, world: World, number: int, vram_gib: int) -> None:
        self.name = f"w{number}"
        self._world = world
        self._vram_gib = vram_gib
        self._folder = world.folder / self.name
        self._lists = [NOTIFIER.list_key(queue, priority) for priority in range(10) for queue in world.queues]
        self.drains = False
        self._fetched_us = 0  # when it last took a message
        self._gate: Gate | None = None  # of the process that lives here now; None: it is starting
        self.launch()

    def launch(self) -> None:
        """Start a process here; it takes some seconds until it fetches."""
        world = self._world
        self.process = Process(self.name)
        self.drains = False
        self.comfy = PlayedComfy(world, self.process, self._folder / "output")
        world.loop.spawn(self.process, self._live)

    def kill(self) -> None:
        """End the process without a word; another one starts soon."""
        loop = self._world.loop
        if self.process.alive:
            self._world.deaths.append(Death(worker=self.name, at_s=loop.now_s))
            self._world.harm("killed", "lost", worker=self.name)
            self._drop_message()
            self._end()

    def freeze(self, seconds: float) -> None:
        """It does nothing for a while, and then goes on."""
        loop, limits = self._world.loop, self._world.limits
        # A short sleep costs nothing, unless it takes the time in which leases are renewed after an outage.
        if seconds > limits.lease_s - RENEW_S or self._world.valkey.is_down:
            self._world.harm("frozen", "lost", lasts_s=seconds, worker=self.name)
        if seconds > limits.lease_s:
            self._world.deaths.append(Death(worker=self.name, at_s=loop.now_s))
        self._drop_message()
        self.process.thaws_us = loop.now_us + round(seconds * 1e6)

    def terminate(self) -> None:
        """SIGTERM."""
        if self.process.alive and not self.drains:
            self.drains = True
            self._world.harm(
                "terminated", "released", "lost", "unpublished", lasts_s=_GRACE_S, worker=self.name
            )
            self._world.loop.spawn(self.process, self._leave)

    def cut_off(self, seconds: float) -> None:
        """Nothing passes between it and Valkey for a while."""
        self._world.valkey.silence(self.process, seconds)
        self._world.harm("silence", "lost", lasts_s=seconds, worker=self.name)
        self._drop_message()

    def _drop_message(self) -> None:
        """What it has fetched and not claimed yet, nobody else hears of."""
        if self._fetched_us > self._world.valkey.claimed_us.get(self.name, 0):
            self._world.lose_messages()

    @property
    def repairs(self) -> bool:
        """Whether its steward could do something now."""
        up = self.process.alive and self._gate is not None
        return (
            up and self.process.thaws_us <= self._world.loop.now_us and self._world.valkey.hears(self.process)
        )

    @property
    def takes_jobs(self) -> bool:
        """Whether it would fetch now, if its card were free."""
        return self.repairs and self._gate is not None and not self._gate.closed_for

    def _end(self) -> None:
        self._gate = None
        self._world.loop.kill(self.process)
        keeper = Process(f"init of {self.name}")
        self._world.loop.spawn(keeper, self.launch, after_s=self._world.loop.dice.uniform(0.5, 3.0))

    def _live(self) -> None:
        world, loop, process = self._world, self._world.loop, self.process
        loop.sleep(loop.dice.uniform(2.0, 8.0))
        store = world.store_of(process)
        clock = loop._monotonic
        gate = Gate(clock=clock)
        self._gate = gate
        keeper = LeaseKeeper(world.store_of(process), renew_s=RENEW_S, lease_s=world.limits.lease_s)
        at_work = AtWork()
        retained = RetainedRenders(self._folder / "kept", limit_bytes=1000)
        health = Health(
            gate,
            lambda: "it is broken" if self.comfy.broken_install else None,
            first_probe_s=10.0,
            card_trouble=lambda: None,
            disk_is_full=lambda: False,
            briefs=store.briefs,
            judged_elsewhere=lambda: [each.judged for each in store.workers() if each.name != self.name],
            on_change=lambda: None,
        )
        health.quarantine._clock = clock
        watch = StorageWatch(self.name, gate, store, retained, clock=clock)
        storage = PlayedStorage(world, process, gate, lambda: bool(retained.all()))
        self._draining = Draining(
            self.name, store, gate, keeper, at_work, EpochWatch(store), on_change=lambda: None
        )
        context: Any = AttemptContext(
            name=self.name,
            store=store,
            keeper=keeper,
            comfy=self.comfy,  # type: ignore[arg-type]
            fitter=SimpleNamespace(),
            inputs=SimpleNamespace(release=lambda _token: None),  # type: ignore[arg-type]
            publisher=storage,  # type: ignore[arg-type]
            retained=retained,
            hold_limit_s=_HOLD_S,
            scratch=self._folder / "scratch",
            hooks=_Hooks(health, watch, gate, self._draining),
            renew_s=RENEW_S,
            inputs_time_s=600.0,
            previews=False,
            prompt_metadata=False,
        )

        draining = self._draining
        giving_way = GivingWay(
            self.name,
            store,
            sweep_s=SWEEP_S,
            leaves=lambda: draining.takes_no_job,
            sleep=loop.sleep,
            clock=clock,
        )
        desk = Desk(context, at_work, draining, giving_way, threading.Event(), lambda _job_id, _told: None)
        republisher = Republisher(
            self.name,
            retained,
            world.store_of(process),
            watch,
            ask_storage=storage.check,
            publish=desk.publish,
            hold_limit_s=_HOLD_S,
        )
        steward = Steward(world.store_of(process), holder=self.name, sweep_s=SWEEP_S, grace_s=GRACE_S)
        for part in (steward, keeper, health, republisher):
            part.start()
        loop.spawn(process, lambda: self._tell_status(store, gate, health, watch))
        gate.open(NotFetching.STARTING)
        self._consume(gate, desk)

    def _consume(self, gate: Gate, desk: Desk) -> None:
        """Fetch a message when the card is free; as with Celery, it is off its list then."""
        loop, process = self._world.loop, self.process
        awake = VirtualEvent(loop)
        gate.wake_with(awake.set)
        self._world.valkey.wake_on_push(process, awake)
        while True:
            awake.clear()
            if not gate.may_fetch(0):
                awake.wait(_FETCH_S)
                continue
            message = None
            with contextlib.suppress(Exception):
                (found,) = self._world.valkey.ask(
                    process, [("LMPOP", len(self._lists), *self._lists, "RIGHT")]
                )
                message = found and found[1][0]
            if message is None:
                awake.wait(_FETCH_S)
                continue
            self._fetched_us = loop.now_us
            held = ExitStack()
            ticket = held.enter_context(gate.work())
            loop.spawn(process, partial(_work, desk, message, held, ticket))

    def _tell_status(self, store: RedisJobStore, gate: Gate, health: Health, watch: StorageWatch) -> None:
        while True:
            status = WorkerStatus(
                name=self.name,
                vram_gib=self._vram_gib,
                not_fetching=tuple(sorted(gate.closed_for)),
                storage=watch.status(),
                judged=health.suspicion.status(),
            )
            with contextlib.suppress(FarmError):
                store.put_worker(status, ttl_s=_STATUS_TTL_S)
            self._world.loop.sleep(_STATUS_S)

    def _leave(self) -> None:
        if self._gate is not None:
            self._draining.end(_GRACE_S)
        self._end()


def _work(desk: Desk, message: bytes, held: ExitStack, ticket: Ticket) -> None:
    with held, contextlib.suppress(StoreUnavailable):
        desk.work_on(NOTIFIER.job_id_of(message), priority=None, turn=ticket)
