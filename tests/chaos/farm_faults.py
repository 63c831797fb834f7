"""What can be done to the servers, the messages and the jobs of a farm."""

from __future__ import annotations

import random
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import psutil

from farm.notifier import store_at
from farm.store.base import Notification
from tests.chaos.arena import ROOT, Arena
from tests.chaos.place_faults import freeze
from tests.chaos.schedule import Fault
from tests.support.valkey import eventually

_GARBAGE: Final[tuple[bytes, ...]] = (
    b"this is no JSON",
    b"{}",
    b'{"body":"e30=","headers":{},"properties":{}}',
    b'{"body":"W10=","content-encoding":"utf-8","content-type":"application/x-pickle","headers":{}}',
)
_LONGEST_WAIT_S: Final = 2.0  # between two looks of a steward for a store that is away


class FarmFaults:
    """Faults that hit everybody; those that last are over when they return."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._lease_s = lease_s = arena.farm.store.lease_s
        self._repair_begins_s = _LONGEST_WAIT_S + arena.farm.store.grace_s
        self._valkey_turn, self._s3_turn = threading.Lock(), threading.Lock()
        self.does: dict[Fault, Callable[[random.Random], Any]] = {
            Fault.STEWARD_KILL: lambda _: self._kill_steward(),
            Fault.VALKEY_KILL: lambda _: self._restart_valkey(0.7),
            Fault.VALKEY_POWER: lambda _: self._lose_power(),
            Fault.VALKEY_AWAY: lambda _: self._restart_valkey(1.5 * lease_s),
            Fault.VALKEY_FREEZE: lambda _: self._freeze_valkey(),
            Fault.VALKEY_FULL: lambda _: self._fill_valkey(),
            Fault.S3_KILL: lambda _: self._restart_s3(1.0),
            Fault.S3_AWAY: lambda _: self._restart_s3(arena.long_s),
            Fault.S3_FREEZE: lambda _: self._freeze_s3(),
            Fault.PRODUCER_CUT: lambda _: arena.producer_link.reset_all(),
            Fault.CLIENT_KILL: lambda _: self._kill_clients(times=1),
            Fault.CLIENT_STORM: lambda _: self._kill_clients(times=20),
            Fault.IDLE_FREEZE: self._freeze_idle,
            Fault.NOTIFICATIONS_TWICE: lambda _: self._notify_all(),
            Fault.NOTIFICATIONS_GONE: lambda _: self._forget_notifications(),
            Fault.GARBAGE: lambda _: self._push_garbage(),
            Fault.SAME_KEY: lambda _: self._submit_many_times(),
            Fault.CANCEL: self._cancel,
            Fault.CANCEL_MANY: lambda _: self._cancel_many(),
            Fault.POISON: lambda _: arena.poison.add(arena.submit(steps=40, labels=["poison"]).job_id),
        }

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

    def _lose_power(self) -> None:
        with self._valkey_turn, self._outage():
            self._arena.lose_power()
            time.sleep(0.7)
            self._arena.valkey.start()

    def _freeze_valkey(self) -> None:
        with self._valkey_turn, self._outage():
            freeze(psutil.Process(self._arena.valkey.pid), 1.5)

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

    def _restart_s3(self, down_s: float) -> None:
        with self._s3_turn:
            self._arena.s3.kill()
            time.sleep(down_s)
            self._arena.s3.start()
            eventually(self._arena.s3.answers, within_s=60)

    def _freeze_s3(self) -> None:
        with self._s3_turn:
            process = self._arena.s3.process
            if process is not None:
                freeze(psutil.Process(process.pid), 2.0)

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

    def _notify_all(self) -> None:
        store = store_at(self._arena.farm.redis)
        for job in list(self._arena.accepted[-100:]):
            queue = job.refresh().record.queue
            store.notify(
                [Notification(job_id=job.job_id, queue=queue, priority=5, title="again", front=False)] * 3
            )

    def _forget_notifications(self) -> None:
        store, now_s = self._arena.farm.store, time.time()
        self._arena.outages.append((now_s, now_s + store.notify_again_after_s + 2 * store.sweep_s))
        with self._arena.direct() as client:
            for key in client.scan_iter(match=f"{ROOT}q:render.*", _type="list"):
                client.delete(key)

    def _push_garbage(self) -> None:
        store = store_at(self._arena.farm.redis)
        queue = self._arena.accepted[0].refresh().record.queue
        with self._arena.direct() as client:
            for message in _GARBAGE:
                client.lpush(f"{ROOT}q:{queue}:5", message)
        for strange in ("0" * 32, "../../etc/passwd"):
            store.notify([Notification(job_id=strange, queue=queue, priority=5, title="?", front=False)])

    def _submit_many_times(self) -> None:
        key = uuid.uuid4().hex
        threads = [
            threading.Thread(target=self._arena.submit, kwargs={"steps": 4, "key": key}) for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _cancel_many(self) -> None:
        for job_id in [each for each in self._arena.unended() if each not in self._arena.poison][1:]:
            self._arena.farm.farm.cancel(job_id)
            self._arena.await_cancel(job_id, within_s=15 * self._lease_s)

    def _cancel(self, dice: random.Random) -> None:
        ids = [job_id for job_id in self._arena.unended() if job_id not in self._arena.poison]
        if ids:
            job_id = dice.choice(ids)
            self._arena.farm.farm.cancel(job_id)
            self._arena.await_cancel(job_id, within_s=15 * self._lease_s)
