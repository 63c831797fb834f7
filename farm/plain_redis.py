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
    def _connparams(self, *args: Any, **given: Any) -> dict[str, Any]:
        """What a pool is made with: its clients read answers by that, and its connections speak so.

        Said to the connections alone, a client takes answers for RESP3, and those with scores are errors.
        """
        return {**super()._connparams(*args, **given), "protocol": PROTOCOL}  # type: ignore[misc]


class Resp2Channel(_Resp2, Channel):
    """As its base, in RESP2."""


class Resp2SentinelChannel(_Resp2, SentinelChannel):
    """As its base, in RESP2."""


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
