"""The live events of one job: a snapshot, then what changes, until the job has ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from farm.errors import StorageUnavailable, StoreUnavailable
from farm.gateway.comfy import shapes
from farm.gateway.comfy.files import Links
from farm.gateway.door import Visit
from farm.gateway.streams import KEEPALIVE, KEEPALIVE_S, frame
from farm.job import EventKind, JobEvent, JobRecord, JobState
from farm.store.follow import ends

_PREVIEW_S: Final = 0.5  # between two pictures
_QUEUED_S: Final = 2.0  # between two looks at a waiting job's place
_AWAY_S: Final = 1.0  # between two tries while Redis is away


async def frames(visit: Visit, job: JobRecord) -> AsyncIterator[bytes]:
    """The frames of a job's stream; while Redis is away it is still, and goes on when that is back."""
    stream = _Stream(visit, job)
    yield KEEPALIVE  # the client knows at once that it was let in
    while True:
        try:
            async for piece in stream.run():
                yield piece
        except (StoreUnavailable, StorageUnavailable):
            yield KEEPALIVE
            await asyncio.sleep(_AWAY_S)
        else:
            return


class _Stream:
    """What one client has been told."""

    def __init__(self, visit: Visit, job: JobRecord) -> None:
        self._visit = visit
        self._farm = visit.house.farm
        self._job = job
        self._after = ""  # the last event that was taken in
        self._told: dict[str, Any] | None = None  # the last status
        self._progress: dict[str, Any] | None = None
        self._outputs: set[str] = set()
        self._preview: JobEvent | None = None  # one that is not told yet
        self._preview_at = float("-inf")
        self._spoke_at = time.monotonic()

    async def run(self) -> AsyncIterator[bytes]:
        """Tell how it stands, then every change, until the end."""
        recent = await self._farm.recent_events(self._job.job_id)
        if not self._after:
            self._after = recent[-1].event_id if recent else "0"
        self._take(recent)
        while True:
            await self._look()
            for piece in await self._news():
                self._spoke_at = time.monotonic()
                yield piece
            if self._job.state.final:
                return
            news = await self._farm.follower.next(self._job.job_id, self._after, timeout_s=self._patience_s())
            self._take(news)
            if time.monotonic() - self._spoke_at > KEEPALIVE_S:
                self._spoke_at = time.monotonic()
                yield KEEPALIVE

    async def _look(self) -> None:
        self._job = await self._visit.tenancy.get(self._job.job_id)

    def _take(self, news: Sequence[JobEvent]) -> None:
        for event in news:
            self._after = event.event_id
            if event.kind is EventKind.PREVIEW:
                self._preview = event  # only the newest is worth sending
            elif event.kind is EventKind.STATE and not ends(event):
                self._preview = None  # another attempt begins anew

    async def _news(self) -> list[bytes]:
        """What is to be told now; of the end the outputs first."""
        found = [*self._progress_frames(), *self._preview_frames()]
        for output in await Links(self._visit).outputs(self._job) if self._job.result else ():
            if output["id"] not in self._outputs:
                self._outputs.add(output["id"])
                found.append(frame("output", output))
        position = await self._visit.house.position(self._job)
        status = {"status": shapes.status_of(self._job), "queue_position": position}
        if status != self._told:
            self._told = status
            told = frame("status", status)
            found = [*found, told] if self._job.state.final else [told, *found]
        return found

    def _progress_frames(self) -> list[bytes]:
        if self._job.progress is None or self._job.state is not JobState.RUNNING:
            return []
        progress = shapes.progress_json(self._job, self._job.progress)
        if progress == self._progress:
            return []
        self._progress = progress
        return [frame("progress", progress)]

    def _preview_frames(self) -> list[bytes]:
        if self._preview is None or time.monotonic() - self._preview_at < _PREVIEW_S:
            return []
        data, self._preview = self._preview.data, None
        self._preview_at = time.monotonic()
        return [frame("preview", _preview_json(data))] if self._job.state is JobState.RUNNING else []

    def _patience_s(self) -> float:
        if self._preview is not None:
            return max(self._preview_at + _PREVIEW_S - time.monotonic(), 0.01)
        return _QUEUED_S if self._job.state is JobState.QUEUED else KEEPALIVE_S


def _preview_json(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "node_id": data.get("node_id") or "",
        "content_type": data.get("media_type") or "image/jpeg",
        "data_base64": data.get("image") or "",
    }
