"""Hears of cancels by Redis's publish/subscribe."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import redis
from redis.exceptions import RedisError

from farm.store.redis.trouble import translated


class RedisCancelFeed:
    """A subscription on a connection of its own. Not thread-safe."""

    def __init__(self, client: redis.Redis, channel: str) -> None:
        self._client = client
        make: Callable[..., Any] = client.pubsub
        with translated(client):
            self._pubsub = make()
            self._pubsub.subscribe(channel)
        # Until the server has confirmed, a cancel could pass unheard.
        self.next(1.0)

    def next(self, timeout_s: float) -> str | None:
        until = time.monotonic() + timeout_s
        with translated(self._client):
            while True:
                message = self._pubsub.get_message(timeout=max(until - time.monotonic(), 0.0))
                if message is not None and message["type"] == "message":
                    return str(message["data"].decode())
                if message is not None and message["type"] == "subscribe":
                    return None
                if time.monotonic() >= until:
                    return None

    def close(self) -> None:
        with contextlib.suppress(RedisError, OSError):
            self._pubsub.close()
