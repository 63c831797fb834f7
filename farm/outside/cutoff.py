"""Cuts connections off when their time is up or somebody says stop: nobody holds us by sending nothing."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

import urllib3.connection

from farm.errors import TransferStopped
from farm.outside.proxy import Proxy

_LOOK_S: Final = 0.1


class OutOfTime(Exception):
    """The time for all of it is up."""


class Cutoff:
    """A deadline and a stop for whatever sockets are put under it; use it as a context manager.

    A time-out of a socket counts from byte to byte, so a server that drips its header never meets one.

    Args:
        time_s: for everything that happens within the context.
        stop: asked several times a second; True ends it.
        what: named by the error when it was stopped.
    """

    def __init__(self, time_s: float, stop: Callable[[], bool], what: str) -> None:
        self._deadline = time.monotonic() + time_s
        self._stop = stop
        self._what = what
        self._over = threading.Event()
        self._cut = threading.Event()
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._thread = threading.Thread(target=self._watch, name="cutoff", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        for each in self._sockets:
            each.close()

    def add(self, connected: socket.socket) -> None:
        """Watch this connection too."""
        # A second handle of the same connection: TLS takes the first one over.
        with self._lock:
            self._sockets.append(connected.dup())
        if self._cut.is_set():
            self._hang_up()

    def left_s(self) -> float:
        """How much time is left.

        Raises:
            OutOfTime, TransferStopped: none.
        """
        self.check()
        return max(self._deadline - time.monotonic(), 0.001)

    def check(self) -> None:
        """Go on, or not.

        Raises:
            OutOfTime: the time is up.
            TransferStopped: somebody said stop.
        """
        if self._stop():
            raise TransferStopped(self._what)
        if time.monotonic() >= self._deadline:
            raise OutOfTime

    def wait(self, seconds: float) -> None:
        """Wait before another try.

        Raises:
            OutOfTime, TransferStopped: as `check`, as soon as it is so.
        """
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0:
            self.check()
            self._over.wait(min(left_s, _LOOK_S))

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_S):
            if self._stop() or time.monotonic() >= self._deadline:
                self._cut.set()
                self._hang_up()
                return

    def _hang_up(self) -> None:
        with self._lock:
            for each in self._sockets:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)


class _Watched:
    """Mixed into a connection of urllib3: puts its socket under a cutoff as soon as there is one."""

    def __init__(self, *arguments: Any, cutoff: Cutoff, through: Proxy | None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._cutoff = cutoff
        self._through = through

    def _new_conn(self) -> socket.socket:
        connected: socket.socket
        if self._through is None:
            connected = super()._new_conn()  # type: ignore[misc]
        else:
            host, port = self.host, self.port  # type: ignore[attr-defined]
            connected = self._through.connect(host, port, timeout_s=self._cutoff.left_s())
            connected.settimeout(self.timeout)  # type: ignore[attr-defined]
        self._cutoff.add(connected)
        return connected


class _HttpConnection(_Watched, urllib3.connection.HTTPConnection):
    pass


class _HttpsConnection(_Watched, urllib3.connection.HTTPSConnection):
    pass


class HttpPool(urllib3.HTTPConnectionPool):
    """A pool whose connections are watched; takes `cutoff` and `through` beside urllib3's own options."""

    ConnectionCls = _HttpConnection


class HttpsPool(urllib3.HTTPSConnectionPool):
    """The same over TLS."""

    ConnectionCls = _HttpsConnection
