"""How long the canary waits for what."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from comfy.errors import UnknownMessage
from comfy.protocol.patience import Cancel, Patience
from comfy.protocol.run import PromptRun

LOOK_EVERY_S: Final = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryLimits:
    """In seconds."""

    queue_s: float = 30.0  # behind prompts of others
    run_s: float = 10.0  # for anything that the server does when asked
    answer_s: float = 3.0  # for an answer that makes sense, once the server says that it is done
    neighbour_s: float = 0.06  # for what canceling one prompt does to another; longer where answers are slow

    @property
    def patience(self) -> Patience:
        """The same for the client: a canary is over soon, or never."""
        return Patience(
            poll_interval_s=0.5,
            look_again_s=0.1,
            freeze_timeout_s=self.answer_s,
            dead_timeout_s=1.0,
            interrupt_grace_s=self.run_s,
        )


class RunLimit:
    """Calls a run off when it takes too long: to begin, or from there to its end."""

    def __init__(
        self, run: PromptRun, limits: CanaryLimits, *, behind_others: bool, give_up: Cancel | None = None
    ) -> None:
        self._run = run
        self._run_s = limits.run_s
        self._give_up = give_up
        self._latest_start_s = time.monotonic() + (limits.queue_s if behind_others else limits.run_s)

    def is_set(self) -> bool:
        """Whether its time is over, or somebody gives it up."""
        if self._give_up is not None and self._give_up.is_set():
            return True
        begun_s = self._run.started_s
        return time.monotonic() > (self._latest_start_s if begun_s is None else begun_s + self._run_s)


def until(true: Callable[[], bool], *, within_s: float) -> bool:
    """Wait until something is true; False when it did not become so in time."""
    deadline_s = time.monotonic() + within_s
    while not true():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(LOOK_EVERY_S)
    return True


def queued(answer: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The ids of the running and of the waiting prompts in the answer of ``GET /queue``.

    Raises:
        UnknownMessage: it has another form.
    """
    try:
        running, waiting = (
            [str(item[1]) for item in answer[key]] for key in ("queue_running", "queue_pending")
        )
    except (KeyError, TypeError, IndexError) as exc:
        raise UnknownMessage("queue", answer) from exc
    return running, waiting
