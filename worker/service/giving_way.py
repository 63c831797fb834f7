"""A job that this worker has failed came back to it, while another one idles: that one is let by."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from typing import Final

from farm.errors import FarmError
from farm.job import JobRecord, JobState
from farm.status.worker import WorkerStatus
from farm.store.roles import WorkerStore
from farm.store.verdicts import NOTIFY_AGAIN_S

_LOOK_EVERY_S: Final = 0.2
_IN_VAIN_S: Final = 20.0  # who idled and did not take the job may be dead: its status outlives it by 15 s
_ON_ITS_WAY_S: Final = 1.0  # from the announcement to the other worker's claim


class GivingWay:
    """Fetches nothing until a job's next message has reached another worker.

    Without it, two that wait for messages have an even chance at each announcement at best; with a rhythm
    in common it is always the same one that comes first, for as long as it is kept from the job.
    """

    def __init__(
        self,
        name: str,
        store: WorkerStore,
        *,
        sweep_s: float,
        leaves: Callable[[], bool],
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            name: of this worker.
            sweep_s: seconds between two looks of the steward, who announces the job anew.
            leaves: whether this worker takes no more jobs anyway.
        """
        self._name = name
        self._store = store
        self._at_most_s = NOTIFY_AGAIN_S + sweep_s + _ON_ITS_WAY_S
        self._leaves = leaves
        self._sleep = sleep
        self._clock = clock
        self._again_at = -math.inf

    def to_others(self, job_id: str) -> None:
        """Return once another worker has the job, or none that idles is there to take it.

        Who idles would have taken whatever else waits in its class: little can be missed meanwhile.
        """
        until = self._clock() + self._at_most_s
        if self._clock() < self._again_at:
            return
        with contextlib.suppress(FarmError):  # Redis is away, or the job is gone
            while not self._leaves() and self._another_will_have(job_id):
                if self._clock() >= until:
                    self._again_at = until + _IN_VAIN_S
                    return
                self._sleep(_LOOK_EVERY_S)

    def _another_will_have(self, job_id: str) -> bool:
        job = self._store.get(job_id)
        return job.state is JobState.QUEUED and any(
            self._idles_for(job, each) for each in self._store.workers()
        )

    def _idles_for(self, job: JobRecord, worker: WorkerStatus) -> bool:
        return (
            worker.name != self._name
            and not worker.not_fetching
            and not worker.jobs
            and worker.serves(job.spec.requirements.vram_gib)
            and not any(note.worker == worker.name for note in job.attempts)
        )
