"""A TCP proxy in this process that breaks connections on command: a bad network for tests, without root.

    with FaultProxy("127.0.0.1", server_port) as proxy:
        client = connect(proxy.port)
        proxy.mode = Mode.BLACKHOLE

Its attributes may be set from the test's thread at any time and count from the next piece of data on.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterable
from enum import StrEnum
from types import TracebackType
from typing import Self

_PIECE_BYTES = 1 << 16
_STALL_POLL_S = 0.02
_TURNS = 50  # of the loop, in which whatever had been accepted comes to its protocol
_START_DEADLINE_S = 60.0


class Mode(StrEnum):
    """What happens to data and to new connections."""

    PASS = "pass"
    BLACKHOLE = "blackhole"  # everything is accepted, nothing arrives; goes on when the mode changes
    MUTE = "mute"  # what clients say arrives and is carried out; no answer comes back until the mode changes
    REFUSE = "refuse"  # new connections are reset at once; old ones go on


class Direction(StrEnum):
    """Which way data goes."""

    UP = "up"  # client to server
    DOWN = "down"  # server to client


class _Accepted(asyncio.StreamReaderProtocol):
    """As `asyncio.start_server` makes them, and known from the first moment on."""

    def __init__(
        self,
        handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
        accepted: weakref.WeakSet[asyncio.Transport],
    ) -> None:
        super().__init__(asyncio.StreamReader(), handle)
        self._all = accepted

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._all.add(transport)
        super().connection_made(transport)


class FaultProxy:
    """Listens on a free port (of loopback, unless told otherwise) and passes everything on to one server.

    Attributes:
        mode: see `Mode`.
        latency_s: added to each piece of data, each way.
        bytes_per_s: each way and connection; 0: as fast as it goes.
        connections: how many were made so far.
        bytes_passed: by direction, over all connections.
        bytes_asked: what clients have sent, whether or not it has passed.
    """

    def __init__(
        self, host: str, port: int, *, listen_on: str = "127.0.0.1", window_bytes: int | None = None
    ) -> None:
        """`window_bytes` bounds what clients can have sent ahead: a real network is no sponge."""
        self._upstream = (host, port)
        self._window_bytes = window_bytes
        self.host = listen_on
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)
        self._started = threading.Event()
        self._stop: asyncio.Event | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._accepted: weakref.WeakSet[asyncio.Transport] = weakref.WeakSet()
        self._cuts: list[tuple[Direction, int]] = []
        self._lock = threading.Lock()
        self.mode = Mode.PASS
        self.latency_s = 0.0
        self.bytes_per_s = 0.0
        self.connections = 0
        self._stalled_up_to = 0
        self._bottomless_at: int | None = None
        self._deadly = b""
        self._muted: set[int] = set()  # numbers of connections
        self.cuts_made = 0
        self.bytes_passed = dict.fromkeys(Direction, 0)
        self.bytes_asked = 0
        self.port = 0

    @property
    def url(self) -> str:
        """Its address for HTTP."""
        return f"http://{self.host}:{self.port}"

    def cut_after(self, count_bytes: int, direction: Direction = Direction.UP, *, times: int = 1) -> None:
        """Reset the connection that first carries so many bytes one way; as often as `times` says.

        Connections that were there before are counted from their own beginning.
        """
        with self._lock:
            self._cuts += [(direction, count_bytes)] * times

    def blackhole_after(self, count_bytes: int) -> None:
        """Let nothing through any more once so many bytes, over all connections, have gone to the server."""
        self._bottomless_at = count_bytes

    def stall_open(self) -> None:
        """Let nothing through any more on the connections that are open now; new ones are good."""
        self._stalled_up_to = self.connections

    def swallow_answer_to(self, words: bytes) -> None:
        """Pass on what contains these words, and from then on nothing that comes back on its connection."""
        self._deadly = words

    def reset_all(self) -> None:
        """Reset every connection that is open now."""
        self._loop.call_soon_threadsafe(self._reset, list(self._writers))

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._started.wait(_START_DEADLINE_S):
            raise RuntimeError("the proxy did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        listener = socket.create_server((self.host, 0))
        if self._window_bytes is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._window_bytes)
        server = await self._loop.create_server(
            lambda: _Accepted(self._handle, self._accepted), sock=listener
        )
        self.port = int(server.sockets[0].getsockname()[1])
        self._started.set()
        await self._stop.wait()
        server.close()
        self._reset(list(self._writers))
        # What was accepted just now has no handler yet, or one that has not got to the server.
        for _ in range(_TURNS):
            await asyncio.sleep(0)
            for each in self._accepted:
                each.abort()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        if self.mode is Mode.REFUSE:
            self._reset([writer])
            return
        try:
            there, back = await asyncio.open_connection(*self._upstream)
        except (OSError, asyncio.CancelledError):  # the latter: the proxy ends
            self._reset([writer])
            return
        self._writers |= {writer, back}
        with contextlib.suppress(OSError, asyncio.CancelledError):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, back, Direction.UP, (writer, back), number))
                group.create_task(self._pump(there, writer, Direction.DOWN, (writer, back), number))
        self._writers -= {writer, back}
        for each in (writer, back):
            each.close()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        direction: Direction,
        both: tuple[asyncio.StreamWriter, ...],
        number: int,
    ) -> None:
        carried = 0
        with contextlib.suppress(OSError):
            while data := await reader.read(_PIECE_BYTES):
                self.bytes_asked += len(data) if direction is Direction.UP else 0
                await self._delay(len(data), number, direction)
                carried += len(data)
                if self._due(direction, carried):
                    self._reset(both)
                    return
                if direction is Direction.UP and self._deadly and self._deadly in data:
                    self._muted.add(number)
                self.bytes_passed[direction] += len(data)
                if self._bottomless_at is not None and self.bytes_passed[Direction.UP] > self._bottomless_at:
                    self.mode, self._bottomless_at = Mode.BLACKHOLE, None
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()

    async def _delay(self, count_bytes: int, number: int, direction: Direction) -> None:
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        if self.bytes_per_s:
            await asyncio.sleep(count_bytes / self.bytes_per_s)
        while self._holds(number, direction):
            await asyncio.sleep(_STALL_POLL_S)

    def _holds(self, number: int, direction: Direction) -> bool:
        if self.mode is Mode.BLACKHOLE or number <= self._stalled_up_to:
            return True
        return direction is Direction.DOWN and (self.mode is Mode.MUTE or number in self._muted)

    def _due(self, direction: Direction, carried: int) -> bool:
        with self._lock:
            for cut in self._cuts:
                if cut[0] is direction and carried > cut[1]:
                    self._cuts.remove(cut)
                    self.cuts_made += 1
                    return True
        return False

    def _reset(self, writers: Iterable[asyncio.StreamWriter]) -> None:
        for writer in writers:
            sock = writer.get_extra_info("socket")
            if sock is not None:
                # Closing with a linger of zero sends RST instead of FIN.
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
