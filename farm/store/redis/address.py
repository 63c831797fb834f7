"""Where a Redis is that Sentinel watches: as a setting says it, as redis-py and as Celery take it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import redis
from redis.sentinel import Sentinel

from farm.errors import SettingsError

SCHEME: Final = "sentinel"
_PORT: Final = 26379
_OPTIONS: Final = ("master", "sentinel_user", "sentinel_password")
_FORM: Final = "sentinel://[user:password@]host[:port][,host[:port]…]/db?master=NAME"


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelAddress:
    """Several sentinels, and the name by which they know the primary."""

    sentinels: tuple[tuple[str, int], ...]
    master: str
    db: int = 0
    credentials: dict[str, str] = field(default_factory=dict)  # of the servers: username, password
    own_credentials: dict[str, str] = field(default_factory=dict)  # of the sentinels

    def client(self, **options: Any) -> redis.Redis:
        """A client of whatever is the primary; it asks the sentinels at every new connection."""
        ask = {name: value for name, value in options.items() if name.startswith("socket_")}
        manage: Callable[..., Any] = Sentinel
        manager = manage(list(self.sentinels), sentinel_kwargs={**ask, **self.own_credentials})
        make: Callable[..., redis.Redis] = manager.master_for
        return make(self.master, db=self.db, **self.credentials, **options)

    @property
    def broker_url(self) -> str:
        """As kombu takes it: one URL for each sentinel."""
        user, password = (quote(self.credentials.get(name, ""), safe="") for name in ("username", "password"))
        login = f"{user}:{password}@" if password else ""
        return ";".join(f"sentinel://{login}{host}:{port}/{self.db}" for host, port in self.sentinels)

    @property
    def transport_options(self) -> dict[str, Any]:
        """What kombu must know besides."""
        return {"master_name": self.master, "sentinel_kwargs": {"socket_timeout": 5, **self.own_credentials}}


def sentinel_address(url: str) -> SentinelAddress | None:
    """What a setting says of sentinels; None when it names a Redis itself.

    Raises:
        SettingsError: it begins like one and is none; never shows the password.
    """
    if not url.startswith(f"{SCHEME}://"):
        return None
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(set(options) - set(_OPTIONS)):
        raise SettingsError(f"FARM_REDIS_URL: {', '.join(unknown)} is no option of a {_FORM} address")
    if not options.get("master"):
        raise SettingsError(f"FARM_REDIS_URL does not say how the sentinels call the primary: {_FORM}")
    try:
        sentinels = tuple(_host_and_port(each) for each in hosts.split(","))
        db = int(parts.path.strip("/") or 0)
    except ValueError as exc:
        raise SettingsError(f"FARM_REDIS_URL is no address of the form {_FORM}") from exc
    user, _, password = login.partition(":")
    return SentinelAddress(
        sentinels=sentinels,
        master=options["master"],
        db=db,
        credentials=_credentials(unquote(user), unquote(password)),
        own_credentials=_credentials(options.get("sentinel_user", ""), options.get("sentinel_password", "")),
    )


def _host_and_port(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError(text)
    return parts.hostname, parts.port or _PORT


def _credentials(user: str, password: str) -> dict[str, str]:
    given = {"username": user, "password": password}
    return {name: value for name, value in given.items() if value}
