"""The proxy that leads to the internet: a tunnel to an address that we have judged ourselves."""

from __future__ import annotations

import base64
import http.client
import socket
from dataclasses import dataclass, field
from typing import Self

from comfy.protocol.address import read_url, target_of
from farm.errors import SettingsError
from farm.settings.outside import OutsideSettings

_PORT = 3128


def proxy_of(settings: OutsideSettings) -> Proxy | None:
    """The one that `FARM_INPUT_PROXY` names.

    Raises:
        SettingsError: it is none.
    """
    if settings.input_proxy is None:
        return None
    try:
        return Proxy.parse(settings.input_proxy.get_secret_value())
    except ValueError as exc:
        raise SettingsError(f"FARM_INPUT_PROXY: {exc}") from None


class ProxyRefused(Exception):
    """The proxy cannot be reached, or does not let us through; the reason names no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """Where it is, and what it wants to see."""

    host: str
    port: int
    headers: dict[str, str] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        return target_of(self.host, self.port)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `FARM_INPUT_PROXY` says.

        Raises:
            ValueError: it is no address of a proxy; says why, without a secret.
        """
        url = read_url(text, ("http",), form="http://[user:password@]host[:port]")
        if url.path.strip("/") or url.query:
            raise ValueError("the address of a proxy ends with its port")
        (host, port), *_ = url.hosts
        login = base64.b64encode(f"{url.user}:{url.password}".encode()).decode()
        headers = {"Proxy-Authorization": f"Basic {login}"} if url.user or url.password else {}
        return cls(host=host, port=port or _PORT, headers=headers)

    def connect(self, address: str, port: int, *, timeout_s: float) -> socket.socket:
        """A connection to an address, through the proxy.

        It is named by number and never by name, for http too: the proxy would resolve a name once more, and
        might be led to where we may not go.

        Raises:
            ProxyRefused: there is none.
        """
        tunnel = http.client.HTTPConnection(self.host, self.port, timeout=timeout_s)
        tunnel.set_tunnel(f"[{address}]" if ":" in address else address, port, headers=self.headers)
        try:
            tunnel.connect()
        except (OSError, http.client.HTTPException) as exc:
            tunnel.close()
            reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
            raise ProxyRefused(f"the proxy {self} (FARM_INPUT_PROXY): {reason[:120]}") from exc
        connected: socket.socket = tunnel.sock
        return connected
