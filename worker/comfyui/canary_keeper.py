"""Sends a canary through each ComfyUI before jobs may come, and again until one comes through."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final, Protocol

from comfy.canary.report import CanaryReport, Verdict
from farm.status.not_fetching import NotFetching
from worker.comfyui.keeper import ComfyState
from worker.fetching.gate import Gate

log = logging.getLogger(__name__)

_FIRST_PAUSE_S: Final = 2.0  # before it is sent again
_GIVEN_UP_WITHIN_S: Final = 5.0
_LONGEST_PAUSE_S: Final = 300.0
_BACK_WITHIN_S: Final = 120.0
_REASONS: Final = {
    Verdict.UNUSABLE: NotFetching.CANARY_FAILED,
    Verdict.BUSY: NotFetching.CANARY_BUSY,
}
_ALL_REASONS: Final = (NotFetching.CANARY_UNDER_WAY, *_REASONS.values())


class Aviary(Protocol):
    """The ComfyUI of now, as far as a canary is concerned."""

    @property
    def state(self) -> ComfyState:
        """How it is."""

    @property
    def generation(self) -> int:
        """Which start of it this is."""

    def send_canary(self, *, give_up: threading.Event, on_wait: Callable[[str], None]) -> CanaryReport:
        """Send one through it; see `comfy.canary.flight.run_canary`."""


class CanaryKeeper:
    """The thread, and what it knows. Methods may be called from any thread."""

    def __init__(
        self,
        comfy: Aviary,
        gate: Gate,
        *,
        required: bool,
        on_report: Callable[[], None],
        first_pause_s: float = _FIRST_PAUSE_S,
    ) -> None:
        """Prepare; `start` begins. Whoever has ComfyUI started keeps the gate closed until it answers.

        Args:
            required: whether a ComfyUI that does not do what jobs need gets none.
            on_report: called in the thread when there is something new to tell.
            first_pause_s: before one that did not come through is sent again; doubles each time.
        """
        self._comfy = comfy
        self._gate = gate
        self._required = required
        self._on_report = on_report
        self._first_pause_s = self._pause_s = first_pause_s
        self._again_in_s: float | None = None  # None: not unless something happens
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._due = False
        self._sent = self._back = 0
        self._report: CanaryReport | None = None
        self._newest_told = ""
        self._thread = threading.Thread(target=self._run, name="canary", daemon=True)

    def start(self) -> None:
        """Send one whenever it is due."""
        self._thread.start()

    def stop(self) -> None:
        """Send no more; one that is under way is given up."""
        with self._changed:
            self._stopping.set()
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout=_GIVEN_UP_WITHIN_S)

    @property
    def report(self) -> CanaryReport | None:
        """What the last one found in the ComfyUI of now; None: none is back yet."""
        return self._report

    @property
    def trouble(self) -> str | None:
        """Why jobs cannot come, for a person; None while a canary has nothing against it."""
        report = self._report
        closes = report is not None and self._reason_of(report) is not None
        return report.sentence if report is not None and closes else None

    def comfyui_started(self) -> None:
        """Another process answers: what was found of the one before says nothing of it."""
        with self._changed:
            self._report, self._pause_s = None, self._first_pause_s
            self._close_for(NotFetching.CANARY_UNDER_WAY)
            self._due = True
            self._changed.notify_all()

    def comfyui_ended(self) -> None:
        """No ComfyUI answers: nothing is on its way through it, and what was found has gone with it."""
        with self._changed:
            self._report = None
            self._close_for(None)

    def send_now(self) -> CanaryReport | None:
        """Send one and wait for it; None: it did not come back in time."""
        with self._changed:
            number = self._sent + 1
            self._due = True
            self._changed.notify_all()
            is_back = self._changed.wait_for(
                lambda: self._back >= number or self._stopping.is_set(), timeout=_BACK_WITHIN_S
            )
            return self._report if is_back else None

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._due or self._stopping.is_set(), timeout=self._again_in_s)
                if self._stopping.is_set():
                    return
                self._due, self._again_in_s = False, None
                self._sent += 1
            try:
                self._send()
            except Exception:
                log.exception("The canary was not sent", extra={"event": "canary_not_sent"})
                self._send_again()
            with self._changed:
                self._back = self._sent
                self._changed.notify_all()

    def _send(self) -> None:
        generation = self._comfy.generation
        if self._comfy.state is not ComfyState.READY:
            return  # its next start sends one
        report = self._comfy.send_canary(give_up=self._stopping, on_wait=self._waits)
        with self._changed:
            gone = generation != self._comfy.generation or self._comfy.state is not ComfyState.READY
            if gone or self._stopping.is_set():
                return  # what it found may be no more than that end
            self._report = report
            self._close_for(self._reason_of(report))
        if report.verdict in _REASONS:
            self._send_again()
        self._tell(report)
        self._on_report()

    def _send_again(self) -> None:
        self._again_in_s = self._pause_s
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)

    def _waits(self, why: str) -> None:
        log.info("The canary waits its turn", extra={"event": "canary_waits", "reason": why})
        with self._changed:
            if self._comfy.state is ComfyState.READY:
                self._close_for(NotFetching.CANARY_BUSY)
        self._on_report()

    def _reason_of(self, report: CanaryReport) -> NotFetching | None:
        """Why jobs cannot come, by what was found; None: they can."""
        if report.verdict is Verdict.UNUSABLE and not self._required:
            return None
        return _REASONS.get(report.verdict)

    def _close_for(self, reason: NotFetching | None) -> None:
        """Close the gate for this reason, and for no other of ours."""
        if reason is not None:
            self._gate.close(reason)
        for other in _ALL_REASONS:
            if other is not reason:
                self._gate.open(other)

    def _tell(self, report: CanaryReport) -> None:
        if report.is_newer and report.version != self._newest_told:
            self._newest_told = report.version
            log.warning(
                "ComfyUI is newer than any known release, and is treated like the newest of them",
                extra={"event": "comfyui_newer", "version": report.version, "taken_for": report.taken_for},
            )
        level, event, words = _WORDS[report.verdict]
        log.log(level, words, extra={"event": event, "what": report.sentence, "took_s": report.took_s})


_WORDS: Final = {
    Verdict.PROVEN: (logging.INFO, "canary_passed", "The canary came through"),
    Verdict.UNPROVEN: (logging.WARNING, "canary_doubts", "ComfyUI is not in all as it is known"),
    Verdict.UNUSABLE: (logging.ERROR, "canary_failed", "ComfyUI does not do what jobs need"),
    Verdict.BUSY: (logging.WARNING, "canary_busy", "ComfyUI had no time for the canary"),
}
