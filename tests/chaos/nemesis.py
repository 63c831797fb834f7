"""Does to an arena what a schedule says, and takes it back."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import psutil
import pynvml
import redis

from farm.errors import FarmError
from farm.store.base import Ring
from tests.chaos.arena import ROOT, Arena
from tests.chaos.history import Death
from tests.chaos.place import Place
from tests.chaos.schedule import AT_ONE_PLACE, Fault, Planned
from tests.support.fault_proxy import FaultProxy, Mode
from tests.support.valkey import eventually

_GARBAGE: Final[tuple[bytes, ...]] = (
    b"this is no JSON",
    b"{}",
    b'{"body":"e30=","headers":{},"properties":{}}',
    b'{"body":"W10=","content-encoding":"utf-8","content-type":"application/x-pickle","headers":{}}',
)
_LONGEST_WAIT_S: Final = 2.0  # between two looks of a steward for a store that is away
_CARD_GONE_S: Final = 7.0  # longer than a worker's look at its card takes to come round
_PATIENCE_S: Final = 4.0  # at most, for a job to run where the next fault strikes
# How people and init systems end a process that does not leave fast enough for them.
_WAYS_OUT: Final = (
    (signal.SIGTERM, signal.SIGTERM),
    (signal.SIGTERM, signal.SIGKILL),
    (signal.SIGQUIT,),
    (signal.SIGINT,),
)
_HOUR_S: Final = 3600.0
# What a fault wants to break may be broken already.
_ALREADY_BROKEN: Final = (
    FarmError,
    redis.RedisError,
    psutil.Error,
    OSError,
    IndexError,
    StopIteration,
    ValueError,
    subprocess.SubprocessError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Struck:
    """A fault that was played, and whom it could hit."""

    kind: Fault
    at_s: float  # since the epoch
    running: tuple[tuple[str, int], ...]  # job and attempt, at its place or anywhere
    unended: frozenset[str]  # ids of all jobs that it could hit


class Nemesis:
    """Plays faults on an arena; those that last some time are over when `play` returns."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._repair_begins_s = _LONGEST_WAIT_S + arena.farm.store.grace_s
        self._lease_s = lease_s = arena.farm.store.lease_s
        self._valkey_turn, self._s3_turn = threading.Lock(), threading.Lock()
        self._at: dict[Fault, Callable[[Place], Any]] = {
            Fault.WORKER_KILL: arena.kill,
            Fault.WORKER_DRAIN: lambda place: place.signal(signal.SIGTERM),
            Fault.WORKER_QUIT: self._quit,
            Fault.WORKER_NAP: lambda place: self._freeze_worker(place, 0.5 * lease_s),
            Fault.WORKER_FREEZE: lambda place: self._freeze_worker(place, 2 * lease_s),
            Fault.WORKER_SLEEP: lambda place: self._freeze_worker(place, 10 * lease_s),
            Fault.COMFY_KILL: lambda place: place.worker.comfy().kill(),
            Fault.COMFY_NAP: lambda place: _freeze(place.worker.comfy(), 0.5 * lease_s),
            Fault.COMFY_FREEZE: lambda place: place.worker.comfy().suspend(),
            Fault.COMFY_FORGETS: lambda place: place.misbehave(
                json.dumps([{"kind": "forget_history"}, {"kind": "lose_queue"}])
            ),
            Fault.REDIS_CUT: lambda place: place.redis_link.reset_all(),
            Fault.REDIS_BLACKHOLE: lambda place: self._cut_off(place, Mode.BLACKHOLE),
            Fault.REDIS_MUTE: lambda place: self._cut_off(place, Mode.MUTE),
            Fault.REDIS_SLOW: lambda place: _slow(place.redis_link, latency_s=0.1),
            Fault.S3_CUT: lambda place: place.s3_link.cut_after(2000),
            Fault.S3_BLACKHOLE: lambda place: _hold(place.s3_link, Mode.BLACKHOLE, 1.5 * lease_s),
            Fault.S3_SLOW: lambda place: _slow(place.s3_link, bytes_per_s=4000.0),
            Fault.CABLE: self._pull_cable,
            Fault.CLOCK: self._jump_clock,
            Fault.CARD_LOST: self._lose_card,
            Fault.DISK_FULL: self._fill_disk,
        }
        self._anywhere: dict[Fault, Callable[[random.Random], Any]] = {
            Fault.STEWARD_KILL: lambda _: self._kill_steward(),
            Fault.VALKEY_KILL: lambda _: self._restart_valkey(0.7),
            Fault.VALKEY_AWAY: lambda _: self._restart_valkey(1.5 * lease_s),
            Fault.VALKEY_FREEZE: lambda _: self._freeze_valkey(),
            Fault.VALKEY_FULL: lambda _: self._fill_valkey(),
            Fault.S3_KILL: lambda _: self._restart_s3(),
            Fault.S3_FREEZE: lambda _: self._freeze_s3(),
            Fault.PRODUCER_CUT: lambda _: arena.producer_link.reset_all(),
            Fault.CLIENT_KILL: lambda _: self._kill_clients(times=1),
            Fault.CLIENT_STORM: lambda _: self._kill_clients(times=20),
            Fault.IDLE_FREEZE: self._freeze_idle,
            Fault.BELLS_TWICE: lambda _: self._ring_all(),
            Fault.BELLS_GONE: lambda _: self._forget_bells(),
            Fault.GARBAGE: lambda _: self._push_garbage(),
            Fault.SAME_KEY: lambda _: self._submit_many_times(),
            Fault.CANCEL: self._cancel,
            Fault.POISON: lambda _: arena.poison.add(arena.submit(steps=40, labels=["poison"]).job_id),
        }
        self.struck: list[Struck] = []
        self.share = 0.0  # of the schedule that was played

    def play(self, planned: list[Planned]) -> None:
        """Play a schedule from now on; returns when the last fault is over."""
        threads = []
        for number, (before, each) in enumerate(pairwise((None, *planned))):
            assert each is not None
            time.sleep(each.at_s - (before.at_s if before else 0.0))
            self._await_work(self._place(each))
            # Faults overlap: each lasts as long as it lasts.
            thread = threading.Thread(target=self._do, args=(each,), daemon=True)
            thread.start()
            threads.append(thread)
            self.share = (number + 1) / len(planned)
        for thread in threads:
            thread.join()
        self.share = 1.0

    def _place(self, planned: Planned) -> Place:
        return self._arena.places[planned.target % len(self._arena.places)]

    def _await_work(self, place: Place) -> None:
        """A fault that hits nobody shows little, so the schedule waits a while for a job to be there."""
        until = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until and place.worker.name not in self._arena.running().values():
            time.sleep(0.05)

    def _do(self, planned: Planned) -> None:
        kind = planned.kind
        place = self._place(planned)
        self.struck.append(self._aim(kind, place))
        with contextlib.suppress(*_ALREADY_BROKEN):
            if kind in AT_ONE_PLACE:
                self._at[kind](place)
            else:
                self._anywhere[kind](random.Random(planned.target))

    def _aim(self, kind: Fault, place: Place) -> Struck:
        at_s, running = time.time(), self._arena.running()
        if kind in AT_ONE_PLACE:
            running = {each: name for each, name in running.items() if name == place.worker.name}
            unended = frozenset(job_id for job_id, _ in running)
        else:
            unended = frozenset(self._arena.unended())
        return Struck(kind=kind, at_s=at_s, running=tuple(running), unended=unended)

    # -- one place -----------------------------------------------------------------------------------

    def _freeze_worker(self, place: Place, seconds: float) -> None:
        worker = place.worker
        if seconds > self._lease_s:
            self._arena.deaths.append(Death(worker=worker.name, at_s=time.time()))
        with place.hindered():
            _freeze(psutil.Process(worker.child.pid), seconds)

    def _quit(self, place: Place) -> None:
        first, *then = _WAYS_OUT[len(self.struck) % len(_WAYS_OUT)]
        place.signal(first)
        for number in then:
            time.sleep(0.2)
            place.signal(number)

    def _cut_off(self, place: Place, mode: Mode) -> None:
        with place.hindered():
            _hold(place.redis_link, mode, 1.5 * self._lease_s)

    def _pull_cable(self, place: Place) -> None:
        with place.hindered():
            if not place.node.cut_off():  # it has none: let both of its links swallow everything
                place.redis_link.mode = place.s3_link.mode = Mode.BLACKHOLE
            time.sleep(1.5 * self._lease_s)
            place.node.plug_in()
            place.redis_link.mode = place.s3_link.mode = Mode.PASS

    def _jump_clock(self, place: Place) -> None:
        ahead = len(self.struck) % 2 == 0
        place.set_clock(_HOUR_S if ahead else -_HOUR_S)
        time.sleep(2 * self._lease_s)
        place.set_clock(0.0)

    def _lose_card(self, place: Place) -> None:
        with place.hindered():
            place.set_card(pynvml.NVML_ERROR_GPU_IS_LOST)
            time.sleep(_CARD_GONE_S)
            place.set_card(0)

    def _fill_disk(self, place: Place) -> None:
        if place.disk is None:  # no disk of its own: the emulator says what a node says on a full one
            full = {"kind": "raise", "node": "SaveVideo", "error": "OSError"}
            place.misbehave(json.dumps({**full, "message": "[Errno 28] No space left on device"}))
            return
        place.disk.fill()
        time.sleep(self._lease_s)
        place.disk.clear()

    # -- servers -------------------------------------------------------------------------------------

    @contextmanager
    def _outage(self) -> Iterator[None]:
        began_s = time.time()
        try:
            yield
        finally:
            self._arena.outages.append((began_s, time.time() + self._repair_begins_s))

    def _restart_valkey(self, down_s: float) -> None:
        with self._valkey_turn, self._outage():
            self._arena.valkey.kill()
            time.sleep(down_s)
            self._arena.valkey.start()

    def _freeze_valkey(self) -> None:
        with self._valkey_turn, self._outage():
            _freeze(psutil.Process(self._arena.valkey.pid), 1.5)

    def _fill_valkey(self) -> None:
        with self._valkey_turn, self._outage(), self._arena.direct() as client:
            try:
                client.config_set("maxmemory", "1mb")
                time.sleep(1.5)
            finally:
                client.config_set("maxmemory", "0")

    def _kill_clients(self, *, times: int) -> None:
        with self._outage(), self._arena.direct() as client:
            for _ in range(times):
                for kind in ("normal", "pubsub"):
                    client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
                time.sleep(0.1)

    def _restart_s3(self) -> None:
        with self._s3_turn:
            self._arena.s3.kill()
            time.sleep(1.0)
            self._arena.s3.start()
            eventually(self._arena.s3.answers, within_s=60)

    def _freeze_s3(self) -> None:
        with self._s3_turn:
            process = self._arena.s3.process
            if process is not None:
                _freeze(psutil.Process(process.pid), 2.0)

    def _kill_steward(self) -> None:
        with self._arena.direct() as client:
            holder = client.get(f"{ROOT}lock:steward")
        for place in self._arena.places:
            if holder is not None and place.worker.name == holder.decode():
                self._arena.kill(place)

    # -- jobs and messages ---------------------------------------------------------------------------

    def _freeze_idle(self, dice: random.Random) -> None:
        """The hole of BRPOP: a frozen worker's open pop swallows the message, and then it dies."""
        for place in self._arena.places:
            place.signal(signal.SIGSTOP)
        try:
            self._arena.submit(steps=4)
            self._arena.kill(dice.choice(self._arena.places))
        finally:
            for place in self._arena.places:
                place.signal(signal.SIGCONT)

    def _ring_all(self) -> None:
        store = self._arena.farm.farm.store
        for job in list(self._arena.accepted[-100:]):
            queue = job.refresh().record.queue
            store.ring([Ring(job_id=job.job_id, queue=queue, priority=5, title="again", front=False)] * 3)

    def _forget_bells(self) -> None:
        with self._arena.direct() as client:
            for key in client.scan_iter(match=f"{ROOT}q:render.*", _type="list"):
                client.delete(key)

    def _push_garbage(self) -> None:
        store = self._arena.farm.farm.store
        queue = self._arena.accepted[0].refresh().record.queue
        with self._arena.direct() as client:
            for message in _GARBAGE:
                client.lpush(f"{ROOT}q:{queue}:5", message)
        for strange in ("0" * 32, "../../etc/passwd"):
            store.ring([Ring(job_id=strange, queue=queue, priority=5, title="?", front=False)])

    def _submit_many_times(self) -> None:
        key = uuid.uuid4().hex
        threads = [
            threading.Thread(target=self._arena.submit, kwargs={"steps": 4, "key": key}) for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _cancel(self, dice: random.Random) -> None:
        ids = [job_id for job_id in self._arena.unended() if job_id not in self._arena.poison]
        if ids:
            job_id = dice.choice(ids)
            self._arena.farm.farm.cancel(job_id)
            self._arena.await_cancel(job_id, within_s=15 * self._lease_s)


def _freeze(process: psutil.Process, seconds: float) -> None:
    process.suspend()
    try:
        time.sleep(seconds)
    finally:
        process.resume()


def _hold(link: FaultProxy, mode: Mode, seconds: float) -> None:
    link.mode = mode
    time.sleep(seconds)
    link.mode = Mode.PASS


def _slow(link: FaultProxy, *, latency_s: float = 0.0, bytes_per_s: float = 0.0) -> None:
    link.latency_s, link.bytes_per_s = latency_s, bytes_per_s
    time.sleep(2.0)
    link.latency_s = link.bytes_per_s = 0.0
