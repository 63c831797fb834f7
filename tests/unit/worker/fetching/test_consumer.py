"""Celery's event loop sleeps until its next timer, unless a worker that is free wakes it."""

from __future__ import annotations

import contextlib
import threading
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from celery.worker.consumer import Consumer
from kombu.asynchronous.hub import Hub
from kombu.exceptions import OperationalError
from kombu.transport.redis import Transport

from farm.status.not_fetching import NotFetching
from tests.support.valkey import eventually
from worker.fetching.consumer import Line, fetch_when_free, patient_consumer
from worker.fetching.gate import Gate


def test_a_render_that_ends_wakes_the_event_loop_however_long_it_would_sleep() -> None:
    gate, hub, asleep = Gate(), Hub(), threading.Event()
    gate.open(NotFetching.STARTING)
    consumer = MagicMock(hub=hub)
    consumer.task_consumer.channel.connection_errors = ()
    step = fetch_when_free(gate, Line(MagicMock()))(consumer)
    step.start(consumer)
    poll = hub.poller.poll

    def poll_without_end(_timeout_s: float | None = None) -> object:
        asleep.set()
        return poll(600.0)

    hub.poller.poll = poll_without_end
    loop = threading.Thread(target=lambda: next(hub.create_loop()), daemon=True)

    with gate.work() as ticket:
        loop.start()
        assert asleep.wait(60.0)
        ticket.off_the_gpu()
        eventually(lambda: not loop.is_alive())

    step.stop(consumer)
    hub.close()


def test_a_redis_that_falls_silent_right_after_it_answered_is_connected_to_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Silent:
        @property
        def default_channel(self) -> object:
            raise OperationalError("Timeout reading from socket")

    monkeypatch.setattr(Consumer, "ensure_connected", lambda _, connection: connection)
    kind = patient_consumer(Gate())
    consumer: Any = kind.__new__(kind)
    consumer.app = SimpleNamespace(connection_for_write=lambda: contextlib.nullcontext(Silent()))

    with pytest.raises(Transport.connection_errors):  # on which Celery's loop goes on
        consumer.ensure_connected(MagicMock())
