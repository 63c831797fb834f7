"""When this worker may fetch the next job: the moment its GPU is free, never earlier.

Celery's own rule ("fewer messages than pool threads") would either hold a second job while the first
one renders, or leave the GPU idle while the first one uploads. So a bootstep puts our rule in its
place, and the render pokes the event loop, which would else sleep until its next timer.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from types import MethodType
from typing import Any, Final

from celery import bootsteps
from celery.worker import state
from celery.worker.consumer.tasks import Tasks

STARTING: Final = "starting"  # why a gate is closed at first


class Gate:
    """Counts the jobs that hold the GPU or are on their way to it; thread-safe.

    A fetched message counts from the moment that Celery reserved it until the render has left
    the GPU (`release`); its publishing may go on.
    """

    def __init__(self, *, threads: int = 4) -> None:
        """`threads` is how many jobs Celery's pool works on at once, rendering and publishing."""
        self._threads = threads
        self._lock = threading.Lock()
        self._publishing: set[str] = set()
        self._closed: set[str] = {STARTING}
        self._wake: Callable[[], None] = lambda: None

    def may_fetch(self, reserved: int) -> bool:
        """Whether a free GPU waits, when Celery holds `reserved` messages.

        With every thread busy publishing, a message would wait here for one, and could run elsewhere.
        """
        with self._lock:
            on_the_gpu = reserved - len(self._publishing)
            return not self._closed and on_the_gpu < 1 and reserved < self._threads

    def release(self, job_id: str) -> None:
        """The job has left the GPU; the next one may come while it is published."""
        with self._lock:
            self._publishing.add(job_id)
        self._wake()

    def done(self, job_id: str) -> None:
        """The job's message is being given back to Celery."""
        with self._lock:
            self._publishing.discard(job_id)
        self._wake()

    def close(self, reason: str) -> None:
        """Fetch nothing for this reason, until `open` takes it back."""
        with self._lock:
            self._closed.add(reason)

    def open(self, reason: str) -> None:
        """This reason is over; others may still hold the gate closed."""
        with self._lock:
            self._closed.discard(reason)
        self._wake()

    @property
    def closed_for(self) -> frozenset[str]:
        """Why nothing is fetched; empty when the gate is open."""
        with self._lock:
            return frozenset(self._closed)

    def wake_with(self, wake: Callable[[], None]) -> None:
        """How to wake the event loop that asks `may_fetch`."""
        self._wake = wake


class _Waker:
    """A pipe that the event loop reads: a byte in it ends the loop's sleep at once."""

    def __init__(self, hub: Any) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        hub.add_reader(self._read, self._drain)

    def wake(self) -> None:
        # Full: the loop is awake anyway. Closed: the consumer is being replaced.
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._write, b"!")

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)

    def close(self, hub: Any) -> None:
        with contextlib.suppress(KeyError, OSError, ValueError):
            hub.remove(self._read)
        os.close(self._read)
        os.close(self._write)


class FetchWhenFree(bootsteps.StartStopStep):
    """Puts the gate in the place of Celery's prefetch rule; again after each reconnect."""

    requires = (Tasks,)
    gate: Gate  # `fetch_when_free` gives it: Celery wants a class and makes the instance itself

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._waker: _Waker | None = None

    def start(self, consumer: Any) -> None:
        """Take over the channel that was just made."""
        gate = self.gate
        if consumer.hub is not None:
            self._waker = _Waker(consumer.hub)
            gate.wake_with(self._waker.wake)
        qos = consumer.task_consumer.channel.qos

        def can_consume(_self: Any) -> bool:
            return gate.may_fetch(len(state.reserved_requests))

        qos.can_consume = MethodType(can_consume, qos)

    def stop(self, consumer: Any) -> None:
        """Let go of the event loop."""
        if self._waker is not None:
            self.gate.wake_with(lambda: None)
            self._waker.close(consumer.hub)
            self._waker = None

    shutdown = stop


def fetch_when_free(gate: Gate) -> type[FetchWhenFree]:
    """The bootstep for this gate, to be added to a Celery app's consumer."""
    return type("FetchWhenFree", (FetchWhenFree,), {"gate": gate})
