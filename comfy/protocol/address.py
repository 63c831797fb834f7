"""Addresses of servers: read once, with what is shown at the door kept apart, so that nothing prints it."""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import parse_qsl, unquote

# What a user name or password must not hold as it is: it ends the part of an address in which they stand.
_ENCODE: Final = "write / as %2F, ? as %3F, # as %23, @ as %40 and % as %25 in a user name or password"
_HOST: Final = re.compile(r"(?:\[(?P<six>[^\[\]]*)\]|(?P<name>[\w.~-]+))(?::(?P<port>\d{0,5}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Url:
    """The parts of an address; only those without a secret are in its `repr`."""

    scheme: str  # in small letters
    hosts: tuple[tuple[str, int | None], ...]  # an IPv6 one without its brackets
    path: str  # as it was written
    user: str = field(repr=False)
    password: str = field(repr=False)
    query: Mapping[str, str] = field(repr=False)

    @property
    def host(self) -> str:
        """The first one, as it is written in an address."""
        return _bracketed(self.hosts[0][0])

    @property
    def place(self) -> str:
        """The first host, with its port where one is named."""
        return target_of(*self.hosts[0])


def read_url(text: str, schemes: Collection[str], *, form: str, several_hosts: bool = False) -> Url:
    """Read ``scheme://[user[:password]@]host[:port][,…][/path][?query]``.

    Args:
        form: what such an address looks like, for who wrote another.

    Raises:
        ValueError: it is none; says what is wrong without a word of what was written, which may be a secret.
    """
    scheme, mark, rest = text.strip().partition("://")
    if not mark or scheme.lower() not in schemes:
        raise ValueError(f"it is no address of the form {form}")
    if re.search(r"[\s\x00-\x1f\x7f]", rest):
        raise ValueError(f"there is a blank in it; an address has the form {form}")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    behind = rest[len(authority) :]
    if "@" in behind:
        raise ValueError(f"there is an '@' behind what seems to be its host: {_ENCODE}")
    if "#" in behind:
        raise ValueError("an address has no '#'")
    login, _, hosts = authority.rpartition("@")
    user, _, password = login.partition(":")
    path, _, query = behind.partition("?")
    return Url(
        scheme=scheme.lower(),
        hosts=tuple(_read_host(each, form) for each in (hosts.split(",") if several_hosts else [hosts])),
        path=path,
        user=unquote(user),
        password=unquote(password),
        query=dict(parse_qsl(query, keep_blank_values=True)),
    )


def target_of(host: str, port: int | None) -> str:
    """``host``, ``host:port`` or ``[::1]:port``."""
    return _bracketed(host) if port is None else f"{_bracketed(host)}:{port}"


@dataclass(frozen=True, slots=True)
class ComfyAddress:
    """A server, maybe behind a proxy that wants a path in front and to know who asks."""

    url: str  # http(s)://host[:port][/path], without a slash at its end; good to be shown
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # of every request

    def __str__(self) -> str:
        return self.url

    @property
    def websocket_url(self) -> str:
        """The same place for the websocket."""
        return f"ws{self.url.removeprefix('http')}/ws"

    @classmethod
    def parse(cls, text: str, *, token: str | None = None) -> Self:
        """Read ``http://[user:password@]host[:port][/path]``.

        Args:
            token: sent as ``Authorization: Bearer``.

        Raises:
            ValueError: it is no such address, or names a user beside a token; says why without a secret.
        """
        url = read_url(text, ("http", "https"), form="http://host:port or https://host:port/path")
        if url.query:
            raise ValueError("an address has no '?' here; what the server wants to know goes elsewhere")
        return cls(f"{url.scheme}://{url.place}{url.path.rstrip('/')}", _headers(url, token))


def _headers(url: Url, token: str | None) -> dict[str, str]:
    if not url.user and not url.password:
        return {"Authorization": f"Bearer {_checked(token)}"} if token else {}
    if token:
        raise ValueError("there is a user in the address and a token too; give one of them")
    pair = f"{url.user}:{url.password}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def _checked(token: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        raise ValueError("its token holds a blank, an end of line or no ASCII, which no header takes")
    return token


def _read_host(text: str, form: str) -> tuple[str, int | None]:
    found = _HOST.fullmatch(text)
    if found is None:
        raise ValueError(f"its host or port cannot be read; an address has the form {form}; {_ENCODE}")
    if (six := found["six"]) is not None:
        try:
            ipaddress.IPv6Address(six)
        except ValueError:
            raise ValueError("what stands in [ ] is no IPv6 address") from None
    port = int(found["port"]) if found["port"] else None
    if port is not None and not 0 < port < 65536:
        raise ValueError("its port is none; an address has 1 to 65535")
    return (six or found["name"]).lower(), port


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
