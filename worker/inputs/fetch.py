"""Files from URLs that strangers give: no way into our own network, limits on size and time.

The name is resolved once, its addresses are checked, and the connection goes to a checked address: a name
that answers differently the second time gains nothing. Each redirect is a new URL and is checked again.
"""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from comfy.protocol.sniff import HEAD_BYTES
from worker.inputs.addresses import Address, is_public, resolve
from worker.inputs.cutoff import Cutoff, HttpPool, HttpsPool, OutOfTime
from worker.inputs.proxy import Proxy, ProxyRefused

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


Look = Callable[[bytes], str | None]  # at the first `HEAD_BYTES`, or all of fewer: what is wrong with them


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
        proxy: Proxy | None = None,
        resolver: Resolver = resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Prepare.

        Args:
            proxy: leads to public addresses; all others are reached without it, where they are allowed.
            resolver, tls: for names that DNS does not know and certificates of one's own.
        """
        self._limits = limits
        self._proxy = proxy
        self._resolve = resolver
        self._tls = tls or ssl.create_default_context()

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
            with Cutoff(self._limits.time_s, stop, "input") as cutoff:
                self._try(url, path, look, cutoff)
        except OutOfTime as exc:
            raise FetchRefused(f"it took longer than {self._limits.time_s:g} s") from exc

    def _try(self, url: str, path: Path, look: Look, cutoff: Cutoff) -> None:
        wait_s = _FIRST_WAIT_S
        for left in reversed(range(_TRIES)):
            try:
                return self._follow(url, path, look, cutoff)
            except _Passing as exc:
                cutoff.check()  # it may be us who ended it
                if left == 0 or wait_s > cutoff.left_s():
                    raise FetchRefused(f"{exc} ({_TRIES - left} tries)") from exc
            cutoff.wait(wait_s)
            wait_s *= 3
        raise AssertionError("unreachable")

    def _follow(self, url: str, path: Path, look: Look, cutoff: Cutoff) -> None:
        parts = _split(url)
        origin = _origin(parts)
        for _ in range(_REDIRECTS + 1):
            response = self._get(parts, with_login=_origin(parts) == origin, cutoff=cutoff)
            try:
                location = response.get_redirect_location()
                if not location:
                    return self._save(response, path, look, cutoff)
                parts = _split(location, base=parts.geturl())
            finally:
                response.close()
        raise FetchRefused(f"it redirects more than {_REDIRECTS} times")

    def _get(self, parts: SplitResult, *, with_login: bool, cutoff: Cutoff) -> BaseHTTPResponse:
        scheme, host, port = _checked(parts)
        address = self._address(host, port)
        through = self._proxy if is_public(address) else None
        timeout = urllib3.Timeout(connect=min(_CONNECT_S, cutoff.left_s()), read=_SILENCE_S)
        if scheme == "https":
            pool: urllib3.HTTPConnectionPool = HttpsPool(
                str(address),
                port,
                ssl_context=self._tls,
                server_hostname=host,
                assert_hostname=host,
                timeout=timeout,
                cutoff=cutoff,
                through=through,
            )
        else:
            pool = HttpPool(str(address), port, timeout=timeout, cutoff=cutoff, through=through)
        headers = {"Host": _host_header(parts), "Accept-Encoding": "identity", "User-Agent": "wan-farm"}
        if with_login and parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            return pool.urlopen(
                "GET", target, headers=headers, redirect=False, retries=False, preload_content=False
            )
        except ProxyRefused as exc:
            cutoff.check()
            raise _Passing(f"there is no way to {host}: {exc}") from exc
        except HTTPError as exc:
            cutoff.check()
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

    def _save(self, response: BaseHTTPResponse, path: Path, look: Look, cutoff: Cutoff) -> None:
        self._check_head(response)
        head, received = b"", 0
        try:
            with path.open("wb") as file:
                # read1 gives what is there, as it was sent: nothing is unpacked.
                while piece := response.read1(_PIECE_BYTES, decode_content=False):
                    head = _judged(head, piece, look)
                    received += len(piece)
                    if received > self._limits.size_bytes:
                        raise self._too_large()
                    cutoff.check()
                    file.write(piece)
        except HTTPError as exc:
            raise _Passing(f"the download broke off after {received} bytes") from exc
        cutoff.check()  # a connection that we cut looks like one that has ended
        if len(head) < HEAD_BYTES and (fault := look(head)):
            raise FetchRefused(fault)

    def _check_head(self, response: BaseHTTPResponse) -> None:
        if response.status in _MAY_PASS:
            raise _Passing(f"the server answered {response.status}")
        if response.status != 200:
            raise FetchRefused(f"the server answered {response.status}")
        packed = response.headers.get("Content-Encoding", "identity").lower()
        if packed != "identity":
            raise FetchRefused(f"the server sends it packed ({packed[:20]}), though it was asked not to")
        declared = response.headers.get("Content-Length", "")
        if declared.isdigit() and int(declared) > self._limits.size_bytes:
            raise self._too_large()

    def _too_large(self) -> FetchRefused:
        return FetchRefused(f"it is larger than {self._limits.size_bytes >> 20} MiB (FARM_INPUT_LIMIT_MIB)")


def _judged(head: bytes, piece: bytes, look: Look) -> bytes:
    """The beginning of the content, so far; judged once, when there is enough of it."""
    if len(head) >= HEAD_BYTES:
        return head
    head += piece[: HEAD_BYTES - len(head)]
    if len(head) >= HEAD_BYTES and (fault := look(head)):
        raise FetchRefused(fault)
    return head


def _split(url: str, *, base: str = "") -> SplitResult:
    try:
        return urlsplit(urljoin(base, url) if base else url)
    except ValueError as exc:
        raise FetchRefused("its address cannot be read") from exc


def _checked(parts: SplitResult) -> tuple[str, str, int]:
    try:
        host, port = parts.hostname, parts.port
        # What DNS, TLS and the Host header take; `encode` refuses what is no name at all.
        host = host.encode("idna").decode() if host and not host.isascii() else host
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
    host = parts.netloc.rpartition("@")[2]
    return host if host.isascii() else host.encode("idna").decode()


def _plain(exc: Exception) -> str:
    """The error without the address we pinned, which would only puzzle: kind and last words."""
    return f"{type(exc).__name__}: {str(exc).rpartition(': ')[2][:120]}"
