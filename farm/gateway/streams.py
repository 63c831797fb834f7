"""Event streams: how many may be open, and what one is made of (server-sent events)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from farm.gateway.refusals import Refusal

KEEPALIVE: Final = b": still here\n\n"
KEEPALIVE_S: Final = 15.0
_RETRY_S: Final = 5
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # a proxy would hold it back


class Streams:
    """The open streams of one gateway. For one event loop."""

    def __init__(self, *, most: int, most_of_tenant: int) -> None:
        self._most = most
        self._most_of_tenant = most_of_tenant
        self._open: Counter[str] = Counter()

    @property
    def open(self) -> int:
        """How many there are."""
        return self._open.total()

    def enter(self, tenant: str) -> None:
        """Count one more.

        Raises:
            Refusal: there are as many as there may be.
        """
        if self.open >= self._most or self._open[tenant] >= self._most_of_tenant:
            raise Refusal(
                status=429,
                code="too_many_streams",
                message=f"{self._open[tenant]} streams of yours are open; close one, or poll the job",
                retry_after_s=_RETRY_S,
            )
        self._open[tenant] += 1

    def leave(self, tenant: str) -> None:
        """Count one less."""
        self._open[tenant] -= 1
        if not self._open[tenant]:
            del self._open[tenant]


class EventStream(StreamingResponse):
    """An open stream, which gives its place back however it ends."""

    def __init__(self, frames: AsyncIterator[bytes], streams: Streams, tenant: str) -> None:
        """Take a place.

        Raises:
            Refusal: there is none.
        """
        super().__init__(frames, headers=_HEADERS, media_type="text/event-stream")
        self._streams, self._tenant = streams, tenant
        streams.enter(tenant)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As its base has it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.leave(self._tenant)


def frame(event: str, data: Mapping[str, Any]) -> bytes:
    """One event."""
    return f"event: {event}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
