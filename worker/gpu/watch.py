"""Watches the card while the worker lives: a card that is lost, or NVML that vanishes, is noticed.

In a container that lives long, access to the card may be withdrawn under it (a ``systemctl daemon-reload``
on the host does that). Whoever asks only at the start would go on, on the CPU or not at all.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Final, NamedTuple

from comfy.doctor.times import CardUse
from worker.errors import GpuUnusable
from worker.gpu.card import GpuCard, others_bytes, read_card
from worker.gpu.nvml import GpuState, unusable

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 5.0
_KEPT: Final = 5000  # looks: seven hours, which is longer than a job may take


class _Look(NamedTuple):
    at_s: float  # monotonic
    others_bytes: int
    slowed_by: str
    temperature_c: int | None


class GpuWatch:
    """A thread that reads the card again and again; `card` and `trouble` may be asked from any thread."""

    def __init__(
        self,
        card: GpuCard,
        on_change: Callable[[GpuUnusable | None], None],
        *,
        every_s: float = LOOK_EVERY_S,
    ) -> None:
        """Prepare.

        Args:
            card: as it was when the worker began.
            on_change: called in the thread when the card cannot be used any more, or differs in why,
                and with None when it is well again.
        """
        self._first = card
        self._on_change = on_change
        self._every_s = every_s
        self._stopping = threading.Event()
        self._looking = threading.Lock()
        self._card = card
        self._trouble: GpuUnusable | None = None
        self._looks: deque[_Look] = deque(maxlen=_KEPT)
        self._thread = threading.Thread(target=self._run, name="gpu-watch", daemon=True)

    @property
    def card(self) -> GpuCard:
        """The card as it was when it could be read last."""
        return self._card

    @property
    def trouble(self) -> GpuUnusable | None:
        """Why it cannot be used; None while it can."""
        return self._trouble

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def look(self) -> GpuUnusable | None:
        """Read the card now, and tell if something changed; what is wrong with it, if anything.

        May be called from any thread.
        """
        with self._looking:
            trouble = self._read()
            before, self._trouble = self._trouble, trouble
            if (before and before.state) != (trouble and trouble.state):
                self._tell(trouble)
        return trouble

    def use_during(self, began_s: float, ended_s: float) -> CardUse | None:
        """What was seen of the card between two monotonic moments; None: nothing, they were too close."""
        looks = [each for each in tuple(self._looks) if began_s <= each.at_s <= ended_s]
        if not looks:
            return None
        slowed = Counter(each.slowed_by for each in looks if each.slowed_by)
        return CardUse(
            looks=len(looks),
            shared=sum(each.others_bytes > 0 for each in looks),
            others_bytes=max(each.others_bytes for each in looks),
            slowed=slowed.total(),
            slowed_by=next((name for name, _ in slowed.most_common(1)), ""),
            hottest_c=max(
                (each.temperature_c for each in looks if each.temperature_c is not None), default=None
            ),
        )

    def _read(self) -> GpuUnusable | None:
        try:
            card = self._card = read_card(self._first.uuid)
        except GpuUnusable as exc:
            return exc
        self._looks.append(_Look(time.monotonic(), others_bytes(card), card.slowed_by, card.temperature_c))
        # Those from before are known to whoever runs the machine; new ones spoil pictures and crash jobs.
        new = (self._card.ecc_uncorrected or 0) - (self._first.ecc_uncorrected or 0)
        if new > 0:
            return unusable(GpuState.MEMORY_ERRORS, f"{self._card.name} has {new} new memory errors")
        return None

    def _tell(self, trouble: GpuUnusable | None) -> None:
        if trouble is not None:
            log.error(
                "The card cannot be used",
                extra={"event": "gpu_trouble", "state": trouble.state, "reason": str(trouble)},
            )
        else:
            log.warning("The card can be used again", extra={"event": "gpu_well", "gpu": self._card.uuid})
        self._on_change(trouble)

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            try:
                self.look()
            except Exception:
                log.exception("Looking at the card failed", extra={"event": "gpu_watch_failed"})
