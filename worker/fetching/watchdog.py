"""Finds out that this worker lives and fetches nothing, and repairs that.

A consumer can stall after a reconnect: the process lives, renews its status, and never takes a message
again. From outside it looks like an idle worker. It is told apart by this: jobs wait in a queue that it
consumes, their messages lie there, nothing keeps it from fetching, and it fetches none.

Source: https://github.com/celery/celery/issues/8030 and 8091, and what became of a failed acknowledgement
in our own tests: a slot that stays taken for the life of the process.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from farm.store.roles import JobReader
from worker.fetching.gate import Gate

log = logging.getLogger(__name__)

PATIENCE_S: Final = 8.0  # a healthy consumer takes a message within a second or two
LOOK_EVERY_S: Final = 2.0


class MessageLine(Protocol):
    """How messages come; see `worker.fetching.consumer.Line`."""

    def notifications(self) -> dict[str, int]:
        """How many messages wait in each queue that this worker consumes."""

    def cut(self) -> None:
        """Have the consumer connect anew."""


def work_waits(store: JobReader, line: MessageLine) -> bool:
    """Whether a queue that this worker consumes holds jobs, and messages that say so.

    Messages alone may be of jobs that were canceled; jobs alone wait for the steward to notify again.

    Raises:
        StoreUnavailable: Redis cannot be reached.
        OSError or a kombu error: nor by Celery's own way.
    """
    waiting = {entry.queue for entry in store.counts().waiting if entry.waiting}
    return bool(waiting) and any(count and queue in waiting for queue, count in line.notifications().items())


class Watchdog:
    """Looks every few seconds, in a thread of its own; first reconnects, then gives the process up."""

    def __init__(
        self,
        gate: Gate,
        *,
        work_waits: Callable[[], bool],
        reconnect: Callable[[], None],
        give_up: Callable[[], None],
        on_change: Callable[[], None] = lambda: None,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; `start` runs it.

        Args:
            work_waits: whether jobs wait with their messages in queues that this worker consumes; asked
                only while it could fetch.
            reconnect: makes the consumer connect anew; must not wait for it.
            give_up: ends the process, so that whoever keeps it starts another; called with no job in hand.
            on_change: called when there is something to tell, or no more.
            patience_s: how long nothing may be fetched before something is done, and then before more is.
        """
        self._gate = gate
        self._work_waits = work_waits
        self._reconnect = reconnect
        self._give_up = give_up
        self._on_change = on_change
        self._patience_s = patience_s
        self._clock = clock
        self._since: float | None = None  # work waits and none is fetched
        self._begun = -1
        self._tried = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    @property
    def trouble(self) -> str | None:
        """What is wrong with the consumer, for a person; None while nothing is known."""
        return "jobs wait and their messages do not arrive: connecting anew" if self._tried else None

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=LOOK_EVERY_S)

    def look(self) -> None:
        """Look once, and do what is due."""
        gate, now = self._gate, self._clock()
        if gate.begun != self._begun:
            self._begun, self._since = gate.begun, None
            self._recovered()
        if gate.closed_for or gate.rendering or gate.crowded or not self._work_waits():
            self._since = None
            return
        if self._since is None:
            self._since = now
        waited_s = now - self._since
        if waited_s < self._patience_s:
            return
        if not self._tried:
            self._tried, self._since = True, now
            log.error(
                "Jobs wait and none is fetched; the consumer connects anew",
                extra={"event": "consumer_stalled", "waited_s": round(waited_s, 1)},
            )
            self._reconnect()
            self._on_change()
        elif gate.idle:
            log.critical(
                "Jobs wait and none is fetched after a new connection; this process ends",
                extra={"event": "consumer_given_up", "waited_s": round(waited_s, 1)},
            )
            self._give_up()

    def _recovered(self) -> None:
        if self._tried:
            self._tried = False
            log.warning("Jobs are fetched again", extra={"event": "consumer_resumed"})
            self._on_change()

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_EVERY_S):
            try:
                self.look()
            except Exception as exc:  # noqa: BLE001 - it must outlive an unreachable Redis, and any surprise
                self._since = None
                log.info("The watchdog could not look", extra={"event": "watchdog_blind", "reason": str(exc)})
