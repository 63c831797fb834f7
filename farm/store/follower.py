"""`Follower`: news of jobs for any number of coroutines, read by one thread in one round trip for all."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVarTuple

from farm.errors import FarmError
from farm.job import JobEvent
from farm.store.roles import JobReader

log = logging.getLogger(__name__)

_BLOCK_S: Final = 0.2  # so long can somebody who joins have to wait for the round under way
_LIMIT: Final = 100  # events of one job in one round

News = list[JobEvent]
_Args = TypeVarTuple("_Args")


@dataclass(eq=False, slots=True, kw_only=True)
class _Waiter:
    job_id: str
    after: str
    future: asyncio.Future[News]
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)


class Follower:
    """Hands each waiter the next events of its job. The thread runs only while somebody waits."""

    def __init__(self, store: JobReader) -> None:
        self._store = store
        self._changed = threading.Condition()
        self._waiters: set[_Waiter] = set()
        self._thread: threading.Thread | None = None
        self._closed = False

    async def next(self, job_id: str, after: str, *, timeout_s: float) -> News:
        """The events after that one, at least one; empty when none came in that time.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        future: asyncio.Future[News] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(job_id=job_id, after=after, future=future)
        self._join(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            return []
        finally:
            with self._changed:
                self._waiters.discard(waiter)

    @property
    def waiting(self) -> tuple[str, ...]:
        """The jobs that somebody waits for at this moment."""
        with self._changed:
            return tuple(waiter.job_id for waiter in self._waiters)

    def close(self) -> None:
        """End the thread; who still waits is cancelled."""
        with self._changed:
            self._closed = True
            thread, waiters = self._thread, list(self._waiters)
            self._changed.notify_all()
        for waiter in waiters:
            _call(waiter, waiter.future.cancel)
        if thread is not None:
            thread.join()

    def _join(self, waiter: _Waiter) -> None:
        with self._changed:
            if self._closed:
                raise RuntimeError("this farm has been closed")
            self._waiters.add(waiter)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._waiters)
                if self._closed:
                    return
                waiters = list(self._waiters)
            try:
                self._round(waiters)
            except Exception as exc:
                # Each of them sees it and decides by itself whether to try again.
                if not isinstance(exc, FarmError):
                    log.exception("Follower failed", extra={"event": "follower_failed"})
                self._dismiss(waiters, exc)

    def _round(self, waiters: list[_Waiter]) -> None:
        read_from: dict[str, str] = {}
        for waiter in waiters:
            # Two may follow one job from different positions: read from the earlier one.
            before = read_from.get(waiter.job_id)
            if before is None or _order(waiter.after) < _order(before):
                read_from[waiter.job_id] = waiter.after
        found = self._store.news(read_from, limit=_LIMIT, block_s=_BLOCK_S)
        for waiter in waiters:
            news = [
                event
                for event in found.get(waiter.job_id, ())
                if _order(event.event_id) > _order(waiter.after)
            ]
            if news:
                with self._changed:
                    self._waiters.discard(waiter)
                _call(waiter, _settle, waiter.future, news)

    def _dismiss(self, waiters: list[_Waiter], exc: Exception) -> None:
        with self._changed:
            self._waiters.difference_update(waiters)
        for waiter in waiters:
            _call(waiter, _refuse, waiter.future, exc)


def _order(event_id: str) -> tuple[int, int]:
    at, _, number = event_id.partition("-")
    return int(at), int(number or 0)


def _call(waiter: _Waiter, function: Callable[[*_Args], object], *args: *_Args) -> None:
    # The loop may have been closed under a waiter that nobody awaited to its end.
    with contextlib.suppress(RuntimeError):
        waiter.loop.call_soon_threadsafe(function, *args)


def _settle(future: asyncio.Future[News], news: News) -> None:
    if not future.done():
        future.set_result(news)


def _refuse(future: asyncio.Future[News], exc: Exception) -> None:
    if not future.done():
        future.set_exception(exc)
