"""Notices that Redis has lost its data under a running worker, and says so."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from farm.store.roles import WorkerStore

log = logging.getLogger(__name__)


class EpochWatch:
    """Asks now and then whether this is still the memory that the worker knew.

    Nothing of before is claimed or renewed any more when it is not: the store refuses that by itself, as it
    knows no such job. What was told to the store has to be told anew by whoever told it (`on_forgot`).
    """

    def __init__(self, store: WorkerStore) -> None:
        self._store = store
        self._tell_anew: list[Callable[[], None]] = []
        self._epoch = ""
        self.forgot_at: datetime | None = None  # when it was last noticed here

    def on_forgot(self, tell_anew: Callable[[], None]) -> None:
        """Call this, too, when the memory was lost."""
        self._tell_anew.append(tell_anew)

    def forgot(self) -> bool:
        """Whether the memory was lost since it was asked last; all is told anew by then.

        Raises:
            StoreUnavailable: no answer, or not all could be told anew; ask again.
        """
        known, epoch = self._epoch, self._store.epoch(known=self._epoch)
        if known in ("", epoch):
            self._epoch = epoch
            return False
        self.forgot_at = datetime.now(UTC)
        log.error(
            "This Redis forgot everything: the jobs of before are lost and their attempts here end; "
            "this worker goes on with what is submitted from now on",
            extra={"event": "redis_forgot", "known": known, "epoch": epoch},
        )
        for tell_anew in self._tell_anew:
            tell_anew()
        self._epoch = epoch
        return True
