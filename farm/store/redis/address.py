"""The client of a Redis, wherever its address says that it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis
from redis.sentinel import Sentinel

from farm.redis_address import RedisAddress


def client_at(address: RedisAddress, **options: Any) -> redis.Redis:
    """A client; behind Sentinel one of whatever is the primary, asked for at every new connection."""
    given = {"db": address.db, **address.credentials, **options}
    if address.scheme != "sentinel":
        make: Callable[..., redis.Redis] = redis.Redis
        host, port = address.hosts[0]
        # Its own pool, which `close` gives back.
        return make(host=host, port=port, ssl=bool(address.tls), **address.tls, **given)
    ask = {name: value for name, value in options.items() if name.startswith("socket_")}
    manage: Callable[..., Any] = Sentinel
    manager = manage(list(address.hosts), sentinel_kwargs={**ask, **address.sentinel_credentials})
    find: Callable[..., redis.Redis] = manager.master_for
    return find(address.master, **given)
