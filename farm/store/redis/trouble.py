"""Turns redis-py's errors into ours: what happened, at which server, what to do. Never a password."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import Any

import redis
from redis.exceptions import AuthenticationError, RedisError
from redis.exceptions import TimeoutError as RedisTimeout
from redis.sentinel import MasterNotFoundError, SentinelConnectionPool

from farm.errors import StoreUnavailable

# Words of an error reply, and what they mean. redis-py takes the code off some replies and keeps it on
# others, and older servers wrap what a script met in more text: so both code and sentence are known.
_REPLIES = (
    (("NOPERM", "no permissions", "has no permission"), "its ACL does not allow this user to do that: {}"),
    (("NOAUTH", "Authentication required"), "it asks for a password and none is given"),
    (("WRONGPASS", "invalid username-password", "invalid password"), "wrong user name or password"),
    (("without any password configured",), "a password is given and it has none"),
    (("LOADING", "loading the dataset"), "it is loading its data after a start; try again in a moment"),
    (
        ("OOM", "> 'maxmemory'"),
        "its memory is full (maxmemory); nothing was stored; free some or raise the limit",
    ),
    (
        ("NOREPLICAS", "Not enough good replicas"),
        "too few replicas are connected (min-replicas-to-write) and it takes no writes",
    ),
    (("MISCONF",), "it cannot write its data to disk and takes no writes; look at its disk and its log"),
    (("READONLY", "read only replica"), "it is a read-only replica; name the primary"),
    (("MASTERDOWN", "Link with MASTER is down"), "it is a replica that lost its primary"),
    (("CROSSSLOT", "MOVED", "CLUSTERDOWN"), "it is a cluster, which Celery cannot use; name a single server"),
    (("BUSY ",), "it is busy with a script that does not end"),
    (("max number of clients",), "it has no connection left (maxclients)"),
)
_CAUSES: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (ssl.SSLError, "TLS failed: {}; check rediss://, the certificate, and that the server speaks TLS"),
    (socket.gaierror, "its host name is not known"),
    (ConnectionRefusedError, "connection refused; nothing listens there"),
    ((RedisTimeout, TimeoutError), "timed out; it does not answer"),
)


_SILENT = re.compile(r"> - [\w:.]*Error")  # one for each sentinel, in redis-py's words


def where(client: redis.Redis) -> str:
    """Host and port (or socket path) of the server that a client speaks to."""
    pool = client.connection_pool
    if isinstance(pool, SentinelConnectionPool):
        if pool.master_address:
            return f"{pool.service_name} (by Sentinel; {':'.join(map(str, pool.master_address))})"
        asked = [each.connection_pool.connection_kwargs for each in pool.sentinel_manager.sentinels]
        return f"{pool.service_name} (by the sentinels {', '.join(map(_host_and_port, asked))})"
    facts = pool.connection_kwargs
    return str(facts["path"]) if "path" in facts else _host_and_port(facts)


def _host_and_port(facts: Mapping[str, Any]) -> str:
    return f"{facts.get('host', '?')}:{facts.get('port', '?')}"


@contextlib.contextmanager
def translated(client: redis.Redis) -> Iterator[None]:
    """Raise `StoreUnavailable` for whatever redis-py raises within."""
    try:
        yield
    except (RedisError, OSError) as exc:
        why = reason(exc)
        if why.startswith("timed out") and issubclass(
            client.connection_pool.connection_class, redis.SSLConnection
        ):
            # A server without TLS waits for the end of what it takes for a command.
            why += "; does it speak TLS (rediss://)?"
        raise StoreUnavailable(where(client), why) from exc


def reason(exc: BaseException) -> str:
    """What went wrong, for a person."""
    text = str(exc)
    for words, meaning in _REPLIES:
        if any(word in text for word in words):
            return meaning.format(text)
    if isinstance(exc, MasterNotFoundError):
        return _no_primary(text)
    for cause in _causes(exc):
        for kinds, meaning in _CAUSES:
            if isinstance(cause, kinds):
                return meaning.format(text)
    if isinstance(exc, AuthenticationError):
        return f"it does not accept the user: {text}"
    return text or type(exc).__name__


def _no_primary(text: str) -> str:
    """What redis-py says in one sentence: which sentinels were silent, and that no other knows a primary."""
    silent = len(_SILENT.findall(text))
    if not silent:
        return "no sentinel knows a primary of that name that is up; maybe a fail-over is under way"
    return f"{silent} of its sentinels did not answer, and no other one knows a primary of that name"


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__
