"""The open websockets, and the one loop that writes to them.

Quirks of the real server that are kept, because a client has to live with them: a second socket of the same
client takes the messages over; when the older one closes, the newer is struck off as well; nothing is
replayed; one reader that does not read holds up everybody.

Source: ComfyUI ``server.py``, ``websocket_handler``, ``send_sync`` and ``publish_loop``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import aiohttp
from aiohttp import web

MAX_UPLOAD_BYTES: Final = 104857600


class BinaryEvent(IntEnum):
    """First word of a binary message."""

    PREVIEW = 1  # uint32 image type, image
    PREVIEW_WITH_METADATA = 4  # uint32 length, JSON of that length, image


_JPEG: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    payload: str | bytes
    kind: str
    sid: str | None  # None: everybody


class Hub:
    """Who listens, and sending to them."""

    def __init__(self, features: dict[str, Any], queue_info: Callable[[], dict[str, Any]]) -> None:
        self.client_id: str | None = None  # the client whose prompt runs, None if it named none
        self.last_node_id: str | None = None  # the node in hand, for a client that comes back
        self.is_muted: Callable[[str], bool] = lambda _: False
        self.late_s: Callable[[], float] = lambda: 0.0  # how long messages are under way
        # What is sent in the place of a message.
        self.alter: Callable[[str, dict[str, Any]], Iterable[tuple[str, dict[str, Any]]]]
        self.alter = lambda event, data: [(event, data)]
        self._features = features
        self._queue_info = queue_info
        self._sockets: dict[str, web.WebSocketResponse] = {}
        self._transports: dict[web.WebSocketResponse, asyncio.Transport] = {}
        self._flags: dict[str, dict[str, Any]] = {}
        self._log_readers: set[str] = set()
        self._outbox: asyncio.Queue[_Message] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    # --- called from any thread ---

    def send(self, event: str, data: dict[str, Any], sid: str | None) -> None:
        """Queue a message for one client, or for everybody (None)."""
        kind = "executing_null" if event == "executing" and data.get("node", "") is None else event
        if not self.is_muted(kind):
            for name, content in self.alter(event, data):
                payload = json.dumps({"type": name, "data": content})
                self._post(_Message(payload=payload, kind=kind, sid=sid))

    def send_status(self) -> None:
        """Tell everybody how long the queue is."""
        self.send("status", {"status": self._queue_info()}, None)

    def wants_metadata(self, sid: str | None) -> bool:
        """Whether this client asked for previews with metadata."""
        return sid is not None and self._flags.get(sid, {}).get("supports_preview_metadata") is True

    def send_preview(self, image: bytes, sid: str | None) -> None:
        """Queue a preview of the old kind."""
        if not self.is_muted("preview"):
            payload = struct.pack(">II", BinaryEvent.PREVIEW, _JPEG) + image
            self._post(_Message(payload=payload, kind="preview", sid=sid))

    def send_preview_with_metadata(self, image: bytes, metadata: dict[str, Any], sid: str | None) -> None:
        """Queue a preview that says which node it is of."""
        if not self.is_muted("preview"):
            head = json.dumps({**metadata, "image_type": "image/jpeg"}).encode()
            payload = struct.pack(">II", BinaryEvent.PREVIEW_WITH_METADATA, len(head)) + head + image
            self._post(_Message(payload=payload, kind="preview", sid=sid))

    def drop(self, sid: str | None, *, politely: bool) -> None:
        """Cut one client's socket, or all of them (None)."""
        self._loop.call_soon_threadsafe(self._drop_now, sid, politely)

    def send_log(self, entry: dict[str, str]) -> None:
        """Pass a line that was printed to those who subscribed to the log."""
        for sid in tuple(self._log_readers):
            self.send("logs", {"entries": [entry], "size": None}, sid)

    # --- on the loop ---

    def _post(self, message: _Message) -> None:
        # The loop is closed while the process goes down; the worker thread may still be talking.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._put, message)

    def _put(self, message: _Message) -> None:
        late_s = self.late_s()
        if late_s:
            self._loop.call_later(late_s, self._outbox.put_nowait, message)
        else:
            self._outbox.put_nowait(message)

    def _drop_now(self, sid: str | None, politely: bool) -> None:
        for socket in [self._sockets[sid]] if sid in self._sockets else list(self._sockets.values()):
            transport = self._transports.get(socket)
            if politely:
                task = asyncio.ensure_future(socket.close())
                task.add_done_callback(lambda done: done.exception())
            elif transport is not None:
                transport.abort()

    def subscribe_logs(self, sid: str, wanted: bool) -> None:
        """Start or stop passing printed lines to a client."""
        if wanted:
            self._log_readers.add(sid)
        else:
            self._log_readers.discard(sid)

    async def publish(self) -> None:
        """Write what is queued, one message after the other, for ever."""
        while True:
            message = await self._outbox.get()
            if message.sid is None:
                for socket in list(self._sockets.values()):
                    await self._write(socket, message.payload)
            elif message.sid in self._sockets:
                await self._write(self._sockets[message.sid], message.payload)

    async def _write(self, socket: web.WebSocketResponse, payload: str | bytes) -> None:
        with contextlib.suppress(ConnectionError, aiohttp.ClientError, RuntimeError):
            if isinstance(payload, str):
                await socket.send_str(payload)
            else:
                await socket.send_bytes(payload)

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Handle one websocket from its first byte to its last."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        sid = request.query.get("clientId", "") or uuid.uuid4().hex
        self._sockets[sid] = socket
        if isinstance(request.transport, asyncio.Transport):
            self._transports[socket] = request.transport
        self._flags[sid] = {}
        try:
            first = {"status": self._queue_info(), "sid": sid}
            await self._write(socket, json.dumps({"type": "status", "data": first}))
            if self.client_id == sid and self.last_node_id is not None:
                # Without a prompt id: that is how the real server greets a client that comes back.
                note = {"type": "executing", "data": {"node": self.last_node_id}}
                await self._write(socket, json.dumps(note))
            await self._read(socket, sid)
        finally:
            # By id, not by socket: an older socket that closes takes a newer one of the same client with it.
            self._sockets.pop(sid, None)
            self._flags.pop(sid, None)
            self._transports.pop(socket, None)
        return socket

    async def _read(self, socket: web.WebSocketResponse, sid: str) -> None:
        is_first = True
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            with contextlib.suppress(json.JSONDecodeError, AttributeError):
                data = json.loads(message.data)
                if is_first and data.get("type") == "feature_flags":
                    self._flags[sid] = data.get("data", {})
                    answer = {"type": "feature_flags", "data": self._features}
                    await self._write(socket, json.dumps(answer))
                is_first = False
