"""A virtual clock and the threads that live by it: one runs at a time, and a seed says which is next.

Code of the farm is run as it is. While `Loop.in_charge` holds, the modules of the farm that wait have
stand-ins for `time`, `threading`, `queue`, `uuid` and `random`: a thread that sleeps or waits hands over to
the one whose time comes next, and the clock jumps there. So an hour of waiting costs nothing, and a seed is
played the same way again.
"""

from __future__ import annotations

import contextlib
import heapq
import math
import queue
import random
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any, Final
from unittest import mock

_EPOCH_US: Final = 1_800_000_000_000_000  # when every play begins
_PACKAGES: Final = ("farm.", "worker.")


class ProcessKilled(BaseException):
    """The process that this thread is of is gone: nothing more of it may happen."""


class Process:
    """What may be killed or frozen at once, with a clock of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.thaws_us = 0
        self.clock_wrong_by_s = 0.0


class _Task:
    """A thread that runs only when it is its turn."""

    def __init__(self, process: Process, body: Callable[[], None]) -> None:
        self.process = process
        self.body = body
        self.turn = threading.Lock()
        self.turn.acquire()
        self.plan = 0  # which entry of the schedule counts
        self.over = False


class Loop:
    """Schedules tasks; the only clock that they see."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)  # must be repeatable
        self.now_us = _EPOCH_US
        self._until_us = _EPOCH_US
        self._schedule: list[tuple[int, float, int, _Task]] = []
        self._tasks: dict[threading.Thread, _Task] = {}
        self._main = _Task(Process("main"), lambda: None)
        self._current = self._main
        self._failure: BaseException | None = None

    @property
    def now_s(self) -> float:
        """Seconds since the epoch, by the clock that is right."""
        return self.now_us / 1e6

    @property
    def process(self) -> Process:
        """Whose code runs now."""
        return self._current.process

    def spawn(self, process: Process, body: Callable[[], None], *, after_s: float = 0.0) -> VirtualThread:
        """Run something in a process, from a moment on."""
        thread = VirtualThread(self, target=body, process=process)
        thread.begin(after_s)
        return thread

    def run(self, for_s: float) -> None:
        """Let time pass; raises what a task raised."""
        self._until_us = self.now_us + round(for_s * 1e6)
        self._hand_over(self._main)
        self.now_us = max(self.now_us, self._until_us) if self._failure is None else self.now_us
        if self._failure is not None:
            raise self._failure

    def leap(self, to_s: float) -> None:
        """Let time pass in which nobody runs; what was due by then happens once, when it goes on."""
        self.now_us = max(self.now_us, round(to_s * 1e6))

    def sleep(self, seconds: float) -> None:
        """Let others run until that time has passed for the current task."""
        self.park(seconds)

    def park(self, seconds: float | None) -> None:
        """Wait for the time to pass, or for `wake`; None: for `wake` alone."""
        me = self._current
        if seconds is not None:
            self._plan(me, self.now_us + _in_us(seconds))
        else:
            me.plan += 1
        self._hand_over(me)
        if not me.process.alive:
            raise ProcessKilled

    def wake(self, task: _Task) -> None:
        """Let a task that waits go on now."""
        if not task.over:
            self._plan(task, self.now_us)

    def kill(self, process: Process) -> None:
        """End a process: each of its tasks runs once more, into `ProcessKilled`."""
        process.alive = False
        process.thaws_us = 0
        for task in list(self._tasks.values()):
            if task.process is process and task is not self._current:
                self.wake(task)

    def close(self) -> None:
        """End all that still runs."""
        self._failure = None
        for task in self._tasks.values():
            task.process.alive = False
            task.process.thaws_us = 0
            self.wake(task)
        self._until_us = self.now_us
        self._hand_over(self._main)

    def _plan(self, task: _Task, at_us: int) -> None:
        task.plan += 1
        heapq.heappush(self._schedule, (at_us, self.dice.random(), task.plan, task))

    def _next(self) -> _Task:
        while self._schedule and self._failure is None:
            at_us, _, plan, task = self._schedule[0]
            if plan != task.plan or task.over:
                heapq.heappop(self._schedule)
            elif at_us > self._until_us:
                break
            elif task.process.thaws_us > at_us:
                heapq.heappop(self._schedule)
                self._plan(task, task.process.thaws_us)
            else:
                heapq.heappop(self._schedule)
                self.now_us = max(self.now_us, at_us)
                return task
        return self._main

    def _hand_over(self, me: _Task) -> None:
        after = self._next()
        if after is me:
            return
        self._current = after
        after.turn.release()
        me.turn.acquire()

    def begin(self, thread: threading.Thread, task: _Task, after_s: float) -> None:
        """Take a new task into the schedule."""
        self._tasks[thread] = task
        self._plan(task, self.now_us + _in_us(after_s))
        thread.start()

    def live(self, task: _Task, then: Callable[[], None]) -> None:
        """The life of a task's thread."""
        task.turn.acquire()
        try:
            if task.process.alive:
                task.body()
        except ProcessKilled:
            pass
        except BaseException as exc:
            self._failure = exc
        finally:
            task.over = True
            del self._tasks[threading.current_thread()]
            then()
            self._current = self._next()
            self._current.turn.release()

    @property
    def current(self) -> _Task:
        """The task that runs."""
        return self._current

    @contextlib.contextmanager
    def in_charge(self) -> Iterator[None]:
        """The farm's modules live by this clock while the block runs."""
        clock = SimpleNamespace(
            monotonic=self._monotonic,
            perf_counter=self._monotonic,
            time=lambda: self.now_s + self.process.clock_wrong_by_s,
            sleep=self.sleep,
        )
        threads = SimpleNamespace(
            Event=lambda: VirtualEvent(self),
            Thread=lambda **facts: VirtualThread(self, **facts),
            Lock=threading.Lock,
            RLock=threading.RLock,
            current_thread=threading.current_thread,
        )
        queues = SimpleNamespace(
            Queue=lambda size=0: VirtualQueue(self, size), Full=queue.Full, Empty=queue.Empty
        )
        names = SimpleNamespace(
            uuid4=lambda: uuid.UUID(int=self.dice.getrandbits(128), version=4),
            uuid5=uuid.uuid5,
            UUID=uuid.UUID,
        )
        chance = SimpleNamespace(uniform=self.dice.uniform, random=self.dice.random)
        stand_ins = (
            ("time", time, clock),
            ("threading", threading, threads),
            ("queue", queue, queues),
            ("uuid", uuid, names),
            ("random", random, chance),
        )
        with contextlib.ExitStack() as stack:
            for module in [each for name, each in sys.modules.items() if name.startswith(_PACKAGES)]:
                for name, real, stand_in in stand_ins:
                    if getattr(module, name, None) is real:
                        stack.enter_context(mock.patch.object(module, name, stand_in))
            yield

    def _monotonic(self) -> float:
        return (self.now_us - _EPOCH_US) / 1e6 + 1000.0  # as on a machine that is up for a while


