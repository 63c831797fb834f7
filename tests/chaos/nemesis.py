"""Does to an arena what a schedule says, and takes it back."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil
import redis

from farm.errors import FarmError
from farm.job import JobState
from farm.store.base import Ring
from tests.chaos.arena import Arena, go_on, stop, wait_for_port
from tests.chaos.schedule import Fault, Planned
from tests.support.fault_proxy import FaultProxy, Mode

_GARBAGE: tuple[bytes, ...] = (
    b"this is no JSON",
    b"{}",
    b'{"body":"e30=","headers":{},"properties":{}}',
    b'{"body":"W10=","content-encoding":"utf-8","content-type":"application/x-pickle","headers":{}}',
)

_ALREADY_BROKEN = (FarmError, redis.RedisError, psutil.Error, OSError, IndexError, StopIteration)


class Nemesis:
    """Plays faults on an arena; those that last some time are over when `play` returns."""

    def __init__(self, arena: Arena, *, lease_s: float) -> None:
        self._arena = arena
        self._lease_s = lease_s
        self._does: dict[Fault, Callable[[int], None]] = {
            Fault.WORKER_KILL: lambda place: arena.signal(place, signal.SIGKILL),
            Fault.WORKER_DRAIN: lambda place: arena.signal(place, signal.SIGTERM),
            Fault.WORKER_FREEZE: lambda place: self._freeze_worker(place, 2 * lease_s),
            Fault.WORKER_NAP: lambda place: self._freeze_worker(place, lease_s / 2),
            Fault.COMFY_KILL: lambda place: self._with_comfy(place, lambda comfy: comfy.kill()),
            Fault.COMFY_FREEZE: lambda place: self._with_comfy(place, lambda comfy: comfy.suspend()),
            Fault.VALKEY_KILL: lambda _: self._restart_valkey(),
            Fault.VALKEY_FREEZE: lambda _: self._freeze(arena.valkey.pid, 1.5),
            Fault.S3_KILL: lambda _: self._restart_s3(),
            Fault.S3_FREEZE: lambda _: self._freeze(arena.s3.process.pid if arena.s3.process else 0, 2.0),
            Fault.REDIS_CUT: lambda place: arena.redis_links[place].reset_all(),
            Fault.REDIS_BLACKHOLE: lambda place: self._blackhole(arena.redis_links[place]),
            Fault.REDIS_SLOW: lambda place: self._slow(arena.redis_links[place]),
            Fault.PRODUCER_CUT: lambda _: arena.producer_link.reset_all(),
            Fault.S3_CUT: lambda place: arena.s3_links[place].cut_after(2000),
            Fault.S3_BLACKHOLE: lambda place: self._blackhole(arena.s3_links[place]),
            Fault.CLIENT_KILL: lambda _: self._kill_clients(),
            Fault.IDLE_FREEZE: self._freeze_idle,
            Fault.BELLS_TWICE: lambda _: self._ring_all(),
            Fault.BELLS_GONE: lambda _: self._forget_bells(),
            Fault.GARBAGE: lambda _: self._push_garbage(),
            Fault.CANCEL: self._cancel,
            Fault.POISON: lambda _: self._poison(),
        }
        self.running: list[tuple[Fault, float, int]] = []  # kind, when, jobs in flight

    def play(self, planned: list[Planned]) -> None:
        """Play a schedule from now on; returns when the last fault is over."""
        began = time.monotonic()
        threads = []
        for each in planned:
            time.sleep(max(0.0, began + each.at_s - time.monotonic()))
            self.running.append((each.kind, time.time(), self._in_flight()))
            place = each.target % len(self._arena.places)
            # Faults overlap: each lasts as long as it lasts.
            thread = threading.Thread(target=self._do, args=(each.kind, place), daemon=True)
            thread.start()
            threads.append(thread)
        for thread in threads:
            thread.join()

    def _do(self, kind: Fault, place: int) -> None:
        # What a fault wants to break may be broken already.
        with contextlib.suppress(
            FarmError, redis.RedisError, psutil.Error, OSError, IndexError, StopIteration
        ):
            self._does[kind](place)

    def _in_flight(self) -> int:
        with contextlib.suppress(FarmError):
            return self._arena.farm.farm.counts().by_state.get(JobState.RUNNING, 0)
        return 0

    def _freeze(self, pid: int, seconds: float) -> None:
        if pid:
            stop(pid)
            time.sleep(seconds)
            go_on(pid)

    def _freeze_worker(self, place: int, seconds: float) -> None:
        worker = self._arena.places[place]
        if worker is not None:
            self._freeze(worker.child.pid, seconds)

    def _with_comfy(self, place: int, act: Callable[[psutil.Process], Any]) -> None:
        worker = self._arena.places[place]
        if worker is not None:
            act(worker.comfy())

    def _restart_valkey(self) -> None:
        self._arena.valkey.kill()
        time.sleep(0.7)
        self._arena.valkey.start()

    def _restart_s3(self) -> None:
        self._arena.s3.kill()
        time.sleep(1.0)
        self._arena.s3.start()
        wait_for_port(self._arena.s3.server.port)

    def _blackhole(self, link: FaultProxy) -> None:
        link.mode = Mode.BLACKHOLE
        time.sleep(1.5 * self._lease_s)
        link.mode = Mode.PASS

    def _slow(self, link: FaultProxy) -> None:
        link.latency_s = 0.1
        time.sleep(2.0)
        link.latency_s = 0.0

    def _kill_clients(self) -> None:
        with self._arena.direct() as client:
            for kind in ("normal", "pubsub"):
                client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")

    def _freeze_idle(self, place: int) -> None:
        pids = [worker.child.pid for worker in self._arena.workers()]
        for pid in pids:
            stop(pid)
        self._arena.submit(steps=4)
        self._arena.signal(place, signal.SIGKILL)
        for pid in pids:
            go_on(pid)

    def _ring_all(self) -> None:
        store = self._arena.farm.farm.store
        for job in list(self._arena.accepted):
            queue = job.refresh().record.queue
            store.ring([Ring(job_id=job.job_id, queue=queue, priority=5, title="again", front=False)])

    def _forget_bells(self) -> None:
        with self._arena.direct() as client:
            for key in client.scan_iter(match="{chaos}:q:render.*", _type="list"):
                client.delete(key)

    def _push_garbage(self) -> None:
        store = self._arena.farm.farm.store
        queue = self._arena.accepted[0].refresh().record.queue
        with self._arena.direct() as client:
            for message in _GARBAGE:
                client.lpush(f"{{chaos}}:q:{queue}:5", message)
        for strange in ("0" * 32, "../../etc/passwd"):
            store.ring([Ring(job_id=strange, queue=queue, priority=5, title="?", front=False)])

    def _cancel(self, target: int) -> None:
        dice = random.Random(target)  # must be repeatable
        job = dice.choice([job for job in self._arena.accepted if job.job_id not in self._arena.poison])
        self._arena.farm.farm.cancel(job.job_id)
        record = job.refresh().record
        if record.state is JobState.CANCELED:
            self._arena.canceled.setdefault(job.job_id, time.time())

    def _poison(self) -> None:
        self._arena.poison.add(self._arena.submit(steps=40, labels=["poison"]).job_id)
