"""Keeps one process running: a thread that starts it, watches it, and starts it again when it dies."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from farm.process.restart import Backoff, Failure, keep_running
from worker.comfyui.excerpt import last_prompts_words
from worker.comfyui.process import PROBE_TIMEOUT_S, ComfyFacts, ComfyProcess, PortTaken
from worker.errors import ComfyDied, ComfyStartFailed, ComfyUnusable, CrashLoop, WorkerError

log = logging.getLogger(__name__)

PORT_TRIES: Final = 3
BACKOFF: Final = Backoff(first_s=1.0, longest_s=60.0)


class ComfyState(StrEnum):
    """How ComfyUI is."""

    STARTING = "starting"
    READY = "ready"  # it answers
    DOWN = "down"  # it ended, or did not start; it will be tried again shortly
    BROKEN = "broken"  # it ends again and again, or cannot run at all; tried once a minute
    STOPPED = "stopped"  # this worker is ending


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """How long to wait for what, in seconds."""

    start_timeout_s: float  # for the first answer
    freeze_timeout_s: float  # without any answer: it is ended
    look_every_s: float = 5.0  # for a frozen one; a death is told at once
    stop_grace_s: float = 5.0  # SIGTERM ends ComfyUI at once, unless a custom node has other ideas
    # The first pause: time for a job to notice a death before there is a new process.
    backoff: Backoff = BACKOFF
    crashes_in_a_row: int = 5  # then it is broken
    first_starts: int = 3  # so many deaths before it was ever ready: not by chance, the set-up is wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """One process that became ready."""

    process: ComfyProcess
    facts: ComfyFacts
    generation: int  # 1 for the first, then one more for each


class Keeper:
    """The thread, and what it knows. All methods may be called from any thread."""

    def __init__(
        self,
        new_process: Callable[[Callable[[], None]], ComfyProcess],
        rhythm: Rhythm,
        *,
        on_state: Callable[[ComfyState, WorkerError | None], None] | None = None,
    ) -> None:
        """Prepare.

        Args:
            new_process: starts one; calls what it is given when that process ends.
            on_state: called in the thread at each change, with the error that led to it.
        """
        self._new_process = new_process
        self._rhythm = rhythm
        self._on_state = on_state
        self._changed = threading.Condition()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._state = ComfyState.STOPPED
        self._failure: WorkerError | None = None
        self._failures = 0  # in a row
        self._restart: str | None = None  # why it is to be started anew
        self._running: Running | None = None  # the last that became ready
        self._recent: deque[ComfyProcess] = deque(maxlen=3)
        self._thread = threading.Thread(target=self._keep, name="comfy-keeper", daemon=True)

    def start(self) -> None:
        """Begin, and return once it is ready. A process that is killed meanwhile is started again.

        Raises:
            ComfyUnusable, ComfyStartFailed: it cannot be run, does not answer in time, or ends each time.
        """
        self._thread.start()
        with self._changed:
            self._changed.wait_for(self._first_start_is_over)
            if self._failure is not None and self._state is not ComfyState.READY:
                raise self._failure
            if self._stopping.is_set():
                raise ComfyStartFailed("it was stopped before it was ready", "start it again")

    def stop(self) -> None:
        """End the process, and the thread."""
        with self._changed:
            self._stopping.set()
            self._wake.set()
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def request_restart(self, reason: str) -> None:
        """Have the process that runs now replaced; `wait` then waits for the new one."""
        with self._changed:
            self._restart = reason
            self._wake.set()
            self._changed.notify_all()

    def silence_noticed(self) -> None:
        """Somebody else's server gave no answer: it is down until it gives one, and may keep what it runs."""
        with self._changed:
            if self._state is not ComfyState.READY or self._running is None:
                return
            url = self._running.process.url
        log.warning("ComfyUI does not answer", extra={"event": "comfy_silent", "url": url})
        why = ComfyStartFailed(f"{url} does not answer", "look at the server, and at the way there")
        self._set_state(ComfyState.DOWN, why)

    def wait(self, timeout_s: float) -> Running:
        """The process that is ready; usually it is already.

        Raises:
            ComfyUnusable, CrashLoop: it is tried again, but not soon enough to wait for it.
            ComfyStartFailed: it was not ready in time.
        """
        with self._changed:
            self._changed.wait_for(self._settled, timeout_s)
            if self._state is ComfyState.READY and self._running is not None and self._settled():
                return self._running
            if self._state is ComfyState.BROKEN and self._failure is not None:
                raise self._failure
            raise ComfyStartFailed(f"it is {self._state}", "the worker's log says why", lines=self.tail())

    @property
    def state(self) -> ComfyState:
        """How it is now."""
        return self._state

    @property
    def failure(self) -> WorkerError | None:
        """Why it does not run; None while it does."""
        return self._failure

    @property
    def trouble(self) -> str | None:
        """Why it does not run, for a person, as soon as something is known; None while nothing is wrong."""
        if self._failure is not None:
            return str(self._failure)
        recent = self.recent
        return recent[-1].silence if recent and self._state is ComfyState.STARTING else None

    @property
    def running(self) -> Running | None:
        """The last one that became ready; it may have ended since."""
        return self._running

    @property
    def recent(self) -> list[ComfyProcess]:
        """The last few processes, the present one last."""
        with self._changed:
            return list(self._recent)

    @property
    def ended_for(self) -> str | None:
        """Why this worker ended the last process that has ended; None: it did so by itself, or none has."""
        ended = [process for process in self.recent if process.died.is_set()]
        return ended[-1].ended_for if ended else None

    def tail(self) -> list[str]:
        """The last lines of the present process."""
        recent = self.recent
        return recent[-1].tail() if recent else []

    def _first_start_is_over(self) -> bool:
        """Whether it is ready, or will not be, as far as trying tells."""
        failure = self._failure
        if self._state is ComfyState.READY or self._stopping.is_set():
            return True
        if failure is None or isinstance(failure, ComfyDied):
            return False
        ended = isinstance(failure, ComfyStartFailed) and failure.exit_code is not None
        return not ended or self._failures >= self._rhythm.first_starts

    def _settled(self) -> bool:
        if self._restart is not None:
            return False
        if self._state is ComfyState.READY:
            # A death is known a moment before the thread has drawn its conclusions.
            return self._running is not None and not self._running.process.died.is_set()
        return self._state in (ComfyState.BROKEN, ComfyState.STOPPED)

    def _keep(self) -> None:
        keep_running(
            self._run_once,
            backoff=self._rhythm.backoff,
            wait=self._wait,
            on_failure=self._fail,
            is_hopeless=self._is_broken,
        )
        self._set_state(ComfyState.STOPPED)

    def _is_broken(self, why: Exception, in_a_row: int) -> bool:
        return isinstance(why, ComfyUnusable) or in_a_row >= self._rhythm.crashes_in_a_row

    def _wait(self, pause_s: float) -> bool:
        """Between two runs; an order to restart ends it."""
        with self._changed:
            self._changed.wait_for(self._unwanted, pause_s)
        return self._stopping.is_set()

    def _run_once(self) -> None:
        """Start it and stay until it ends.

        Raises:
            ComfyUnusable, ComfyStartFailed: it did not become ready.
            ComfyDied: it ended by itself, or froze and was ended.
        """
        self._forget_restart()
        self._set_state(ComfyState.STARTING)
        running = self._start_process()
        frozen = None
        try:
            self._forget_restart()  # asked for meanwhile: this was it
            with self._changed:
                self._running = running
            self._set_state(ComfyState.READY)
            self._log_ready(running)
            frozen = self._watch(running.process)
        finally:
            reason_to_end = (self._restart or "the worker ends") if self._unwanted() else None
            # A frozen one will not listen to a request either.
            grace_s = 0.0 if frozen else self._rhythm.stop_grace_s
            code = running.process.stop(grace_s=grace_s, why=frozen or reason_to_end)
        if reason_to_end is not None or self._unwanted():
            reason = reason_to_end or self._restart or "the worker ends"
            log.info("ComfyUI ended by this worker", extra={"event": "comfy_stopped", "reason": reason})
            return
        raise ComfyDied(code, lines=last_prompts_words(running.process.tail()), reason=frozen)

    def _start_process(self) -> Running:
        generation = self._running.generation + 1 if self._running is not None else 1
        for tries_left in reversed(range(PORT_TRIES)):
            process = self._new_process(self._wake.set)
            with self._changed:
                self._recent.append(process)
            try:
                facts = process.wait_ready(self._rhythm.start_timeout_s, self._stopping)
                return Running(process=process, facts=facts, generation=generation)
            except PortTaken:
                if not tries_left:
                    raise
            except WorkerError:
                process.stop(grace_s=0.0)
                raise
        raise AssertionError("the last try returns or raises")

    def _watch(self, process: ComfyProcess) -> str | None:
        """Wait until it ends or is to be ended; a reason when it froze."""
        patience_s = min(PROBE_TIMEOUT_S, self._rhythm.freeze_timeout_s)
        answered, silent = time.monotonic(), 0
        while not (process.died.is_set() or self._unwanted()):
            if self._wake.wait(self._look_in_s()):
                self._wake.clear()
                continue
            facts = process.ask(patience_s)
            if facts is not None:
                answered, silent = time.monotonic(), 0
                self._answers_again(facts)
                continue
            # Counted as well as timed: a machine that slept has a clock that jumped.
            silent += 1
            if process.child is None and (silent >= 2 or not process.is_slow):
                self.silence_noticed()
            silence_s = time.monotonic() - answered
            if silent >= 2 and silence_s >= self._rhythm.freeze_timeout_s:
                process.died.set()
                return f"it gave no answer for {silence_s:.0f} s and was ended"
        return None

    def _look_in_s(self) -> float:
        every_s = self._rhythm.look_every_s
        return every_s if self._state is ComfyState.READY else min(self._rhythm.backoff.first_s, every_s)

    def _answers_again(self, facts: ComfyFacts) -> None:
        """After a silence of somebody else's server: nobody knows whether it is still the same process."""
        with self._changed:
            if self._state is not ComfyState.DOWN or self._running is None:
                return
            generation = self._running.generation + 1
            self._running = Running(process=self._running.process, facts=facts, generation=generation)
        self._set_state(ComfyState.READY)
        log.info("ComfyUI answers again", extra={"event": "comfy_back", "generation": generation})

    def _unwanted(self) -> bool:
        return self._stopping.is_set() or self._restart is not None

    def _forget_restart(self) -> None:
        with self._changed:
            self._restart = None

    def _fail(self, failure: Failure) -> None:
        why, self._failures = failure.why, failure.in_a_row
        if not isinstance(why, WorkerError):
            log.error("Keeping ComfyUI running failed", exc_info=why, extra={"event": "keeper_failed"})
            why = ComfyStartFailed(f"{type(why).__name__}: {why}", "the worker's log says more")
        log.error(
            "ComfyUI is not running",
            extra={
                "event": "comfy_down",
                "reason": str(why),
                "in_a_row": failure.in_a_row,
                "in_s": failure.pause_s,
            },
        )
        if failure.hopeless and not isinstance(why, ComfyUnusable):
            why = CrashLoop(failure.in_a_row, retry_in_s=failure.pause_s, lines=self.tail())
        self._set_state(ComfyState.BROKEN if failure.hopeless else ComfyState.DOWN, why)

    def _set_state(self, state: ComfyState, failure: WorkerError | None = None) -> None:
        with self._changed:
            self._state = state
            # While it is tried again, the last failure is still why nothing runs.
            if state is not ComfyState.STARTING:
                self._failure = failure
            self._changed.notify_all()
        if self._on_state is not None:
            try:
                self._on_state(state, failure)
            except Exception:
                log.exception("Handling a change of state failed", extra={"event": "on_state_failed"})

    def _log_ready(self, running: Running) -> None:
        log.info(
            "ComfyUI is ready",
            extra={
                "event": "comfy_ready",
                "url": running.process.url,
                "version": running.facts.version,
                "seconds": round(time.monotonic() - running.process.started_s, 2),
                "generation": running.generation,
            },
        )
