"""URLs that strangers give: what is fetched, and what never is."""

from __future__ import annotations

import contextlib
import gzip
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from comfy.protocol.sniff import HEAD_BYTES
from farm.errors import TransferStopped
from farm.outside import dial
from farm.outside.addresses import Address, is_public
from tests.support.http import served
from worker.inputs import fetch
from worker.inputs.fetch import FetchRefused, UrlFetcher

PUBLIC = ipaddress.ip_address("93.184.215.14")


def anywhere(*, size_bytes: int = 1 << 20, time_s: float = 60.0, **dialer: Any) -> UrlFetcher:
    """One that may call this machine too."""
    return UrlFetcher(dial.Dialer(allow_private=True, **dialer), size_bytes=size_bytes, time_s=time_s)


def of_the_internet(**dialer: Any) -> UrlFetcher:
    return UrlFetcher(dial.Dialer(**dialer), size_bytes=1 << 20)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server: Any = self.server
        server.requests.append((self.path, dict(self.headers)))
        server.answer(self)

    def log_message(self, *_: Any) -> None:
        pass


class Site(ThreadingHTTPServer):
    """A web server of the test's own; `answer` says what it does."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.answer = lambda request: give(request, b"a picture")


def give(request: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    request.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    request.wfile.write(body)


@pytest.fixture
def site() -> Iterator[Site]:
    with served(Site()) as server:
        yield server


def refusal(url: str, path: Path, fetcher: UrlFetcher) -> str:
    with pytest.raises(FetchRefused) as caught:
        fetcher.fetch(url, path)
    return str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "198.18.0.1",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:db8::1",
        "fec0::1",
        "::7f00:1",
    ],
)
def test_an_address_of_our_own_network_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "[::1]", "[::ffff:127.0.0.1]", "0"]
)
def test_no_spelling_of_loopback_gets_through(site: Site, tmp_path: Path, host: str) -> None:
    fetcher = of_the_internet()

    reason = refusal(f"http://{host}:{site.server_port}/x.png", tmp_path / "x", fetcher)

    assert "private or local address" in reason or "cannot be resolved" in reason
    assert site.requests == []


def test_a_redirect_into_our_own_network_is_refused(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.answer = lambda request: give(request, b"", 302, Location=f"{site.url}/secret")
    first = iter([True])  # the first server stands for one of the internet, whatever its address here
    monkeypatch.setattr(dial, "is_public", lambda address: next(first, False) or is_public(address))
    fetcher = of_the_internet(resolver=lambda host, port: [ipaddress.ip_address("127.0.0.1")])

    reason = refusal(f"http://images.example:{site.server_port}/x.png", tmp_path / "x", fetcher)

    assert "'127.0.0.1' is at a private or local address" in reason
    assert [path for path, _ in site.requests] == ["/x.png"]


def test_a_name_is_resolved_once_and_pinned(site: Site, tmp_path: Path) -> None:
    """A name that first answers with a good address and then with loopback gains nothing."""
    asked = []

    def rebinding(host: str, port: int) -> list[Address]:
        asked.append(host)
        return [ipaddress.ip_address("127.0.0.1")]

    anywhere(resolver=rebinding).fetch(f"http://images.example:{site.server_port}/x.png", tmp_path / "x")

    assert asked == ["images.example"]
    assert site.requests[0][1]["Host"] == f"images.example:{site.server_port}"


def test_only_public_addresses_of_a_name_are_tried() -> None:
    dialer = dial.Dialer(resolver=lambda host, port: [ipaddress.ip_address("10.0.0.1"), PUBLIC])

    assert dialer._address("mixed.example", 80) == PUBLIC


@pytest.mark.parametrize(
    "url", ["ftp://host/x", "gopher://host/", "file:///etc/passwd", "//host/x", "http://"]
)
def test_only_http_is_fetched(tmp_path: Path, url: str) -> None:
    refusal(url, tmp_path / "x", anywhere())


def test_a_redirect_to_another_scheme_is_refused(site: Site, tmp_path: Path) -> None:
    site.answer = lambda request: give(request, b"", 302, Location="file:///etc/passwd")

    assert "only http and https" in refusal(f"{site.url}/x", tmp_path / "x", anywhere())


def test_redirects_are_followed_but_not_for_ever(site: Site, tmp_path: Path) -> None:
    site.answer = lambda request: (
        give(request, b"a picture")
        if request.path == "/there"
        else give(request, b"", 307, Location="/there" if request.path == "/here" else "/loop")
    )

    anywhere().fetch(f"{site.url}/here", tmp_path / "x")

    assert (tmp_path / "x").read_bytes() == b"a picture"
    assert "redirects more than 5 times" in refusal(f"{site.url}/loop", tmp_path / "y", anywhere())


def test_a_login_goes_to_its_own_server_only(site: Site, tmp_path: Path) -> None:
    with served(Site()) as other:
        site.answer = lambda request: give(request, b"", 302, Location=f"{other.url}/x")

        anywhere().fetch(f"http://user:pass@127.0.0.1:{site.server_port}/x", tmp_path / "x")

        assert site.requests[0][1]["Authorization"] == "Basic dXNlcjpwYXNz"
        assert "Authorization" not in other.requests[0][1]


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "not declared"])
def test_a_file_that_is_too_large_is_refused(site: Site, tmp_path: Path, declared: bool) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        if declared:
            request.send_header("Content-Length", str(3 << 20))
        request.end_headers()
        with contextlib.suppress(OSError):  # the other side may have seen enough
            request.wfile.write(b"x" * (3 << 20))

    site.answer = answer

    reason = refusal(f"{site.url}/x", tmp_path / "x", anywhere())

    assert "larger than 1 MiB (FARM_INPUT_LIMIT_MIB)" in reason


def test_a_server_that_drips_is_given_up_in_time(site: Site, tmp_path: Path) -> None:
    over = threading.Event()

    def drip(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "1000")
        request.end_headers()
        while not over.wait(0.05):
            try:
                request.wfile.write(b"x")
            except OSError:
                return

    site.answer = drip
    started = time.monotonic()

    reason = refusal(f"{site.url}/x", tmp_path / "x", anywhere(time_s=0.5))

    over.set()
    assert "took longer than 0.5 s" in reason
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\n"], ids=["nothing", "half a header"])
def test_a_server_that_falls_silent_does_not_outlast_a_stop(sent: bytes, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        stop = threading.Event()

        def fall_silent() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(sent)
                stop.set()
                connection.recv(1000)  # until the other side hangs up

        thread = threading.Thread(target=fall_silent)
        thread.start()
        started = time.monotonic()

        with pytest.raises(TransferStopped):
            anywhere().fetch(
                f"http://127.0.0.1:{server.getsockname()[1]}/x", tmp_path / "x", stop=stop.is_set
            )

        thread.join(timeout=60)
        assert time.monotonic() - started < 25  # a socket alone would have waited 30 s


def test_a_header_that_drips_is_given_up_in_time(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                while True:
                    connection.sendall(b"x")
                    time.sleep(0.02)  # how the server behaves, nothing that is waited for

        thread = threading.Thread(target=drip)
        thread.start()

        url = f"http://127.0.0.1:{server.getsockname()[1]}/x"
        reason = refusal(url, tmp_path / "x", anywhere(time_s=0.5))

        thread.join(timeout=60)
        assert not thread.is_alive()
        assert "took longer than 0.5 s" in reason


def test_what_begins_wrong_is_not_downloaded(site: Site, tmp_path: Path) -> None:
    """A page where a picture should be, whatever the server calls it, costs its first bytes and no more."""
    cut = threading.Event()

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "image/png")
        request.end_headers()
        try:
            for _ in range(1000):
                request.wfile.write(b"<html>" * 20_000)
        except OSError:
            cut.set()

    site.answer = answer
    seen: list[bytes] = []

    def look(head: bytes) -> str:
        seen.append(head)
        return "it is a page"

    with pytest.raises(FetchRefused, match="it is a page"):
        anywhere(size_bytes=1 << 30).fetch(f"{site.url}/x.png", tmp_path / "x", look=look)

    assert cut.wait(20)
    assert seen == [(b"<html>" * 100)[:HEAD_BYTES]]


def test_a_file_shorter_than_what_is_looked_at_is_looked_at_too(site: Site, tmp_path: Path) -> None:
    site.answer = lambda request: give(request, b"no")

    with pytest.raises(FetchRefused, match="begins with b'no'"):
        anywhere().fetch(f"{site.url}/x", tmp_path / "x", look=lambda head: f"begins with {head!r}")


def test_nothing_is_unpacked(site: Site, tmp_path: Path) -> None:
    bomb = gzip.compress(b"\x89PNG\r\n\x1a\n" + bytes(50 << 20))
    site.answer = lambda request: give(request, bomb, Content_Encoding="gzip")

    reason = refusal(f"{site.url}/x.png", tmp_path / "x", anywhere())

    assert "packed (gzip)" in reason
    assert site.requests[0][1]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("location", ["http://[broken/x", "http://host:99999/x", "http://ex\u0000ample/"])
def test_a_redirect_that_cannot_be_read_is_refused(site: Site, tmp_path: Path, location: str) -> None:
    site.answer = lambda request: give(request, b"", 302, Location=location)

    assert refusal(f"{site.url}/x", tmp_path / "x", anywhere())


@pytest.mark.parametrize(
    "name", ["metadata.google.internal", "metadata.goog", "instance-data.ec2.internal", "169.254.169.254"]
)
def test_the_metadata_of_a_cloud_is_refused_by_its_address(tmp_path: Path, name: str) -> None:
    metadata = ipaddress.ip_address("169.254.169.254")
    fetcher = of_the_internet(resolver=lambda host, port: [metadata])

    assert "private or local address" in refusal(f"http://{name}/latest/", tmp_path / "x", fetcher)


def test_a_server_that_stays_down_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_FIRST_WAIT_S", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    reason = refusal(f"http://127.0.0.1:{port}/x?sig=secret", tmp_path / "x", anywhere())

    assert reason.startswith("127.0.0.1 does not answer: ")
    assert reason.endswith("(4 tries)")
    assert "secret" not in reason


def test_a_busy_server_is_asked_again(site: Site, tmp_path: Path) -> None:
    site.answer = lambda request: give(request, b"a picture", 503 if len(site.requests) == 1 else 200)

    anywhere().fetch(f"{site.url}/x", tmp_path / "x")

    assert (tmp_path / "x").read_bytes() == b"a picture"
    assert len(site.requests) == 2


def test_a_download_that_breaks_off_is_begun_again(site: Site, tmp_path: Path) -> None:
    site.answer = lambda request: give(
        request, b"a pic" if len(site.requests) == 1 else b"a picture", Content_Length="9"
    )

    anywhere().fetch(f"{site.url}/x", tmp_path / "x")

    assert (tmp_path / "x").read_bytes() == b"a picture"


def test_a_file_that_is_not_there_is_not_asked_for_again(site: Site, tmp_path: Path) -> None:
    site.answer = lambda request: give(request, b"", 404)

    assert "answered 404" in refusal(f"{site.url}/x", tmp_path / "x", anywhere())
    assert len(site.requests) == 1


def test_https_is_checked_against_the_name_not_the_address(site: Site, tmp_path: Path) -> None:
    certificate = a_certificate(tmp_path, "images.example")
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate)
    names: list[str] = []
    server_side.sni_callback = lambda _socket, name, _context: names.append(name)
    site.socket = server_side.wrap_socket(site.socket, server_side=True)
    ours = ssl.create_default_context(cafile=str(certificate))
    fetcher = anywhere(resolver=lambda host, port: [ipaddress.ip_address("127.0.0.1")], tls=ours)

    fetcher.fetch(f"https://images.example:{site.server_port}/x.png", tmp_path / "x")
    wrong = refusal(f"https://other.example:{site.server_port}/x.png", tmp_path / "y", fetcher)

    assert (tmp_path / "x").read_bytes() == b"a picture"
    assert names == ["images.example", "other.example"]
    assert "TLS with other.example failed" in wrong


def a_certificate(folder: Path, name: str) -> Path:
    """A self-signed certificate and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(tz=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    return path
