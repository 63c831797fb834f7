"""How Celery speaks to Redis here: RESP2, as the ledger does, and without what a hosted server may forbid.

redis-py opens with HELLO, for RESP3, and kombu gives it no choice. Where an ACL or a hosted service has taken
HELLO away, nothing would connect; AUTH and SELECT are everywhere.
"""

from __future__ import annotations

from typing import Any, Final

from celery.app.amqp import AMQP
from kombu import Connection
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


_OURS: Final[dict[type, type]] = {Transport: Resp2Transport, SentinelTransport: Resp2SentinelTransport}


class PlainConnection(Connection):
    """A connection of Celery's whose transport is ours; its address stays as everybody reads it."""

    def get_transport_cls(self) -> type:
        """As its base."""
        found: type = super().get_transport_cls()
        return _OURS.get(found, found)


class PlainAMQP(AMQP):
    """What a Celery app makes connections with."""

    Connection = PlainConnection
    BrokerConnection = PlainConnection
