"""The proxy for inputs from the internet: used for them alone, and judged by the rules of every address."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import SecretStr

from farm.errors import SettingsError
from farm.outside.addresses import Address
from farm.outside.dial import Dialer
from farm.outside.proxy import Proxy, proxy_of
from farm.settings.worker import WorkerSettings
from tests.support.http import served
from worker.inputs.fetch import FetchRefused, UrlFetcher

PUBLIC = "93.184.215.14"
# A proxy as people run them: CONNECT, a password, one thread a connection; every name leads to one server.
A_PROXY = """
import base64, json, socket, sys, threading
target, login = int(sys.argv[1]), sys.argv[2]

def pipe(one, other):
    while data := one.recv(65536):
        other.sendall(data)
    other.shutdown(socket.SHUT_WR)

def serve(client):
    head = b""
    while b"\\r\\n\\r\\n" not in head:
        head += client.recv(4096)
    line, *headers = head.decode().split("\\r\\n")
    print(json.dumps(line), flush=True)
    wanted = "Proxy-Authorization: Basic " + base64.b64encode(login.encode()).decode()
    if login and wanted not in headers:
        client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\\r\\n\\r\\n")
    elif not line.startswith("CONNECT "):
        client.sendall(b"HTTP/1.1 405 Method Not Allowed\\r\\n\\r\\n")
    else:
        there = socket.create_connection(("127.0.0.1", target))
        client.sendall(b"HTTP/1.1 200 Connection established\\r\\n\\r\\n")
        threading.Thread(target=pipe, args=(there, client), daemon=True).start()
        return pipe(client, there)
    client.close()

listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


class Site(BaseHTTPRequestHandler):
    """Gives a picture, and notes whom it was asked for."""

    hosts: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.hosts.append(self.headers["Host"])
        self.send_response(200)
        self.send_header("Content-Length", "9")
        self.end_headers()
        self.wfile.write(b"a picture")

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@pytest.fixture
def site() -> Iterator[int]:
    Site.hosts.clear()
    with served(ThreadingHTTPServer(("127.0.0.1", 0), Site)) as server:
        yield server.server_port


class RunningProxy:
    """A proxy process, and what it was asked for."""

    def __init__(self, site_port: int, login: str = "") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", A_PROXY, str(site_port), login], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def asked(self) -> list[str]:
        """End it; the first lines of all requests that it got."""
        self._process.kill()
        said, _ = self._process.communicate()
        return [json.loads(line) for line in said.splitlines()]


def resolves_to(*addresses: str) -> Any:
    def resolver(_host: str, _port: int) -> list[Address]:
        return [ip_address(address) for address in addresses]

    return resolver


def fetcher(proxy: Proxy, *addresses: str, allow_private: bool = False) -> UrlFetcher:
    dialer = Dialer(allow_private=allow_private, proxy=proxy, resolver=resolves_to(*addresses))
    return UrlFetcher(dialer, size_bytes=1 << 20)


@pytest.mark.parametrize("login", ["", "me:s3cret", "m%40e:s%2F3cret"])
def test_an_input_of_the_internet_comes_through_it_from_the_address_that_was_judged(
    login: str, site: int, tmp_path: Path
) -> None:
    running = RunningProxy(site, login.replace("%40", "@").replace("%2F", "/"))
    at = f"{login}@" if login else ""
    proxy = Proxy.parse(f"http://{at}127.0.0.1:{running.port}")

    fetcher(proxy, PUBLIC).fetch("http://example.com/fox.png", tmp_path / "fox.png")

    assert (tmp_path / "fox.png").read_bytes() == b"a picture"
    assert Site.hosts == ["example.com"]
    assert [line.rsplit(" ", 1)[0] for line in running.asked()] == [f"CONNECT {PUBLIC}:80"]


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.7", "169.254.169.254", "::1", "fd00::1", "100.64.0.1"]
)
def test_what_is_refused_without_a_proxy_is_refused_with_one(address: str, site: int, tmp_path: Path) -> None:
    running = RunningProxy(site)

    with pytest.raises(FetchRefused, match="private or local"):
        fetcher(Proxy.parse(f"http://127.0.0.1:{running.port}"), address).fetch(
            "http://inside.example/fox.png", tmp_path / "fox.png"
        )

    assert running.asked() == []


def test_loopback_goes_round_it_where_it_is_allowed(site: int, tmp_path: Path) -> None:
    running = RunningProxy(site)

    fetcher(Proxy.parse(f"http://127.0.0.1:{running.port}"), "127.0.0.1", allow_private=True).fetch(
        f"http://localhost:{site}/fox.png", tmp_path / "fox.png"
    )

    assert Site.hosts == [f"localhost:{site}"]
    assert running.asked() == []


def test_a_proxy_that_lets_nobody_through_is_named_without_its_password(
    site: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.inputs.fetch._FIRST_WAIT_S", 0.01)
    running = RunningProxy(site, "other:word")

    with pytest.raises(FetchRefused) as refused:
        fetcher(Proxy.parse(f"http://me:s3cret@127.0.0.1:{running.port}"), PUBLIC).fetch(
            "http://example.com/fox.png", tmp_path / "fox.png"
        )

    assert "FARM_INPUT_PROXY" in str(refused.value)
    assert "407" in str(refused.value)
    assert "s3cret" not in str(refused.value)
    running.asked()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "proxy:3128",
        "https://proxy",
        "socks5://proxy",
        "http://",
        "http://proxy/path",
        "http://proxy?a=b",
        "http://:s3cret@",
    ],
)
def test_an_address_of_a_proxy_that_is_none_is_told_by_its_setting(text: str) -> None:
    with pytest.raises(SettingsError, match="FARM_INPUT_PROXY") as refused:
        proxy_of(WorkerSettings.read(input_proxy=SecretStr(text)))

    assert "s3cret" not in str(refused.value)


def test_variables_that_were_meant_for_others_lead_no_input_through_a_proxy(
    site: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    UrlFetcher(Dialer(allow_private=True), size_bytes=1 << 20).fetch(
        f"http://127.0.0.1:{site}/fox.png", tmp_path / "fox.png"
    )

    assert Site.hosts == [f"127.0.0.1:{site}"]
