"""Whether this worker may fetch the next job: the moment its GPU is free, never earlier."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from farm.status.not_fetching import NotFetching

log = logging.getLogger(__name__)

_STUCK_AFTER_S: Final = 5.0
_LOOK_S: Final = 0.2  # whether a job that waits for its turn is to stop


class Ticket:
    """One job that a thread of this worker has in hand: on its way to the GPU, on it, or off it."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def step_aside(self) -> None:
        """The job is not ready for the GPU yet; another one may come meanwhile."""
        self._gate._steps_aside(self)

    def take_gpu(self, stop: threading.Event) -> None:
        """Return once no other job has the GPU, or `stop` is set."""
        self._gate._takes(self, stop)

    def off_the_gpu(self) -> None:
        """The job has left the GPU; the next one may come while it is published."""
        self._gate._publishes(self)


class Gate:
    """Counts the jobs that hold the GPU or are on their way to it; thread-safe.

    A fetched message counts from the moment that Celery reserved it until the render has left
    the GPU (`Ticket.off_the_gpu`); its publishing may go on. One whose inputs are slow steps aside: the next
    job may come and render, and whoever is ready first has the GPU.

    Celery's own count is not believed for ever: a message that it reserved and never gave to a thread, or
    never took off its list, would keep the GPU idle for the life of the process. One that is in no
    thread's hands for `stuck_after_s` is not counted any more.
    """

    def __init__(
        self,
        *,
        threads: int = 4,
        stuck_after_s: float = _STUCK_AFTER_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`threads` is how many jobs Celery's pool works on at once, rendering and publishing."""
        self._threads = threads
        self._stuck_after_s = stuck_after_s
        self._clock = clock
        self._lock = threading.Lock()
        self._left = threading.Event()  # the GPU was left
        self._rendering: set[Ticket] = set()  # on the GPU or on their way to it
        self._on_gpu: Ticket | None = None
        self._on_gpu_since = 0.0
        self._held_s = 0.0  # by jobs that have left the GPU
        self._aside: set[Ticket] = set()  # their inputs are slow
        self._publishing: set[Ticket] = set()
        self._closed: set[NotFetching] = {NotFetching.STARTING}
        self._wake: Callable[[], None] = lambda: None
        self._begun = 0
        self._stuck = 0  # messages that Celery counts and nobody works on
        self._fewest = 0  # of them since `_since`
        self._since = clock()

    def may_fetch(self, reserved: int) -> bool:
        """Whether a free GPU waits, when Celery holds `reserved` messages.

        With every thread busy publishing, a message would wait here for one, and could run elsewhere.
        """
        with self._lock:
            in_hand = len(self._rendering) + len(self._aside) + len(self._publishing)
            coming = self._really_coming(max(reserved - in_hand, 0))
            gpu_is_free = not self._rendering and not coming
            return not self._closed and gpu_is_free and in_hand + coming < self._threads

    def _really_coming(self, coming: int) -> int:
        """Of the messages that no thread has in hand, those that one will have in a moment."""
        self._fewest = min(self._fewest, coming)
        self._stuck = min(self._stuck, coming)
        if self._clock() - self._since >= self._stuck_after_s:
            if self._fewest > self._stuck:
                log.error(
                    "Celery holds messages that nobody works on; they are not counted any more",
                    extra={"event": "messages_stuck", "count": self._fewest},
                )
            self._stuck, self._fewest, self._since = self._fewest, coming, self._clock()
        return coming - self._stuck

    @contextlib.contextmanager
    def work(self) -> Iterator[Ticket]:
        """Hold a ticket for a message while the block works on it."""
        ticket = Ticket(self)
        with self._lock:
            self._rendering.add(ticket)
            self._begun += 1
        try:
            yield ticket
        finally:
            with self._lock:
                self._rendering.discard(ticket)
                self._aside.discard(ticket)
                self._publishing.discard(ticket)
                self._leave_gpu(ticket)
            self._wake()

    def _steps_aside(self, ticket: Ticket) -> None:
        with self._lock:
            # One thread stays for a job that is ready, and one for the publishing of the last.
            if ticket not in self._rendering or len(self._aside) >= self._threads - 2:
                return
            self._rendering.discard(ticket)
            self._aside.add(ticket)
        self._wake()

    def _takes(self, ticket: Ticket, stop: threading.Event) -> None:
        with self._lock:
            self._aside.discard(ticket)
            self._rendering.add(ticket)
        while not stop.is_set():
            with self._lock:
                if self._on_gpu is None:
                    self._on_gpu, self._on_gpu_since = ticket, self._clock()
                    return
                self._left.clear()
            self._left.wait(_LOOK_S)

    def _leave_gpu(self, ticket: Ticket) -> None:
        if self._on_gpu is ticket:
            self._on_gpu = None
            self._held_s += self._clock() - self._on_gpu_since
            self._left.set()

    def _publishes(self, ticket: Ticket) -> None:
        with self._lock:
            if ticket in self._rendering or ticket in self._aside:
                self._rendering.discard(ticket)
                self._aside.discard(ticket)
                self._publishing.add(ticket)
            self._leave_gpu(ticket)
        self._wake()

    @property
    def begun(self) -> int:
        """How many messages were worked on since the start: another number means that fetching works."""
        return self._begun

    @property
    def gpu_held_s(self) -> float:
        """Seconds since the start in which a job had the GPU."""
        with self._lock:
            return self._held_s + (self._clock() - self._on_gpu_since if self._on_gpu is not None else 0.0)

    @property
    def rendering(self) -> bool:
        """Whether a job is on the GPU, or on its way to it."""
        return bool(self._rendering)

    @property
    def idle(self) -> bool:
        """Whether no job is in hand at all, not even one that is being published."""
        with self._lock:
            return not self._rendering and not self._aside and not self._publishing

    @property
    def has_room_to_publish(self) -> bool:
        """Whether another job can be rendered and put away while all that publish go on."""
        with self._lock:
            return len(self._publishing) <= self._threads - 2

    @property
    def crowded(self) -> bool:
        """Whether a free GPU gets no job because every thread publishes, or waits for inputs."""
        with self._lock:
            return not self._rendering and len(self._publishing) + len(self._aside) >= self._threads

    def close(self, reason: NotFetching) -> None:
        """Fetch nothing for this reason, until `open` takes it back."""
        with self._lock:
            self._closed.add(reason)

    def open(self, reason: NotFetching) -> None:
        """This reason is over; others may still hold the gate closed."""
        with self._lock:
            self._closed.discard(reason)
        self._wake()

    @property
    def closed_for(self) -> frozenset[NotFetching]:
        """Why nothing is fetched; empty when the gate is open."""
        with self._lock:
            return frozenset(self._closed)

    def wake_with(self, wake: Callable[[], None]) -> None:
        """How to wake the event loop that asks `may_fetch`."""
        self._wake = wake
