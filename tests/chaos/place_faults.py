"""What can be done to one worker and its surroundings."""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import time
from collections.abc import Callable
from typing import Any, Final

import psutil
import pynvml

from tests.chaos.arena import Arena
from tests.chaos.history import Death
from tests.chaos.place import Place
from tests.chaos.schedule import Fault
from tests.support.fault_proxy import FaultProxy, Mode
from tests.support.valkey import eventually

_CARD_GONE_S: Final = 7.0  # longer than a worker's look at its card takes to come round
# How people and init systems end a process that does not leave fast enough for them.
_WAYS_OUT: Final = (
    (signal.SIGTERM, signal.SIGTERM),
    (signal.SIGTERM, signal.SIGKILL),
    (signal.SIGQUIT,),
    (signal.SIGINT,),
)
_HOUR_S: Final = 3600.0
_BROKEN_S, _BROKEN_RUNS = 15.0, 5


class PlaceFaults:
    """Faults that hit the worker of one place; those that last are over when they return."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._lease_s = lease_s = arena.farm.store.lease_s
        self._ways_out = itertools.cycle(_WAYS_OUT)
        self._silences = itertools.cycle((5.0, 30.0, 12.0))
        self._hours = itertools.cycle((_HOUR_S, -_HOUR_S))
        self.does: dict[Fault, Callable[[Place], Any]] = {
            Fault.WORKER_KILL: arena.kill,
            Fault.WORKER_DRAIN: lambda place: place.signal(signal.SIGTERM),
            Fault.WORKER_QUIT: self._quit,
            Fault.WORKER_NAP: lambda place: self._freeze_worker(place, 0.5 * lease_s),
            Fault.WORKER_FREEZE: lambda place: self._freeze_worker(place, 2 * lease_s),
            Fault.WORKER_SLEEP: lambda place: self._freeze_worker(place, 10 * lease_s),
            Fault.COMFY_KILL: lambda place: _comfy(place).kill(),
            Fault.COMFY_NAP: lambda place: freeze(_comfy(place), 0.5 * lease_s),
            Fault.COMFY_FREEZE: lambda place: _comfy(place).suspend(),
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
            Fault.WORKER_TREE: self._terminate_tree,
            Fault.WORKER_START: self._kill_at_start,
            Fault.COMFY_BROKEN: self._break_install,
            Fault.SILENCE: self._silence,
            Fault.CABLE: self._pull_cable,
            Fault.CLOCK: self._jump_clock,
            Fault.CARD_LOST: self._lose_card,
            Fault.DISK_FULL: self._fill_disk,
        }

    def _freeze_worker(self, place: Place, seconds: float) -> None:
        worker = place.worker
        if seconds > self._lease_s:
            self._arena.deaths.append(Death(worker=worker.name, at_s=time.time()))
        with place.hindered():
            freeze(psutil.Process(worker.child.pid), seconds)

    def _quit(self, place: Place) -> None:
        first, *then = next(self._ways_out)
        place.signal(first)
        for number in then:
            time.sleep(0.2)
            place.signal(number)

    def _terminate_tree(self, place: Place) -> None:
        worker = psutil.Process(place.worker.child.pid)
        for process in [worker, *worker.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()

    def _kill_at_start(self, place: Place) -> None:
        """The one that is started in its place ends as well, in the middle of its start."""
        first = place.worker
        self._arena.kill(place)
        eventually(lambda: place.worker is not first, within_s=30.0)
        time.sleep(0.5)
        self._arena.kill(place)

    def _break_install(self, place: Place) -> None:
        broken = {
            "kind": "raise",
            "node": "SaveVideo",
            "error": "ImportError",
            "message": "flash_attn",
        }
        for _ in range(_BROKEN_RUNS):
            place.misbehave(json.dumps(broken))
        time.sleep(_BROKEN_S)
        place.behave()

    def _silence(self, place: Place) -> None:
        with place.hindered():
            place.redis_link.mode = place.s3_link.mode = Mode.BLACKHOLE
            time.sleep(next(self._silences))
            place.redis_link.mode = place.s3_link.mode = Mode.PASS

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
        place.set_clock(next(self._hours))
        time.sleep(2 * self._lease_s)
        place.set_clock(0.0)

    def _lose_card(self, place: Place) -> None:
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


def _comfy(place: Place) -> psutil.Process:
    """Its ComfyUI, if it has one by now: a fault does not wait for what it breaks."""
    if not place.worker.entries("comfy_ready"):
        raise StopIteration
    return place.worker.comfy()


def freeze(process: psutil.Process, seconds: float) -> None:
    """Stop a process for a while."""
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
