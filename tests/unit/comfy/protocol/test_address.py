"""Addresses of servers: read once, secrets kept out of whatever is printed."""

from __future__ import annotations

import base64

import pytest

from comfy.protocol.address import ComfyAddress

BASIC = {"Authorization": f"Basic {base64.b64encode(b'me:p@ss').decode()}"}


@pytest.mark.parametrize(
    ("text", "url", "websocket", "headers"),
    [
        ("http://127.0.0.1:8188", "http://127.0.0.1:8188", "ws://127.0.0.1:8188/ws", {}),
        ("HTTP://Host:8188/", "http://host:8188", "ws://host:8188/ws", {}),
        ("https://host/a/comfy/", "https://host/a/comfy", "wss://host/a/comfy/ws", {}),
        ("http://[::1]:8188", "http://[::1]:8188", "ws://[::1]:8188/ws", {}),
        ("http://me:p%40ss@host/ui", "http://host/ui", "ws://host/ui/ws", BASIC),
    ],
)
def test_an_address_is_read(text: str, url: str, websocket: str, headers: dict[str, str]) -> None:
    address = ComfyAddress.parse(text)

    assert (address.url, address.websocket_url, address.headers) == (url, websocket, headers)


def test_a_token_is_sent_as_bearer() -> None:
    assert ComfyAddress.parse("http://host", token="t0k").headers == {"Authorization": "Bearer t0k"}


@pytest.mark.parametrize(
    "text",
    [
        "http://[::1",
        "http://host:port",
        "http://me:s3cret@host:99999",
        "http://me:s3cret@[::1",
        "ftp://me:s3cret@host",
        "me:s3cret@host",
        "http://",
        "",
        "http://host/?token=s3cret",
        "http://host/#s3cret",
    ],
)
def test_what_is_no_address_is_refused_without_its_secret(text: str) -> None:
    with pytest.raises(ValueError, match=r"address") as refused:
        ComfyAddress.parse(text)

    assert "s3cret" not in str(refused.value)


def test_a_user_beside_a_token_is_refused() -> None:
    with pytest.raises(ValueError, match="one of them"):
        ComfyAddress.parse("http://me:s3cret@host", token="t0k")


def test_nothing_that_is_printed_holds_a_secret() -> None:
    address = ComfyAddress.parse("http://me:s3cret@host")

    shown = f"{address} {address!r} {address.websocket_url}"

    assert "s3cret" not in shown
    assert address.headers["Authorization"].split()[1] not in shown
