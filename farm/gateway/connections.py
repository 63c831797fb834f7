"""Connections: no head of a request larger or slower than it may be, and never too many of them."""

from __future__ import annotations

import asyncio
import math
import resource
import sys
from typing import Any, ClassVar, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

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


class Connection(HttpToolsProtocol):
    """As uvicorn has it, which waits for ever for a head that goes on coming, and keeps all of it."""

    most: ClassVar[int] = _most_connections()
    _unread = 0  # bytes that came since the last that meant something: a whole head, a piece of a body
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Await the first head, unless there are too many connections."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.abort()
        else:
            self._await_head()

    def data_received(self, data: bytes) -> None:
        """Take it in pieces: what the parser keeps of a head, a chunk's line or a trailer has a measure."""
        at = 0
        while at < len(data) and not self.transport.is_closing():
            piece = data[at : at + MOST_HEAD_BYTES - self._unread]
            at += len(piece)
            self._unread += len(piece)
            super().data_received(piece)
            if self._unread >= MOST_HEAD_BYTES:
                self._refuse()
        if self._unread and self._is_between():
            self._await_head()

    def on_headers_complete(self) -> None:
        """Serve it."""
        self._unread = 0
        self._head_came()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Hand it on."""
        self._unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """What comes now is another request."""
        self._unread = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Await the rest of a head that has begun meanwhile; of no head its base waits long enough."""
        super().on_response_complete()
        if self._unread and self._is_between():
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Await nothing more."""
        self._head_came()
        super().connection_lost(exc)

    def _is_between(self) -> bool:
        """Whether no request is under way."""
        cycle: RequestResponseCycle | None = self.cycle  # none before the first request
        return cycle is None or (cycle.response_complete and not self.pipeline)

    def _refuse(self) -> None:
        if self._is_between():
            self.send_400_response("the head of the request is too large")
        else:
            self.transport.abort()

    def _await_head(self) -> None:
        if self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self.timeout_keep_alive, self.transport.close)

    def _head_came(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
