"""Files from URLs that strangers give: no way into our own network, limits on size and time.

The name is resolved once, its addresses are checked, and the connection goes to a checked address: a name
that answers differently the second time gains nothing. Each redirect is a new URL and is checked again.
"""

from __future__ import annotations

import base64
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from worker.addresses import Address, is_public, resolve

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

_REDIRECTS: Final = 5
_PIECE_BYTES: Final = 1 << 18
_CONNECT_S: Final = 10.0
_SILENCE_S: Final = 30.0
_TRIES: Final = 4
_FIRST_WAIT_S: Final = 0.5
_MAY_PASS: Final = frozenset({408, 425, 429, 500, 502, 503, 504})

Resolver = Callable[[str, int], list[Address]]


class FetchRefused(Exception):
    """The URL is not fetched, or has not what was asked for; trying again changes nothing."""


class _Passing(Exception):
    """It did not work this time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchLimits:
    """What a fetch may cost, and where it may lead."""

    size_bytes: int
    time_s: float = 600.0  # in all, redirects and repeated tries included
    allow_private: bool = False


class UrlFetcher:
    """Fetches http(s) URLs into files."""

    def __init__(
        self,
        limits: FetchLimits,
        *,
        resolver: Resolver = resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`resolver` and `tls` are for names that DNS does not know and certificates of one's own."""
        self._limits = limits
        self._resolve = resolver
        self._tls = tls or ssl.create_default_context()

    def fetch(self, url: str, path: Path) -> None:
        """Write the URL's content to a file.

        Raises:
            FetchRefused: it may not or cannot be had; the reason names no secret.
            OSError: the file cannot be written.
        """
        deadline = time.monotonic() + self._limits.time_s
        wait_s = _FIRST_WAIT_S
        for left in reversed(range(_TRIES)):
            try:
                return self._follow(url, path, deadline)
            except _Passing as exc:
                if left == 0 or time.monotonic() + wait_s > deadline:
                    raise FetchRefused(f"{exc} ({_TRIES - left} tries)") from exc
            time.sleep(wait_s)
            wait_s *= 3
        raise AssertionError("unreachable")

    def _follow(self, url: str, path: Path, deadline: float) -> None:
        origin = _origin(urlsplit(url))
        for _ in range(_REDIRECTS + 1):
            parts = urlsplit(url)
            response = self._get(parts, with_login=_origin(parts) == origin, deadline=deadline)
            try:
                location = response.get_redirect_location()
                if not location:
                    return self._save(response, path, deadline)
                url = urljoin(url, location)
            finally:
                response.close()
        raise FetchRefused(f"it redirects more than {_REDIRECTS} times")

    def _get(self, parts: SplitResult, *, with_login: bool, deadline: float) -> BaseHTTPResponse:
        scheme, host, port = _checked(parts)
        address = self._address(host, port)
        timeout = urllib3.Timeout(connect=min(_CONNECT_S, _left_s(deadline)), read=_SILENCE_S)
        if scheme == "https":
            pool: urllib3.HTTPConnectionPool = urllib3.HTTPSConnectionPool(
                str(address),
                port,
                ssl_context=self._tls,
                server_hostname=host,
                assert_hostname=host,
                timeout=timeout,
            )
        else:
            pool = urllib3.HTTPConnectionPool(str(address), port, timeout=timeout)
        headers = {"Host": _host_header(parts), "Accept-Encoding": "identity", "User-Agent": "wan-farm"}
        if with_login and parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            return pool.urlopen(
                "GET", target, headers=headers, redirect=False, retries=False, preload_content=False
            )
        except HTTPError as exc:
            if isinstance(exc, urllib3.exceptions.SSLError):
                raise FetchRefused(f"TLS with {host} failed: {_plain(exc)}") from exc
            raise _Passing(f"{host} does not answer: {_plain(exc)}") from exc

    def _address(self, host: str, port: int) -> Address:
        try:
            found = self._resolve(host, port)
        except (OSError, UnicodeError, ValueError) as exc:
            if isinstance(exc, socket.gaierror) and exc.errno == socket.EAI_AGAIN:
                raise _Passing(f"the name {host!r} could not be resolved just now") from exc
            raise FetchRefused(f"the name {host!r} cannot be resolved") from exc
        for address in found:
            if self._limits.allow_private or is_public(address):
                return address
        raise FetchRefused(
            f"{host!r} is at a private or local address; FARM_ALLOW_PRIVATE_URLS=true would allow that"
        )

    def _save(self, response: BaseHTTPResponse, path: Path, deadline: float) -> None:
        if response.status in _MAY_PASS:
            raise _Passing(f"the server answered {response.status}")
        if response.status != 200:
            raise FetchRefused(f"the server answered {response.status}")
        limit_bytes = self._limits.size_bytes
        too_large = FetchRefused(f"it is larger than {limit_bytes >> 20} MiB (FARM_INPUT_LIMIT_MIB)")
        declared = response.headers.get("Content-Length", "")
        if declared.isdigit() and int(declared) > limit_bytes:
            raise too_large
        received = 0
        try:
            with path.open("wb") as file:
                # read1 gives what is there: a server that drips bytes cannot hold us beyond the deadline.
                while piece := response.read1(_PIECE_BYTES, decode_content=False):
                    received += len(piece)
                    if received > limit_bytes:
                        raise too_large
                    _left_s(deadline)
                    file.write(piece)
        except HTTPError as exc:
            raise _Passing(f"the download broke off after {received} bytes") from exc


def _checked(parts: SplitResult) -> tuple[str, str, int]:
    try:
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise FetchRefused("its address cannot be read") from exc
    if parts.scheme not in ("http", "https"):
        raise FetchRefused(f"only http and https are fetched, not {parts.scheme or 'a path'}:")
    if not host:
        raise FetchRefused("its address names no host")
    return parts.scheme, host, port or (443 if parts.scheme == "https" else 80)


def _origin(parts: SplitResult) -> tuple[str, str]:
    return parts.scheme, parts.netloc.rpartition("@")[2].lower()


def _host_header(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _left_s(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise FetchRefused("it took too long")
    return left


def _plain(exc: Exception) -> str:
    """The error without the address we pinned, which would only puzzle: kind and last words."""
    return f"{type(exc).__name__}: {str(exc).rpartition(': ')[2][:120]}"
