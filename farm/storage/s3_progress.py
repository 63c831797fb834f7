"""Requests to S3 that end when nothing moves, and not before, however slow the line is.

A time-out of a socket does not say that: a body that is handed over in one piece has one for all of it, and
what the kernel has taken is not sent yet. On a slow line megabytes wait there while no answer can come, which
looks like a silent server.
"""

from __future__ import annotations

import array
import contextlib
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

_PIECE_BYTES: Final = 64 << 10
_LOOK_EVERY_S: Final = 0.02
# A store may be silent while it puts the parts of a large object together.
_COMPLETION_S: Final = 60.0


class _Watched:
    """Mixin for a connection of botocore's: its time-outs count from the last byte that moved."""

    sock: Any
    timeout: Any
    _completes = False

    def putrequest(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        self._completes = method == "POST" and "uploadId=" in url
        super().putrequest(method, url, *args, **kwargs)  # type: ignore[misc]

    def send(self, data: Any) -> None:
        if not isinstance(data, bytes):
            super().send(data)  # type: ignore[misc]
            return
        view = memoryview(data)
        for start in range(0, len(view), _PIECE_BYTES):
            super().send(view[start : start + _PIECE_BYTES])  # type: ignore[misc]

    def getresponse(self) -> Any:
        _wait_until_sent(self.sock, self.timeout)
        if self._completes and isinstance(self.timeout, int | float):
            self.timeout = max(self.timeout, _COMPLETION_S)
        return super().getresponse()  # type: ignore[misc]


class _Connection(_Watched, AWSHTTPConnection):  # type: ignore[misc]
    pass


class _SecureConnection(_Watched, AWSHTTPSConnection):  # type: ignore[misc]
    pass


class _Pool(AWSHTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(AWSHTTPSConnectionPool):
    ConnectionCls = _SecureConnection


def watch_progress(client: S3Client) -> None:
    """Have the client's time-outs count from the last byte that moved; before its first request."""
    # A private name of botocore's, which has no way to give it another connection. Without it the time-outs
    # are the plain ones.
    with contextlib.suppress(AttributeError):
        pools: dict[str, type] = client._endpoint.http_session._pool_classes_by_scheme  # type: ignore[attr-defined]
        pools.update(http=_Pool, https=_SecurePool)


def _wait_until_sent(sock: Any, silence_s: Any) -> None:
    """Return when the other side has all that was sent.

    Raises:
        TimeoutError: nothing more of it was taken for so long.
    """
    least, since = sys.maxsize, time.monotonic()
    while (left := _unsent(sock)) > 0:
        now = time.monotonic()
        if left < least:
            least, since = left, now
        elif isinstance(silence_s, int | float) and now - since > silence_s:
            raise TimeoutError(f"nothing of the last {left} bytes was taken for {silence_s:g} s")
        time.sleep(_LOOK_EVERY_S)


def _unsent(sock: Any) -> int:
    """Bytes that the kernel has taken and the other side has not; 0 where nobody says."""
    if sys.platform != "linux":
        return 0
    import fcntl
    import termios

    count = array.array("i", [0])
    with contextlib.suppress(OSError, ValueError, AttributeError):
        # Source: Linux, tcp(7), SIOCOUTQ, which has the same number.
        fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, count)
    return count[0]
