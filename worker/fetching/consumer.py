"""Celery's consumer, as this worker wants it: it fetches when the GPU is free, and outlives Redis's troubles.

Celery's own rule ("fewer messages than pool threads") would either hold a second job while the first
one renders, or leave the GPU idle while the first one uploads. So a bootstep puts our gate in its
place, and the render pokes the event loop, which would else sleep until its next timer.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from celery import Celery, bootsteps
from celery.worker.consumer import Consumer
from celery.worker.consumer.tasks import Tasks
from kombu.exceptions import OperationalError
from redis.exceptions import ResponseError

from farm.broker import TASK_NAME
from farm.status.not_fetching import NotFetching
from worker.fetching.celery_internals import (
    decide_fetching,
    drop_unreadable,
    end_if_told,
    redis_of,
    sockets_of,
)
from worker.fetching.gate import Gate

log = logging.getLogger(__name__)

_FIRST_RETRY_S: Final = 1
_LONGEST_RETRY_S: Final = 2
_LOOK_FOR_ROOM_S: Final = 1.0
_TRIAL_KEY: Final = "trial"


class PatientConsumer(Consumer):
    """A consumer that is back within seconds of Redis, however long that was away or full.

    Celery's pauses between two tries grow to 30 s, in which jobs wait and nobody takes them. And a Redis
    that takes no writes (full, or a read-only replica) still lets messages be popped: each one is destroyed,
    because what Celery then notes of it is refused. So nothing is fetched until a write goes through.
    """

    gate: Gate  # `patient_consumer` gives it

    def ensure_connected(self, conn: Any) -> Any:
        """Connect to a Redis that takes writes, for as long as it takes."""
        conn.ensure_connection = functools.partial(
            conn.ensure_connection,
            interval_start=_FIRST_RETRY_S,
            interval_step=_FIRST_RETRY_S,
            interval_max=_LONGEST_RETRY_S,
        )
        connected = super().ensure_connected(conn)
        with self.app.connection_for_write() as trial:
            refused = _refusal(trial)
            if refused is not None:
                log.error(
                    "Redis takes no writes; nothing is fetched until it does",
                    extra={"event": "redis_full", "reason": str(refused)},
                )
                self._wait_for_room(trial)
        return connected

    def create_task_handler(self, *args: Any, **given: Any) -> Callable[[Any], None]:
        """As its base, for the messages of the farm; others end here."""
        return only_ours(super().create_task_handler(*args, **given))

    def _wait_for_room(self, trial: Any) -> None:
        self.gate.close(NotFetching.REDIS_READ_ONLY)
        try:
            while _refusal(trial) is not None:
                end_if_told()
                time.sleep(_LOOK_FOR_ROOM_S)
        finally:
            self.gate.open(NotFetching.REDIS_READ_ONLY)
        log.warning("Redis takes writes again", extra={"event": "redis_has_room"})


def only_ours(receive: Callable[[Any], None]) -> Callable[[Any], None]:
    """A receiver of messages that drops those which the farm never sends.

    One with an `eta` would be held until then, in this worker, and counted as a job in its hands.
    """

    def receive_ours(message: Any) -> None:
        headers = message.headers if isinstance(message.headers, Mapping) else {}
        told = [name for name in ("eta", "expires") if headers.get(name) is not None]
        if headers.get("task") == TASK_NAME and not told:
            receive(message)
            return
        why = f"it has {' and '.join(told)}" if told else "it names another task"
        log.warning(
            "This worker dropped a message that the farm does not send",
            extra={"event": "message_refused", "reason": why},
        )
        message.reject_log_error(log, (OSError,))

    return receive_ours


def _refusal(connection: Any) -> ResponseError | None:
    """What Redis says to a small write, of which nothing stays; None when it takes it."""
    try:
        client = redis_of(connection)
    except OperationalError as exc:
        # Gone since it answered. At a connection's own errors Celery connects anew; at this one it ends.
        raise ConnectionError(str(exc)) from exc
    try:
        client.set(_TRIAL_KEY, 1, px=1000)
        client.delete(_TRIAL_KEY)
    except ResponseError as exc:
        return exc
    return None


def patient_consumer(gate: Gate) -> type[PatientConsumer]:
    """The consumer for this gate, for a Celery app's `worker_consumer`."""
    return type("PatientConsumer", (PatientConsumer,), {"gate": gate})


class Line:
    """The connection by which messages come, as far as other threads may touch it."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._consumer: Any = None
        self._waker: _Waker | None = None

    def notifications(self) -> dict[str, int]:
        """How many messages wait in each queue that this worker consumes; by a connection of its own.

        Raises:
            OSError or a kombu error: Redis cannot be reached.
        """
        with self._app.connection_for_read() as connection:
            channel: Any = connection.default_channel
            # Declared, which on Redis makes nothing. Asked passively, kombu 5.7 forgets the key prefix.
            return {
                queue: channel.queue_declare(queue).message_count
                for queue in list(self._app.amqp.queues.consume_from)
            }

    def cut(self) -> None:
        """Have the consumer connect anew, even when its thread sits in a read that never ends."""
        with self._lock:
            consumer, waker = self._consumer, self._waker
        if consumer is None:
            return  # it is connecting already
        if consumer.hub is not None:
            consumer.hub.call_soon(_break)
        # The loop's thread may wait for an answer on either: of the queue, or to an event it has sent.
        for connection in (consumer.connection, getattr(consumer.event_dispatcher, "connection", None)):
            for sock in sockets_of(connection):
                # Not closed: the loop still polls it, and its number must not go to another file.
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        if waker is not None:
            waker.wake()

    def _attach(self, consumer: Any, waker: _Waker | None) -> None:
        with self._lock:
            self._consumer, self._waker = consumer, waker

    def _detach(self) -> None:
        self._attach(None, None)


def _break() -> None:
    raise ConnectionResetError("the worker's watchdog wants a new connection")


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


def _tell_dropped(why: Exception) -> None:
    log.error(
        "This worker dropped a message it could not parse",
        extra={"event": "message_dropped", "reason": f"{type(why).__name__}: {why}"[:200]},
    )


class FetchWhenFree(bootsteps.StartStopStep):
    """Puts the gate in the place of Celery's prefetch rule; again after each reconnect."""

    requires = (Tasks,)
    # `fetch_when_free` gives them: Celery wants a class and makes the instance itself.
    gate: Gate
    line: Line

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._waker: _Waker | None = None

    def start(self, consumer: Any) -> None:
        """Take over the channel that was just made."""
        gate = self.gate
        if consumer.hub is not None:
            self._waker = _Waker(consumer.hub)
            gate.wake_with(self._waker.wake)
        channel = consumer.task_consumer.channel
        drop_unreadable(channel, _tell_dropped)
        decide_fetching(channel, gate.may_fetch)
        self.line._attach(consumer, self._waker)

    def stop(self, consumer: Any) -> None:
        """Let go of the event loop."""
        self.line._detach()
        if self._waker is not None:
            self.gate.wake_with(lambda: None)
            self._waker.close(consumer.hub)
            self._waker = None

    shutdown = stop


def fetch_when_free(gate: Gate, line: Line) -> type[FetchWhenFree]:
    """The bootstep for this gate, to be added to a Celery app's consumer."""
    return type("FetchWhenFree", (FetchWhenFree,), {"gate": gate, "line": line})
