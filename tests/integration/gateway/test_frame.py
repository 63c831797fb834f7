"""What every door has of the house: health, bodies, errors, and an end."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing

import pytest

from farm.errors import StorageUnavailable
from farm.settings.redis import RedisSettings
from farm.testing import FolderStorage
from tests.support.gateway import Gateway, Open
from tests.support.valkey import ValkeyServer


def raw(gateway: Gateway, text: bytes, *, more: bytes = b"") -> bytes:
    """What a client gets that sends this and then waits."""
    with closing(socket.create_connection(("127.0.0.1", gateway.port), timeout=30)) as connection:
        connection.sendall(text)
        connection.sendall(more)
        found = b""
        while piece := connection.recv(65536):
            found += piece
            if b"\r\n\r\n" in found and b'"message"' in found:
                break
        return found


def test_it_lives_and_is_ready(open_gateway: Open) -> None:
    gateway = open_gateway()

    assert gateway.ask("/healthz").json == {"status": "ok"}
    assert gateway.ask("/readyz").json == {"status": "ok"}


def test_what_is_away_is_named_and_nothing_else_is(open_gateway: Open, folder_storage: FolderStorage) -> None:
    gateway = open_gateway()
    folder_storage.broken = StorageUnavailable("secret-host:9000", "unplugged")

    answer = gateway.ask("/readyz")

    assert answer.status == 503
    assert "S3" in answer.json["error"]["message"]
    assert "Redis" not in answer.json["error"]["message"]
    assert b"secret-host" not in answer.body
    assert gateway.ask("/healthz").status == 200
    folder_storage.broken = None
    assert gateway.ask("/readyz").status == 200


def test_without_redis_it_says_so_and_goes_on_when_that_is_back(
    start_valkey: Callable[..., ValkeyServer], folder_storage: FolderStorage
) -> None:
    server = start_valkey("--appendonly", "yes")
    settings = RedisSettings.read(url=server.url, timeout_s=1.0)
    with Gateway(settings, folder_storage) as gateway:
        key = gateway.key()
        assert gateway.ask("/probe", key=key).status == 200
        server.kill()

        away = gateway.ask("/probe", key=key)

        assert (away.status, away.code) == (503, "store_unavailable")
        assert away.headers["Retry-After"]
        assert str(server.port).encode() not in away.body
        server.start()
        assert gateway.ask("/probe", key=key).status == 200


@pytest.mark.parametrize(
    "path", ["/page/nothing", "/page/__init__.py", "/nothing", "/api/v2/nothing", "/healthz/more", "/%00"]
)
def test_an_unknown_path_is_told_as_json(open_gateway: Open, path: str) -> None:
    answer = open_gateway().ask(path)

    assert (answer.status, answer.code) == (404, "not_found")


def test_a_method_that_a_path_does_not_have_is_told(open_gateway: Open) -> None:
    answer = open_gateway().ask("/healthz", method="DELETE")

    assert (answer.status, answer.code) == (405, "method_not_allowed")


BAD_BODIES = {
    "no json": (b"{", {}),
    "a list": (b"[1]", {}),
    "nested": (b"[" * 100_000, {}),
    "no body": (b"", {}),
    "half a letter": (b'{"a": "\xff"}', {}),
    "a type that browsers send unasked": (b"{}", {"Content-Type": "text/plain"}),
}


@pytest.mark.parametrize("what", BAD_BODIES)
def test_a_body_that_is_no_json_object_is_refused(open_gateway: Open, what: str) -> None:
    body, headers = BAD_BODIES[what]
    sent = {"Content-Type": "application/json", **headers}

    answer = open_gateway().ask("/probe", method="POST", body=body, headers=sent)

    assert (answer.status, answer.code) == (400, "invalid_request")


def test_a_body_that_says_it_is_too_large_is_not_waited_for(open_gateway: Open) -> None:
    head = b"POST /probe HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999\r\n\r\n"

    answer = raw(open_gateway(), head)

    assert answer.startswith(b"HTTP/1.1 413")
    assert b"payload_too_large" in answer


def test_a_body_that_does_not_say_so_is_cut_off_where_it_is(open_gateway: Open) -> None:
    head = b"POST /probe HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n"
    head += b"Content-Type: application/json\r\n\r\n"
    piece = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
    with open_gateway_socket(open_gateway()) as connection:
        connection.sendall(head)
        found = b""
        try:
            for _ in range(64):
                connection.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            found = connection.recv(65536)
        except ConnectionResetError:
            return  # cut off in the midst of sending: the answer was lost with it

    assert found.startswith(b"HTTP/1.1 413")


def open_gateway_socket(gateway: Gateway) -> closing[socket.socket]:
    return closing(socket.create_connection(("127.0.0.1", gateway.port), timeout=30))


def test_a_client_that_stops_sending_is_let_go(open_gateway: Open) -> None:
    head = b"POST /probe HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n"
    head += b"Content-Type: application/json\r\n\r\n"

    answer = raw(open_gateway(idle_s=0.3), head, more=b"{")

    assert answer.startswith(b"HTTP/1.1 408")
    assert b"request_timeout" in answer


def test_a_fault_of_ours_is_logged_and_told_without_its_words(
    open_gateway: Open, caplog: pytest.LogCaptureFixture
) -> None:
    answer = open_gateway().ask("/probe/fault")

    assert (answer.status, answer.code) == (500, "internal")
    assert b"hush" not in answer.body
    assert "hush" in caplog.text