def _in_us(seconds: float) -> int:
    """Rounded up: who waits for a moment must not wake before it, and look again for ever."""
    return max(0, math.ceil(seconds * 1e6))


class VirtualEvent:
    """`threading.Event`."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._set = False
        self._waiting: list[_Task] = []

    def is_set(self) -> bool:
        """Whether it happened."""
        return self._set

    def set(self) -> None:
        """It has happened."""
        self._set = True
        for task in self._waiting:
            self._loop.wake(task)

    def clear(self) -> None:
        """It may happen again."""
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it happened in that time."""
        until_us = math.inf if timeout is None else self._loop.now_us + max(0.0, timeout) * 1e6
        me = self._loop.current
        while not self._set and self._loop.now_us < until_us:
            self._waiting.append(me)
            try:
                self._loop.park(None if timeout is None else (until_us - self._loop.now_us) / 1e6)
            finally:
                self._waiting.remove(me)
        return self._set


class VirtualThread:
    """`threading.Thread`, in the process of who starts it."""

    def __init__(
        self,
        loop: Loop,
        *,
        target: Callable[..., object],
        args: tuple[Any, ...] = (),
        process: Process | None = None,
        name: str = "",
        daemon: bool = True,
    ) -> None:
        del name, daemon
        self._loop = loop
        self._process = process
        self._body = partial(target, *args)
        self._over = VirtualEvent(loop)
        self.ident: int | None = None

    def start(self) -> None:
        """Begin."""
        self.begin(0.0)

    def begin(self, after_s: float) -> None:
        """Begin after a while."""
        self.ident = 1
        task = _Task(self._process or self._loop.process, self._run)
        thread = threading.Thread(target=self._loop.live, args=(task, self._over.set), daemon=True)
        self._loop.begin(thread, task, after_s)

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end."""
        self._over.wait(timeout)

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self.ident is not None and not self._over.is_set()

    def _run(self) -> None:
        self._body()


class VirtualQueue:
    """As much of `queue.Queue` as the farm uses."""

    def __init__(self, loop: Loop, size: int) -> None:
        self._size = size
        self._items: deque[Any] = deque()
        self._came = VirtualEvent(loop)

    def put(self, item: Any, timeout: float | None = None) -> None:
        """Add one; a full queue is not waited for."""
        del timeout
        if 0 < self._size <= len(self._items):
            raise queue.Full
        self._items.append(item)
        self._came.set()

    put_nowait = put

    def get(self, timeout: float | None = None) -> Any:
        """The oldest."""
        if not self._items:
            self._came.clear()
            self._came.wait(timeout)
        return self.get_nowait()

    def get_nowait(self) -> Any:
        """The oldest, if there is one."""
        if not self._items:
            raise queue.Empty
        return self._items.popleft()
