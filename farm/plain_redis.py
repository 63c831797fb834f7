"""How Celery speaks to Redis here: RESP2, as the ledger does, and without what a hosted server may forbid.

redis-py opens with HELLO, for RESP3, and kombu gives it no choice. Where an ACL or a hosted service has taken
HELLO away, nothing would connect; AUTH and SELECT are everywhere.
"""

from __future__ import annotations

from typing import Any, Final

from kombu.transport import TRANSPORT_ALIASES
from kombu.transport.redis import Channel, SentinelChannel, SentinelTransport, Transport

PROTOCOL: Final = 2


class _Resp2:
    def __init__(self, *args: Any, **given: Any) -> None:
        super().__init__(*args, **{**given, "protocol": PROTOCOL})


def _speaking_resp2(kind: type[Any] | None) -> type[Any]:
    assert kind is not None  # noqa: S101  # kombu's word for "redis-py is not installed"
    return type(f"Resp2{kind.__name__}", (_Resp2, kind), {})


class Resp2Channel(Channel):
    """As its base, in RESP2."""

    connection_class = _speaking_resp2(Channel.connection_class)
    connection_class_ssl = _speaking_resp2(Channel.connection_class_ssl)


class Resp2SentinelChannel(SentinelChannel):
    """As its base, in RESP2."""

    connection_class = _speaking_resp2(SentinelChannel.connection_class)
    connection_class_ssl = _speaking_resp2(SentinelChannel.connection_class_ssl)


class Resp2Transport(Transport):
    """As its base, in RESP2."""

    Channel = Resp2Channel


class Resp2SentinelTransport(SentinelTransport):
    """As its base, in RESP2."""

    Channel = Resp2SentinelChannel


def speak_resp2() -> None:
    """Have kombu take these for Redis, in its own pools too: it asks for a transport by name."""
    here = Resp2Transport.__module__
    TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), f"{here}:{Resp2Transport.__name__}"))
    TRANSPORT_ALIASES["sentinel"] = f"{here}:{Resp2SentinelTransport.__name__}"
