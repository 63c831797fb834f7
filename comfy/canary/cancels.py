"""The second half of the flight: one prompt that waits and one that runs are canceled.

All of it is asked for by HTTP, so that it says something even where the websocket is dumb.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from typing import Final

from comfy.canary.graphs import CHAINS, chain, picture
from comfy.canary.report import CancelBy, Seen, Trait
from comfy.canary.rows import Rows
from comfy.canary.waiting import LOOK_EVERY_S, CanaryLimits, until
from comfy.errors import ComfyError
from comfy.protocol.client import ComfyClient
from comfy.protocol.run import Outcome, PromptRun
from comfy.protocol.whereabouts import Whereabouts

_OF_A_SLOW_ANSWER: Final = 4  # a neighbour is watched for so many times what the server took: it may be busy
_STOPS_WITHIN_S: Final = 1.0  # some hundred nodes: what ends by itself later than this was not stopped
_TELL_AGAIN_S: Final = 0.25  # an interrupt that comes while a prompt just begins is lost


class Cancels:
    """Fills the rows on canceling, and the one on the queue."""

    def __init__(self, client: ComfyClient, rows: Rows, limits: CanaryLimits, *, prefix: str) -> None:
        """Prepare.

        Args:
            prefix: of the files that are saved, should a prompt come to its end.
        """
        self._client = client
        self._rows = rows
        self._limits = limits
        self._prefix = prefix
        self.prompts: list[str] = []  # all that were posted
        self.cancel_by: CancelBy | None = None
        self.busy = ""  # who is before us, when that is why nothing was seen

    def fly(self) -> None:
        """Try with longer and longer prompts, until one is not over before it is canceled."""
        with self._rows.look(Trait.QUEUE):
            for length in CHAINS:
                if self._round(length):
                    return
            self._rows.note(Trait.CANCEL_RUNNING, Seen.NOT_SEEN, "it was over before it could be canceled")

    def _round(self, length: int) -> bool:
        """Cancel a prompt that waits, and the one before it; False: the first was over too soon."""
        running, waiting = str(uuid.uuid4()), str(uuid.uuid4())
        self.prompts += [running, waiting]
        nobody = uuid.uuid4().hex
        try:
            self._client.submit(chain(length, self._prefix), prompt_id=running, client_id=nobody)
            self._client.submit(picture(self._prefix), prompt_id=waiting, client_id=nobody)
            if not self._has_begun(running):
                return True
            if not self._cancel_waiting(running, waiting):
                return self._rows.seen(Trait.CANCEL_ALONE) is Seen.FAILED
            return self._cancel_running(running)
        finally:
            for prompt_id in (waiting, running):
                with contextlib.suppress(ComfyError):
                    self._cancel(prompt_id)

    def _has_begun(self, prompt_id: str) -> bool:
        """Wait for a prompt to leave those that wait; False: others are before it for too long."""
        begun = until(
            lambda: self._client.whereabouts(prompt_id) is not Whereabouts.PENDING,
            within_s=self._limits.run_s,
        )
        if not begun:
            self.busy = "prompts of others run before ours"
        return begun

    def _cancel_waiting(self, running: str, waiting: str) -> bool:
        told = self._client.whereabouts(running), self._client.whereabouts(waiting)
        if self._outcome(running) is not None:
            return False
        held = told == (Whereabouts.RUNNING, Whereabouts.PENDING)
        self._rows.judge(Trait.QUEUE, held, "" if held else " and ".join(told))
        asked_s = time.monotonic()
        with self._rows.look(Trait.CANCEL_QUEUED):
            self._cancel(waiting)
            self._rows.held(Trait.CANCEL_QUEUED)
        took_s = time.monotonic() - asked_s
        watched_until_s = time.monotonic() + max(self._limits.neighbour_s, _OF_A_SLOW_ANSWER * took_s)
        while time.monotonic() < watched_until_s:
            outcome = self._outcome(running)
            if outcome is Outcome.INTERRUPTED:
                self._rows.failed(Trait.CANCEL_ALONE, "it was stopped, too")
            if outcome is not None:
                return False
            time.sleep(LOOK_EVERY_S)
        self._rows.held(Trait.CANCEL_ALONE)
        if self._client.whereabouts(waiting) is Whereabouts.PENDING:
            self._rows.failed(Trait.CANCEL_QUEUED, "it still waits")
        return True

    def _cancel_running(self, prompt_id: str) -> bool:
        with self._rows.look(Trait.CANCEL_RUNNING):
            told_s = time.monotonic()
            outcome = self._stop(prompt_id)
            took_s = time.monotonic() - told_s
            if outcome is Outcome.INTERRUPTED:
                self._rows.held(Trait.CANCEL_RUNNING, f"{took_s:.2f} s")
            elif outcome is None:
                self._rows.failed(Trait.CANCEL_RUNNING, f"it runs on after {took_s:.0f} s")
            elif took_s < _STOPS_WITHIN_S:
                return False
            else:
                self._rows.failed(Trait.CANCEL_RUNNING, f"it ran on for {took_s:.1f} s, and {outcome}")
        return True

    def _stop(self, prompt_id: str) -> Outcome | None:
        """Tell a prompt to stop until it has ended; None: it did not in the time that we wait."""
        deadline_s = time.monotonic() + self._limits.run_s
        tell_at_s = 0.0
        while time.monotonic() < deadline_s:
            if time.monotonic() >= tell_at_s:
                self._cancel(prompt_id)
                tell_at_s = time.monotonic() + _TELL_AGAIN_S
            outcome = self._outcome(prompt_id)
            if outcome is not None:
                return outcome
            time.sleep(LOOK_EVERY_S)
        return None

    def _cancel(self, prompt_id: str) -> None:
        self._client.cancel(prompt_id)
        self.cancel_by = CancelBy.JOB if self._client.cancels_by_job else CancelBy.QUEUE

    def _outcome(self, prompt_id: str) -> Outcome | None:
        """How a prompt ended; None while it has not."""
        run = PromptRun(prompt_id, {})
        run.feed_history(self._client.history(prompt_id), time.monotonic())
        return run.outcome
