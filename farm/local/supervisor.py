"""Keeps the parts of the stack running: started in the order of their needs, started again when they die."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from farm.errors import FarmError, StackError
from farm.local.addresses import PartName
from farm.local.parts import Part
from farm.process.child import Child, ChildNotStarted
from farm.process.restart import Backoff, Failure, keep_running

log = logging.getLogger(__name__)

PROBE_EVERY_S: Final = 0.02  # at first; a server that takes long is asked less often, for its cores are ours
SELDOMEST_PROBE_S: Final = 0.25
BACKOFF: Final = Backoff(first_s=0.5, longest_s=30.0)
ORPHAN_GRACE_S: Final = 3.0  # when this process is killed: its parts must be gone before the next start


class News(StrEnum):
    """What happened to a part."""

    STARTED = "started"
    READY = "ready"  # it answers
    DIED = "died"  # `detail` says how; it is started again after a pause


@dataclass(frozen=True, slots=True, kw_only=True)
class PartNews:
    """One thing to tell the person at the terminal."""

    part: PartName
    news: News
    detail: str = ""


class Board:
    """What the keepers of the parts tell each other."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.ready: set[PartName] = set()
        self.failure: StackError | None = None  # of a part that never answered
        self.stopping = False

    def wait_for(self, condition: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Wait until the condition holds; False when the time is up."""
        with self.changed:
            return self.changed.wait_for(condition, timeout_s)

    def set(self, change: Callable[[], object]) -> None:
        """Change something, and wake all who wait."""
        with self.changed:
            change()
            self.changed.notify_all()

    def stop(self) -> None:
        """Wake all who wait for good: the stack goes down."""
        self.set(lambda: setattr(self, "stopping", True))

    def fail(self, reason: Exception) -> None:
        """The stack cannot come up; the first reason counts."""
        failure = reason if isinstance(reason, StackError) else StackError(str(reason))
        self.set(lambda: setattr(self, "failure", self.failure or failure))


class Keeper:
    """Keeps one part running, in a thread of its own, until the board says stop."""

    def __init__(
        self,
        part: Part,
        board: Board,
        *,
        folder: Path,
        on_start: Callable[[PartName, Child], None],
        on_news: Callable[[PartNews], None],
    ) -> None:
        self.part = part
        self._board = board
        self._folder = folder
        self._on_start = on_start
        self._on_news = on_news
        self._child: Child | None = None
        self._has_answered = False
        self._given_up = False
        self._lock = threading.Lock()  # so that no child is started behind a stop
        self._thread = threading.Thread(target=self._keep, name=f"keeper of {part.name}", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self, grace_s: float | None = None) -> None:
        """End the part (the board already says so) and return when it and all it started is gone."""
        with self._lock:
            child = self._child
        if child is not None:
            child.stop(grace_s=self.part.grace_s if grace_s is None else grace_s)
        if self._thread.ident is not None:  # it was started
            self._thread.join()

    def _keep(self) -> None:
        self._board.wait_for(lambda: self._board.stopping or self.part.needs <= self._board.ready)
        keep_running(self._run, backoff=BACKOFF, wait=self._wait, on_failure=self._failed)

    def _wait(self, pause_s: float) -> bool:
        return self._board.wait_for(lambda: self._board.stopping or self._given_up, pause_s)

    def _failed(self, failure: Failure) -> None:
        if not isinstance(failure.why, FarmError):
            log.error(
                "Keeping a part running failed",
                exc_info=failure.why,
                extra={"event": "part_keeper_failed", "part": self.part.name},
            )
        if self._has_answered:
            self._tell(News.DIED, str(failure.why))
        else:  # not a mishap: something is wrong with how it is set up
            self._given_up = True
            self._board.fail(failure.why)

    def _run(self) -> None:
        """The part from its start to its end.

        Raises:
            StackError: it could not be started, never answered, or ended by itself.
        """
        child = self._launch()
        if child is None:
            return
        try:
            self._await_answer(child)
        except Exception:
            child.stop(grace_s=self.part.grace_s)  # else the next life would find it on its port
            raise
        if self._board.stopping:
            return
        self._has_answered = True
        self._tell(News.READY)
        self._board.set(lambda: self._board.ready.add(self.part.name))
        code = child.wait()
        self._board.set(lambda: self._board.ready.discard(self.part.name))
        raise StackError(child.end_in_words(code))

    def _launch(self) -> Child | None:
        """Start the part; None if the stack goes down."""
        with self._lock:
            if self._board.stopping:
                return None
            try:
                launch = self.part.prepare()
                self._child = child = Child.start(
                    launch.command,
                    name=self.part.name,
                    env=launch.env,
                    # A folder of ours: a `farm.py` where the user stands would be imported instead.
                    cwd=self._folder / "run",
                    log_file=self._folder / "logs" / f"{self.part.name}.log",
                    grace_s=ORPHAN_GRACE_S,
                )
            except (ChildNotStarted, OSError) as exc:
                raise StackError(
                    f"{self.part.name} cannot be started: {_why_not(exc, self._folder)}"
                ) from exc
        self._on_start(self.part.name, child)
        self._tell(News.STARTED)
        return child

    def _await_answer(self, child: Child) -> None:
        deadline = time.monotonic() + self.part.timeout_s
        pause_s = PROBE_EVERY_S
        while not self._board.stopping:
            if (code := child.poll()) is not None:
                raise StackError(child.end_in_words(code))
            refusal = self.part.refuses(child.pid)
            if refusal is None:
                return
            if time.monotonic() >= deadline:
                late = f"{self.part.name} did not answer within {self.part.timeout_s:g} s"
                raise StackError(f"{late} ({refusal}){child.last_words()}")
            self._board.wait_for(lambda: self._board.stopping, pause_s)
            pause_s = min(pause_s * 1.1, SELDOMEST_PROBE_S)

    def _tell(self, news: News, detail: str = "") -> None:
        level = logging.WARNING if news is News.DIED else logging.INFO
        facts = {"event": f"part_{news}", "part": self.part.name, "detail": detail}
        log.log(level, "Part of the local stack: %s", news, extra=facts)
        self._on_news(PartNews(part=self.part.name, news=news, detail=detail))


def _why_not(exc: ChildNotStarted | OSError, folder: Path) -> str:
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk of {folder} is full: make room there"
    return str(exc)
