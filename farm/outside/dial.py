"""Calls to addresses that strangers give: no way into our own network, and no server that holds us.

The name is resolved once, its addresses are checked, and the connection goes to a checked address: a name
that answers differently the second time gains nothing.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import socket
import ssl
from collections.abc import Callable, Mapping
from http.client import HTTPException, RemoteDisconnected
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from farm.outside.addresses import Address, is_public, resolve
from farm.outside.cutoff import Cutoff, HttpPool, HttpsPool
from farm.outside.proxy import Proxy, ProxyRefused, proxy_of
from farm.settings.outside import OutsideSettings

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

_CONNECT_S: Final = 10.0
_SILENCE_S: Final = 30.0
# The first that fits counts.
_FAULTS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (RemoteDisconnected, "it closes the connection without an answer"),
    (HTTPException, "what it sends is no HTTP"),
    (ConnectionError, "it breaks the connection off"),
    (urllib3.exceptions.TimeoutError, "it takes too long"),
)

Resolver = Callable[[str, int], list[Address]]


class AddressRefused(Exception):
    """That is not called; trying again changes nothing. The reason names no secret."""


class NoAnswer(Exception):
    """It did not work this time."""


class Dialer:
    """Asks http(s) addresses, one connection for each request; redirects are the caller's to follow."""

    def __init__(
        self,
        *,
        allow_private: bool = False,
        proxy: Proxy | None = None,
        resolver: Resolver = resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Prepare.

        Args:
            proxy: leads to public addresses; all others are reached without it, where they are allowed.
            resolver, tls: for names that DNS does not know and certificates of one's own.
        """
        self._allow_private = allow_private
        self._proxy = proxy
        self._resolve = resolver
        self._given_tls = tls

    def judge(self, parts: SplitResult) -> None:
        """Refuse an address that would not be called, without calling it.

        Raises:
            AddressRefused: as `ask` would say.
            NoAnswer: nobody knows, for its name could not be resolved just now.
        """
        _, host, port = checked(parts)
        self._address(host, port)

    def ask(
        self,
        method: str,
        parts: SplitResult,
        *,
        cutoff: Cutoff,
        headers: Mapping[str, str],
        body: bytes | None = None,
        with_login: bool = True,
    ) -> BaseHTTPResponse:
        """The answer, of which no more than its head has been read; the caller closes it.

        Args:
            with_login: send user and password of the address.

        Raises:
            AddressRefused: it may not be called, or is none.
            NoAnswer: there was none.
            OutOfTime, TransferStopped: as the cutoff has it.
        """
        scheme, host, port = checked(parts)
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
        sent = {"Host": _host_header(parts), "User-Agent": "wan-farm", **headers}
        if with_login and parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            sent["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            answer = pool.urlopen(
                method,
                target,
                body=body,
                headers=sent,
                redirect=False,
                retries=False,
                preload_content=False,
            )
        except ProxyRefused as exc:
            cutoff.check()
            raise NoAnswer(f"there is no way to {host}: {exc}") from exc
        except HTTPError as exc:
            cutoff.check()
            if isinstance(exc, urllib3.exceptions.SSLError):
                raise AddressRefused(f"TLS with {host} failed: {_plain(exc)}") from exc
            raise NoAnswer(f"{host} does not answer: {_plain(exc)}") from exc
        with contextlib.ExitStack() as unless_whole:
            unless_whole.callback(answer.close)
            cutoff.check()  # a head that we cut short looks like a whole one
            unless_whole.pop_all()
        return answer

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        # Not before it is needed: to read the certificates of all authorities takes 23 ms.
        return self._given_tls or ssl.create_default_context()

    def _address(self, host: str, port: int) -> Address:
        try:
            found = self._resolve(host, port)
        except (OSError, UnicodeError, ValueError) as exc:
            if isinstance(exc, socket.gaierror) and exc.errno == socket.EAI_AGAIN:
                raise NoAnswer(f"the name {host!r} could not be resolved just now") from exc
            raise AddressRefused(f"the name {host!r} cannot be resolved") from exc
        for address in found:
            if self._allow_private or is_public(address):
                return address
        raise AddressRefused(
            f"{host!r} is at a private or local address; FARM_ALLOW_PRIVATE_URLS=true would allow that"
        )


def dialer_of(settings: OutsideSettings) -> Dialer:
    """One that calls what the settings allow.

    Raises:
        SettingsError: the proxy that they name is none.
    """
    return Dialer(allow_private=settings.allow_private_urls, proxy=proxy_of(settings))


def split(url: str, *, base: str = "") -> SplitResult:
    """The parts of an address, or of one that is told relative to another.

    Raises:
        AddressRefused: it cannot be read.
    """
    try:
        return urlsplit(urljoin(base, url) if base else url)
    except ValueError as exc:
        raise AddressRefused("its address cannot be read") from exc


def checked(parts: SplitResult) -> tuple[str, str, int]:
    """Scheme, host and port of an address that may be called, as far as it says so itself.

    Raises:
        AddressRefused: it is no address of http or https.
    """
    try:
        host, port = parts.hostname, parts.port
        # What DNS, TLS and the Host header take; `encode` refuses what is no name at all.
        host = host.encode("idna").decode() if host and not host.isascii() else host
    except ValueError as exc:
        raise AddressRefused("its address cannot be read") from exc
    if parts.scheme not in ("http", "https"):
        raise AddressRefused(f"only http and https are fetched, not {parts.scheme or 'a path'}:")
    if not host:
        raise AddressRefused("its address names no host")
    return parts.scheme, host, port or (443 if parts.scheme == "https" else 80)


def _host_header(parts: SplitResult) -> str:
    host = parts.netloc.rpartition("@")[2]
    return host if host.isascii() else host.encode("idna").decode()


def _plain(exc: Exception) -> str:
    """The error in words, without the address we pinned, which would only puzzle."""
    cause = next((each for each in exc.args if isinstance(each, Exception)), exc)
    words = next((words for kind, words in _FAULTS if isinstance(cause, kind)), None)
    return words or str(exc).rpartition(": ")[2].rpartition("] ")[2][:120]
