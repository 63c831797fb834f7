"""The client of a Redis, wherever its address says that it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry
from redis.sentinel import Sentinel

from farm.redis_address import RedisAddress
from farm.settings.redis import RedisSettings

_MAX_CONNECTIONS: Final = 1000  # threads that follow a job hold one each


def client_of(settings: RedisSettings) -> redis.Redis:
    """A client as the store and all that lies beside it use one; the first call opens a connection."""
    # Only a connection that broke is tried again: repeating after a time-out would double the wait.
    retry = Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), 2, (RedisConnectionError,))
    options: dict[str, Any] = {
        "retry": retry,
        "socket_connect_timeout": settings.timeout_s,
        "socket_timeout": settings.timeout_s,
        "socket_keepalive": True,
        "health_check_interval": 15,
        "max_connections": _MAX_CONNECTIONS,
        "decode_responses": False,
        "protocol": 2,  # the same shapes of answers from every supported redis-py
    }
    return client_at(settings.address, **options)


def client_at(address: RedisAddress, **options: Any) -> redis.Redis:
    """A client; behind Sentinel one of whatever is the primary, asked for at every new connection."""
    given = {"db": address.db, **address.credentials, **options}
    if address.scheme != "sentinel":
        make: Callable[..., redis.Redis] = redis.Redis
        host, port = address.hosts[0]
        # Its own pool, which `close` gives back.
        return make(host=host, port=port, ssl=bool(address.tls), **address.tls, **given)
    # Without our own, each of the sentinels that are away would be tried for several seconds more.
    ask = {name: value for name, value in options.items() if name.startswith(("socket_", "retry"))}
    manage: Callable[..., Any] = Sentinel
    manager = manage(list(address.hosts), sentinel_kwargs={**ask, **address.sentinel_credentials})
    find: Callable[..., redis.Redis] = manager.master_for
    return find(address.master, **given)
