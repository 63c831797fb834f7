"""A TCP relay in front of a server that can cut connections as a bad network does."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable


class Cutter:
    """Relays to a port on this machine; tells websocket connections from others by their first line."""

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._door.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket, bool]] = []
        self._answers_to_lose = 0
        self._threads: list[threading.Thread] = []
        self.cuts = 0
        self._spawn(self._accept)

    def cut_websockets(self) -> None:
        """Reset every websocket connection, on both sides."""
        with self._lock:
            found = [(client, server) for client, server, is_websocket in self._pairs if is_websocket]
            self._pairs = [pair for pair in self._pairs if not pair[2]]
        for pair in found:
            self.cuts += 1
            for end in pair:
                _reset(end)

    def lose_next_answer_to_post(self) -> None:
        """Deliver the next ``POST /prompt`` and cut the connection when its answer comes."""
        self._answers_to_lose += 1

    def close(self) -> None:
        """Accept no more and end what there is."""
        _shut(self._door)
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for client, server, _ in pairs:
            _shut(client)
            _shut(server)
        for thread in list(self._threads):
            thread.join(timeout=60)
        self._door.close()

    def _spawn(self, work: Callable[..., None], *args: socket.socket) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._door.accept()
                self._spawn(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, socket.create_connection(self._target) as server:
            first = client.recv(65536)
            with self._lock:
                self._pairs.append((client, server, first.startswith(b"GET /ws")))
            server.sendall(first)
            upstream = threading.Thread(target=_pump, args=(client, server), daemon=True)
            upstream.start()
            if first.startswith(b"POST /prompt") and self._answers_to_lose:
                self._lose_answer(server, client)
            else:
                _pump(server, client)
            upstream.join(timeout=60)

    def _lose_answer(self, server: socket.socket, client: socket.socket) -> None:
        self._answers_to_lose -= 1
        server.recv(65536)
        self.cuts += 1
        _shut(server)
        _reset(client)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    _shut(source)
    _shut(target)


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # Linger for 0 s: the other side gets a reset instead of an orderly end.
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.shutdown(socket.SHUT_RDWR)
