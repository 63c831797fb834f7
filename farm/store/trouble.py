"""Turns redis-py's errors into ours: what happened, at which server, what to do. Never a password."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator

import redis
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    RedisError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeout,
)

from farm.errors import StoreUnavailable

# Beginnings of error replies, wherever they stand: some versions wrap what a script met in more text.
_REPLIES = (
    ("WRONGPASS", "wrong user name or password"),
    ("NOAUTH", "it asks for a password and none is set"),
    ("invalid username-password", "wrong user name or password"),
    ("AUTH", "its password is not accepted: "),
    ("LOADING", "it is loading its data after a start; try again in a moment"),
    ("OOM", "its memory is full (maxmemory); nothing was stored; free some or raise the limit"),
    ("MISCONF", "it cannot write its data to disk and so takes no writes; look at its disk and log"),
    ("READONLY", "it is a read-only replica; name the primary"),
    ("MASTERDOWN", "it is a replica that lost its primary"),
    ("CLUSTERDOWN", "its cluster is down"),
    ("CROSSSLOT", "it is a cluster, which Celery cannot use as a broker; name a single server"),
    ("MOVED", "it is a cluster, which Celery cannot use as a broker; name a single server"),
    ("BUSY", "it is busy with a script that does not end"),
)

_CAUSES: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (ssl.SSLError, "TLS failed: {}; check rediss://, the certificate, and that the server speaks TLS"),
    (socket.gaierror, "its host name is not known"),
    (ConnectionRefusedError, "connection refused; nothing listens there"),
    ((RedisTimeout, TimeoutError), "timed out; it does not answer"),
)


def where(client: redis.Redis) -> str:
    """Host and port (or socket path) of the server that a client speaks to."""
    facts = client.connection_pool.connection_kwargs
    return str(facts["path"]) if "path" in facts else f"{facts.get('host', '?')}:{facts.get('port', '?')}"


@contextlib.contextmanager
def translated(client: redis.Redis) -> Iterator[None]:
    """Raise `StoreUnavailable` for whatever redis-py raises within."""
    try:
        yield
    except (RedisError, OSError) as exc:
        raise StoreUnavailable(where(client), reason(exc)) from exc


def reason(exc: BaseException) -> str:
    """What went wrong, for a person."""
    text = str(exc)
    if isinstance(exc, NoPermissionError) or "NOPERM" in text:
        return f"its ACL does not allow this user to do that ({text})"
    if isinstance(exc, (AuthenticationError, AuthorizationError)):
        return _by_reply(text) or "wrong user name or password"
    for cause in _causes(exc):
        for kinds, meaning in _CAUSES:
            if isinstance(cause, kinds):
                return meaning.format(text)
    return _by_reply(text) or text or type(exc).__name__


def _by_reply(text: str) -> str | None:
    for word, meaning in _REPLIES:
        if word in text:
            return meaning + text if meaning.endswith(": ") else meaning
    return None


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__
