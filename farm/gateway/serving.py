"""Runs the gateway as a process of its own."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Final

import uvicorn

from farm.aio import AsyncFarm
from farm.errors import SettingsError
from farm.gateway.app import make_app
from farm.gateway.connections import config_of
from farm.gateway.house import make_house
from farm.process.environment import is_loopback
from farm.settings.gateway import GatewaySettings
from farm.settings.redis import RedisSettings
from farm.settings.s3 import S3Settings
from farm.store.redis.assets import AssetBook
from farm.store.redis.doors import DoorBook

_BACKLOG: Final = 2048


def serve(
    redis: RedisSettings,
    s3: S3Settings,
    settings: GatewaySettings,
    *,
    host: str,
    port: int,
    on_listening: Callable[[str], None],
) -> None:
    """Serve until SIGINT or SIGTERM; main thread only.

    Args:
        port: 0 for any free one.
        on_listening: told the address.

    Raises:
        SettingsError: it cannot listen there, or it would let in everybody who reaches this machine.
        StoreUnavailable: Redis cannot be asked for keys.
    """
    book = DoorBook(redis)
    only_here = is_loopback(host)
    if not only_here and not book.has_keys():
        raise SettingsError(
            f"this farm has no API keys, and on {host} everybody could use it: make one with "
            "`farm keys create`, or listen on 127.0.0.1"
        )
    with listening(host, port, idle_s=settings.idle_s) as listener:
        farm, assets = AsyncFarm(redis=redis, s3=s3), AssetBook(redis)
        house = make_house(farm, book, assets, settings, only_here=only_here)
        config = config_of(make_app(house), idle_s=settings.idle_s)
        _Server(config, on_started=lambda: on_listening(_address(listener))).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Ends with 0 when it was told to end; its base sends the signal again, to end by that."""

    def __init__(self, config: uvicorn.Config, *, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As its base has it; only now is it known that signals are heard."""
        await super().startup(sockets)
        self._on_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As its base has it until then."""
        before = {
            number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def listening(host: str, port: int, *, idle_s: float) -> socket.socket:
    """A listening socket, whose connections end when a client takes in nothing for so long.

    A client that reads no more would hold its connection for ever: it lives, and its window is shut.

    Raises:
        SettingsError: it cannot listen there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host.strip("[]"), port), family=family, backlog=_BACKLOG)
    except OSError as exc:
        reason = exc.strerror or exc
        raise SettingsError(f"cannot listen on {host}:{port}: {reason}; choose another with --port") from exc
    if option := getattr(socket, "TCP_USER_TIMEOUT", None):  # Linux
        listener.setsockopt(socket.IPPROTO_TCP, option, round(idle_s * 1000))
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
