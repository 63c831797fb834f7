"""Files from URLs that strangers give: no way into our own network, limits on size and time.

Each redirect is a new URL and is checked again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult

from urllib3.exceptions import HTTPError

from comfy.protocol.sniff import HEAD_BYTES
from farm.outside.cutoff import Cutoff, OutOfTime
from farm.outside.dial import AddressRefused, Dialer, NoAnswer, split

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

TIME_LIMIT_S: Final = 600.0  # for one file
_REDIRECTS: Final = 5
_PIECE_BYTES: Final = 1 << 18
_TRIES: Final = 4
_FIRST_WAIT_S: Final = 0.5
_MAY_PASS: Final = frozenset({408, 425, 429, 500, 502, 503, 504})

Look = Callable[[bytes], str | None]  # at the first `HEAD_BYTES`, or all of fewer: what is wrong with them


class FetchRefused(Exception):
    """The URL is not fetched, or has not what was asked for; trying again changes nothing."""


class UrlFetcher:
    """Fetches http(s) URLs into files."""

    def __init__(self, dialer: Dialer, *, size_bytes: int, time_s: float = TIME_LIMIT_S) -> None:
        """`time_s` is for one file in all, redirects and repeated tries included."""
        self._dialer = dialer
        self._size_bytes = size_bytes
        self._time_s = time_s

    def fetch(
        self,
        url: str,
        path: Path,
        *,
        look: Look = lambda _head: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Write the URL's content to a file.

        Args:
            look: judges the content by how it begins; what it does not like is not downloaded.
            stop: asked several times a second; True ends the fetch, whatever the server does.

        Raises:
            FetchRefused: it may not or cannot be had; the reason names no secret.
            TransferStopped: `stop` said so.
            OSError: the file cannot be written.
        """
        try:
            with Cutoff(self._time_s, stop, "input") as cutoff:
                self._try(url, path, look, cutoff)
        except AddressRefused as exc:
            raise FetchRefused(str(exc)) from exc
        except OutOfTime as exc:
            raise FetchRefused(f"it took longer than {self._time_s:g} s") from exc

    def _try(self, url: str, path: Path, look: Look, cutoff: Cutoff) -> None:
        wait_s = _FIRST_WAIT_S
        for left in reversed(range(_TRIES)):
            try:
                return self._follow(url, path, look, cutoff)
            except NoAnswer as exc:
                cutoff.check()  # it may be us who ended it
                if left == 0 or wait_s > cutoff.left_s():
                    raise FetchRefused(f"{exc} ({_TRIES - left} tries)") from exc
            cutoff.wait(wait_s)
            wait_s *= 3
        raise AssertionError("unreachable")

    def _follow(self, url: str, path: Path, look: Look, cutoff: Cutoff) -> None:
        parts = split(url)
        origin = _origin(parts)
        for _ in range(_REDIRECTS + 1):
            response = self._dialer.ask(
                "GET",
                parts,
                cutoff=cutoff,
                headers={"Accept-Encoding": "identity"},
                with_login=_origin(parts) == origin,
            )
            try:
                location = response.get_redirect_location()
                if not location:
                    return self._save(response, path, look, cutoff)
                parts = split(location, base=parts.geturl())
            finally:
                response.close()
        raise FetchRefused(f"it redirects more than {_REDIRECTS} times")

    def _save(self, response: BaseHTTPResponse, path: Path, look: Look, cutoff: Cutoff) -> None:
        self._check_head(response)
        head, received = b"", 0
        try:
            with path.open("wb") as file:
                # read1 gives what is there, as it was sent: nothing is unpacked.
                while piece := response.read1(_PIECE_BYTES, decode_content=False):
                    head = _judged(head, piece, look)
                    received += len(piece)
                    if received > self._size_bytes:
                        raise self._too_large()
                    cutoff.check()
                    file.write(piece)
        except HTTPError as exc:
            raise NoAnswer(f"the download broke off after {received} bytes") from exc
        cutoff.check()  # a connection that we cut looks like one that has ended
        if len(head) < HEAD_BYTES and (fault := look(head)):
            raise FetchRefused(fault)

    def _check_head(self, response: BaseHTTPResponse) -> None:
        if response.status in _MAY_PASS:
            raise NoAnswer(f"the server answered {response.status}")
        if response.status != 200:
            raise FetchRefused(f"the server answered {response.status}")
        packed = response.headers.get("Content-Encoding", "identity").lower()
        if packed != "identity":
            raise FetchRefused(f"the server sends it packed ({packed[:20]}), though it was asked not to")
        declared = response.headers.get("Content-Length", "")
        if declared.isdigit() and int(declared) > self._size_bytes:
            raise self._too_large()

    def _too_large(self) -> FetchRefused:
        return FetchRefused(f"it is larger than {self._size_bytes >> 20} MiB (FARM_INPUT_LIMIT_MIB)")


def _judged(head: bytes, piece: bytes, look: Look) -> bytes:
    """The beginning of the content, so far; judged once, when there is enough of it."""
    if len(head) >= HEAD_BYTES:
        return head
    head += piece[: HEAD_BYTES - len(head)]
    if len(head) >= HEAD_BYTES and (fault := look(head)):
        raise FetchRefused(fault)
    return head


def _origin(parts: SplitResult) -> tuple[str, str]:
    return parts.scheme, parts.netloc.rpartition("@")[2].lower()
