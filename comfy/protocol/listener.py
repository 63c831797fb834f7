"""The websocket to ComfyUI: opened with our client id, read as events."""

from __future__ import annotations

import contextlib
import json
import logging
from typing import Any
from urllib.parse import quote

import websocket

from comfy.errors import ComfyError, ServerUnreachable, UnknownMessage
from comfy.protocol import wire
from comfy.protocol.address import ComfyAddress
from comfy.protocol.events import Event

log = logging.getLogger(__name__)

# With this flag previews say which node and prompt they belong to. Source: ComfyUI server.py.
_FEATURE_FLAGS = json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
_TEXT, _BINARY, _CLOSE = 0x1, 0x2, 0x8


class Dropped(ComfyError):
    """The connection is gone; the run goes on without it."""


class EventListener:
    """One connection. Read it until it is closed: a client that does not read stalls everybody's messages."""

    def __init__(self, address: ComfyAddress, client_id: str, *, timeout_s: float) -> None:
        """Connect and introduce ourselves.

        Raises:
            ServerUnreachable: nobody answers there, or not as a websocket.
        """
        url = f"{address.websocket_url}?clientId={quote(client_id, safe='')}"
        untyped: Any = websocket.WebSocket
        self._socket = untyped(skip_utf8_validation=True)
        try:
            # No Origin: ComfyUI refuses one that differs from Host. No proxy: the server is ours.
            self._socket.connect(
                url,
                timeout=timeout_s,
                suppress_origin=True,
                http_no_proxy=["*"],
                header=dict(address.headers),
            )
            self._socket.send(_FEATURE_FLAGS)
        except (OSError, websocket.WebSocketException) as exc:
            self._socket.shutdown()
            refused = isinstance(exc, ConnectionRefusedError)
            raise ServerUnreachable(url, str(exc) or type(exc).__name__, refused=refused) from exc

    def receive(self, timeout_s: float) -> Event | None:
        """Wait for the next event; None when none came in time or the message was not understood.

        Raises:
            Dropped: the connection is gone.
        """
        # 0 would make the socket non-blocking, which websocket-client reads as a broken connection.
        self._socket.settimeout(max(timeout_s, 0.001))
        try:
            opcode, data = self._socket.recv_data()
        except websocket.WebSocketTimeoutException:
            return None
        except (OSError, websocket.WebSocketException) as exc:
            raise Dropped(str(exc) or type(exc).__name__) from exc
        if opcode == _CLOSE:
            raise Dropped("the server closed the connection")
        try:
            return wire.read_text(data) if opcode == _TEXT else wire.read_binary(data)
        except UnknownMessage as exc:
            log.warning(
                "A message was not understood", extra={"event": "message_unknown", "reason": str(exc)}
            )
            return None

    def close(self, *, wait_s: float = 0.0) -> None:
        """Close; with `wait_s` only after the server has confirmed it, or the time is up.

        A second connection with the same client id is struck off when the server notices the end of the
        first, so before reconnecting one waits.
        """
        with contextlib.suppress(OSError, websocket.WebSocketException):
            if wait_s > 0:
                self._socket.close(timeout=wait_s)
            else:
                self._socket.send_close()
        self._socket.shutdown()
