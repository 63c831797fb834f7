"""Whether this worker's finished files are stored, and what it does about it when they are not."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from farm.errors import BucketNotFound, StorageDenied, StorageUnavailable
from farm.status.not_fetching import NotFetching
from farm.status.worker import StorageStatus
from farm.store.roles import WorkerStore
from worker.fetching.gate import Gate
from worker.results.retained import RetainedRenders

log = logging.getLogger(__name__)

_ASK_OTHERS_EVERY_S: Final = 5.0


class StorageWatch:
    """Closes the gate while a render here would only wait: thread-safe.

    While the storage is away for everybody, a GPU goes on and its files wait on the disk, until half of their
    room is taken. What is wrong at one worker alone (its clock, its key, its network) must not collect the
    jobs of the whole farm there: it fetches nothing as long as another one stores its files. One that the
    storage refuses fetches nothing in any case: a person has to act.
    """

    def __init__(
        self,
        name: str,
        gate: Gate,
        store: WorkerStore,
        retained: RetainedRenders,
        *,
        on_change: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            name: of this worker.
            on_change: called when there is news for the worker's status.
        """
        self._name = name
        self._gate = gate
        self._store = store
        self._retained = retained
        self._on_change = on_change
        self._clock = clock
        self._trouble: StorageUnavailable | None = None
        self._others: tuple[float, bool] | None = None  # when they were asked, and whether one is better off

    def note(self, trouble: StorageUnavailable | None) -> None:
        """Files were not taken, or they were."""
        is_news = str(trouble) != str(self._trouble)
        self._trouble = trouble
        if is_news:
            self._on_change()

    @property
    def is_in_trouble(self) -> bool:
        """Whether the last that is known is that it takes no files."""
        return self._trouble is not None

    @property
    def is_refused(self) -> bool:
        """Whether the storage answers and says no, which does not pass by itself."""
        return isinstance(self._trouble, StorageDenied | BucketNotFound)

    @property
    def is_mine_alone(self) -> bool:
        """Whether another worker that takes jobs stores its files all the same, as far as is known."""
        return self._trouble is not None and self._others is not None and self._others[1]

    def status(self) -> StorageStatus:
        """What the worker says of it."""
        waiting = self._retained.all()
        return StorageStatus(
            trouble=str(self._trouble) if self._trouble is not None else None,
            jobs_waiting=len(waiting),
            bytes_waiting=sum(each.size_bytes for each in waiting),
        )

    @property
    def sentence(self) -> str | None:
        """All of it for a person; None when nothing waits and nothing is wrong."""
        status = self.status()
        if status.jobs_waiting:
            why = f": {status.trouble}" if status.trouble else ""
            return f"finished files of {status.jobs_waiting} jobs wait on its disk for the storage{why}"
        return status.trouble

    def look(self) -> None:
        """Open or close the gate.

        Raises:
            StoreUnavailable: the other workers cannot be asked.
        """
        why = self._why_closed()
        is_closed = NotFetching.STORAGE_AWAY in self._gate.closed_for
        if why is None and is_closed:
            self._gate.open(NotFetching.STORAGE_AWAY)
            self._on_change()
        elif why is not None and not is_closed:
            self._gate.close(NotFetching.STORAGE_AWAY)
            log.error(
                "This worker cannot store finished files; it fetches nothing until it can",
                extra={"event": "storage_away", "why": why, "jobs": len(self._retained.all())},
            )
            self._on_change()

    def _why_closed(self) -> str | None:
        if self._trouble is not None:
            self._ask_others()
        else:
            self._others = None
        if self.is_refused:
            return f"the storage refuses this worker: {self._trouble}"
        if self.is_mine_alone:
            return f"other workers store their files: {self._trouble}"
        return "half of the room for files that wait is taken" if self._retained.full else None

    def _ask_others(self) -> None:
        now = self._clock()
        if self._others is not None and now - self._others[0] < _ASK_OTHERS_EVERY_S:
            return
        is_better_off = any(
            worker.name != self._name and not worker.not_fetching and worker.storage.trouble is None
            for worker in self._store.workers()
        )
        self._others = now, is_better_off
