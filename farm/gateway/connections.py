"""Connections: no head of a request larger or slower than it may be, and never too many of them."""

from __future__ import annotations

import asyncio
import math
import resource
import sys
from typing import Any, ClassVar, Final

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_HEAD_BYTES: Final = 32 << 10
_GOODBYE_S: Final = 3.0  # for requests under way; a stream may go on elsewhere


def config_of(app: ASGIApp, *, idle_s: float) -> uvicorn.Config:
    """How uvicorn serves the application.

    Args:
        idle_s: longest that a connection may take for the head of a request, the time before it included.
    """
    return uvicorn.Config(
        app,
        http=Connection,
        h11_max_incomplete_event_size=MOST_HEAD_BYTES,
        timeout_keep_alive=math.ceil(idle_s),
        timeout_graceful_shutdown=int(_GOODBYE_S),
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
    )


def _most_connections() -> int:
    """Half of the files that may be open at a time: Redis, S3 and uploads need some too."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if most == resource.RLIM_INFINITY else most // 2


class Connection(H11Protocol):
    """As uvicorn has it, which waits for ever for the end of a head that goes on coming."""

    _deadline: asyncio.TimerHandle | None = None
    most: ClassVar[int] = _most_connections()

    def connection_made(self, transport: Any) -> None:
        """Await the first head, unless there are too many connections."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.abort()
        else:
            self._await_head()

    def data_received(self, data: bytes) -> None:
        """Take it in pieces, since a head is measured only between them."""
        for start in range(0, len(data), MOST_HEAD_BYTES):
            if self.transport.is_closing():
                break
            super().data_received(data[start : start + MOST_HEAD_BYTES])
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Await nothing more."""
        self._head_came()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._head_came()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.timeout_keep_alive, self.transport.close)

    def _head_came(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
