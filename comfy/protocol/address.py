"""Where a ComfyUI is reached, and what is shown at its door: parsed once, and never printed."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True)
class ComfyAddress:
    """A server, maybe behind a proxy that wants a path in front and to know who asks."""

    url: str  # http(s)://host[:port][/path], without a slash at its end; good to be shown
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # of every request

    def __str__(self) -> str:
        return self.url

    @property
    def websocket_url(self) -> str:
        """The same address for the websocket."""
        return f"ws{self.url.removeprefix('http')}/ws"

    @classmethod
    def parse(cls, text: str, *, token: str | None = None) -> Self:
        """Read ``http://[user:password@]host[:port][/path]``.

        Args:
            token: sent as ``Authorization: Bearer``.

        Raises:
            ValueError: it is no such address, or names a user beside a token; says why without a secret.
        """
        try:
            parts = urlsplit(text.strip())
            port = parts.port
        except ValueError as exc:
            raise ValueError(f"it is no address ({_why(exc)})") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("it is no address of the form http://host:port or https://host:port/path")
        if parts.query or parts.fragment:
            raise ValueError(
                "an address has neither '?' nor '#'; what the server wants to know goes elsewhere"
            )
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        authority = host if port is None else f"{host}:{port}"
        path = parts.path.rstrip("/")
        return cls(f"{parts.scheme}://{authority}{path}", _headers(parts.username, parts.password, token))


def _headers(user: str | None, password: str | None, token: str | None) -> dict[str, str]:
    if user is None and password is None:
        return {} if not token else {"Authorization": f"Bearer {token}"}
    if token:
        raise ValueError("there is a user in the address and a token too; give one of them")
    pair = f"{unquote(user or '')}:{unquote(password or '')}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _why(exc: ValueError) -> str:
    """Python's reason, without the part that it quotes: that may be a password."""
    return str(exc).split("'")[0].split('"')[0].strip() or "it cannot be read"
