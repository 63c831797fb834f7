"""Who speaks to the gateway's port as no client does holds a connection for a while, and nothing else."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from itertools import chain, repeat
from typing import Final

import pytest

from farm.gateway.connections import MOST_HEAD_BYTES, Connection
from farm.job import new_job_id
from farm.settings.redis import RedisSettings
from farm.testing import FolderStorage
from tests.support.gateway import Gateway

_START: Final = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"
_POST: Final = b"POST /probe HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
_MUCH: Final = 8 * MOST_HEAD_BYTES
_PATIENCE_S: Final = 60.0  # of a client, on a machine that does much else

_LARGE: Final = {
    "a header": _START + b"X-A: " + b"a" * _MUCH + b"\r\n\r\n",
    "a header without an end": _START + b"X-A: " + b"a" * _MUCH,
    "a header's name": _START + b"a" * _MUCH + b": 1\r\n\r\n",
    "many headers": _START + b"X-A: a\r\n" * (_MUCH // 8) + b"\r\n",
    "many headers without an end": _START + b"X-A: a\r\n" * (_MUCH // 8),
    "a cookie": _START + b"Cookie: " + b"a=b; " * (_MUCH // 5) + b"\r\n\r\n",
    "a key": _START + b"Authorization: Bearer " + b"k" * _MUCH + b"\r\n\r\n",
    "a path": b"GET /" + b"a" * _MUCH + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "a query": b"GET /healthz?" + b"a=1&" * (_MUCH // 4) + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "a method": b"G" * _MUCH,
    "a first line without an end": b"GET /" + b"a" * _MUCH,
    "a folded header": _START + b"X-A: a\r\n" + b" a\r\n" * (_MUCH // 4) + b"\r\n",
    "empty lines": b"\r\n" * (_MUCH // 2),
    "a trailer": _POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X-A: a\r\n" * (_MUCH // 8),
    "a chunk's extension": _POST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * _MUCH,
}
_STRANGE: Final = {
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 100,
    "binary": bytes(range(256)) * 4,
    "another version": b"GET / HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two lengths": _POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    "a length below nothing": _POST + b"Content-Length: -1\r\n\r\n{}",
    "a length in words": _POST + b"Content-Length: two\r\n\r\n{}",
    "a length of 5,000 digits": _POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n{}",
    "a chunk of any size": _POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n{}",
    "a chunk of no size": _POST + b"Transfer-Encoding: chunked\r\n\r\nx\r\n{}",
    "another encoding": _POST + b"Transfer-Encoding: gzip\r\n\r\n{}",
    "length and chunks": _POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
    "a zero in a header": _START + b"X-A: a\0b\r\n\r\n",
    "a blank before the colon": _START + b"X-A : a\r\n\r\n",
    "Redis": b"*1\r\n$4\r\nPING\r\n",
    "a path that is none": b"GET \xff\xfe HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "a half character in a path": b"GET /%ed%a0%80/%00 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "an upgrade": _START + b"Connection: upgrade, close\r\nUpgrade: websocket\r\n\r\n",
}
_SLOW: Final = {
    "nothing": (b"",),
    "half a method": (b"GE",),
    "half a head": (_START,),
    "a header for ever": chain([_START], repeat(b"X: 1\r\n")),
    "a byte for ever": chain([b"GET /"], repeat(b"a")),
    "an empty line for ever": repeat(b"\r\n"),
    "half a second request": chain([_START + b"\r\n", b"GET / HT"]),
    "a second request's header for ever": chain([_START + b"\r\n" + _START], repeat(b"X: 1\r\n")),
    "half a body": (_POST + b"Content-Length: 9\r\n\r\n{",),
    "a body's byte for ever": chain([_POST + b"Content-Length: 900000\r\n\r\n"], repeat(b" ")),
    "a chunk for ever": chain([_POST + b"Transfer-Encoding: chunked\r\n\r\n"], repeat(b"1\r\n \r\n")),
    "a chunk's size for ever": chain([_POST + b"Transfer-Encoding: chunked\r\n\r\n"], repeat(b"0")),
}


@pytest.fixture(scope="module")
def open_to_all(valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One with little patience."""
    redis = RedisSettings.read(url=valkey_url, namespace=f"t{new_job_id()[:12]}")
    with Gateway(redis, FolderStorage(tmp_path_factory.mktemp("s3")), idle_s=1.0) as found:
        yield found


@pytest.fixture
def gateway(open_to_all: Gateway) -> Iterator[Gateway]:
    """The same, which answers whoever comes after the test's stranger."""
    yield open_to_all
    assert open_to_all.ask("/healthz").status == 200


def connect(gateway: Gateway) -> closing[socket.socket]:
    return closing(socket.create_connection(("127.0.0.1", gateway.port), timeout=_PATIENCE_S))


def rest_of(connection: socket.socket) -> bytes:
    """All that comes until the gateway ends the connection; an error where it never does."""
    found = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            found += piece
    return found


@pytest.mark.parametrize("what", _LARGE)
def test_a_head_without_measure_is_refused(what: str, gateway: Gateway) -> None:
    with connect(gateway) as connection:
        with suppress(ConnectionError):  # cut off in the midst of it
            connection.sendall(_LARGE[what])

        assert b" 200 OK" not in rest_of(connection)


@pytest.mark.parametrize("what", _STRANGE)
def test_what_is_no_request_is_refused(what: str, gateway: Gateway) -> None:
    with connect(gateway) as connection:
        connection.sendall(_STRANGE[what])

        answer = rest_of(connection)

    assert not answer or int(answer.split(b" ")[1]) < 500


@pytest.mark.parametrize("what", _SLOW)
def test_who_is_slow_is_let_go(what: str, gateway: Gateway) -> None:
    with connect(gateway) as connection:
        let_go = trickle(connection, _SLOW[what])

    assert let_go


def trickle(connection: socket.socket, pieces: Iterable[bytes]) -> bool:
    """Send piece by piece for as long as a client has patience; whether the gateway had less."""
    until = time.monotonic() + _PATIENCE_S
    connection.settimeout(0.05)
    left = iter(pieces)
    while time.monotonic() < until:
        try:
            connection.sendall(next(left, b""))
            if not connection.recv(65536):
                return True
        except TimeoutError:
            continue
        except ConnectionError:
            return True
    return False


def test_two_hundred_requests_at_once_are_answered_one_after_the_other(gateway: Gateway) -> None:
    with connect(gateway) as connection:
        connection.sendall((_START + b"\r\n") * 199 + _START + b"Connection: close\r\n\r\n")

        assert rest_of(connection).count(b" 200 OK") == 200


def test_more_connections_than_there_may_be_are_ended_and_the_others_served(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connection, "most", 2)
    with connect(gateway) as first, connect(gateway) as second:
        first.sendall(_START + b"\r\n")
        assert b" 200 OK" in first.recv(65536)
        second.sendall(_START + b"\r\n")
        assert b" 200 OK" in second.recv(65536)

        with connect(gateway) as third:
            assert rest_of(third) == b""

        first.sendall(_START + b"Connection: close\r\n\r\n")
        assert b" 200 OK" in rest_of(first)
