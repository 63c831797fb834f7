"""`Positions`: where jobs are in their queues, for any number who ask at once, in one round trip."""

from __future__ import annotations

import asyncio

from farm.aio import AsyncFarm
from farm.job import JobRecord, JobState


class Positions:
    """For one event loop."""

    def __init__(self, farm: AsyncFarm) -> None:
        self._farm = farm
        self._asked: dict[str, asyncio.Future[int | None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def of(self, job: JobRecord) -> int | None:
        """How many jobs come before it; None: it does not wait in a queue.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        if job.state is not JobState.QUEUED:
            return None
        future = self._asked.setdefault(job.job_id, asyncio.get_running_loop().create_future())
        if self._task is None:
            self._task = asyncio.create_task(self._answer())
        return await asyncio.shield(future)

    async def _answer(self) -> None:
        # One round trip at a time: who asks meanwhile is answered by the next one.
        while self._asked:
            asked, self._asked = self._asked, {}
            try:
                found = await self._farm.queue_positions([*asked])
            except Exception as exc:  # noqa: BLE001  # each of them sees it
                for future in asked.values():
                    future.set_exception(exc)
                    future.exception()  # nobody may be left who asks
            else:
                for job_id, future in asked.items():
                    future.set_result(found.get(job_id))
        self._task = None
