"""Measures the gateway: requests/s, time to the first event, memory of many streams, the page's weight.

    python -m bench.gateway [--streams 1000] [--seconds 5] [--clients 8] [--peer COMMAND]

Starts a Valkey of its own (append-only file on, `everysec`) and one `farm gateway`, without keys. Nothing
renders: jobs wait. Where `comfy-api-proxy` is at hand (`uv tool install comfy-api-proxy`, or `--peer` and its
path), it is asked the same in front of one emulator; then a line has both figures and ours as a multiple.
Processor time is that of the asked process alone, and stands still when the machine has other work.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import itertools
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import psutil

from bench.servers import own_valkey
from farm.process.child import free_port

ROOT = Path(__file__).parents[1]
GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["1", 0]}},
}
JOBS = "/api/v2/jobs"
HEADERS = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Served:
    """A server that is measured."""

    port: int
    process: psutil.Process

    def cpu_s(self) -> float:
        """Processor time that it has used, in all its threads."""
        used = self.process.cpu_times()
        return float(used.user + used.system)


@dataclass(frozen=True, slots=True)
class Load:
    """What it did under requests of one kind."""

    per_s: float
    cpu_ms: float  # of a request


def main() -> None:
    """Measure all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--peer", default=shutil.which("comfy-api-proxy"))
    given = parser.parse_args()
    body = json.dumps({"workflow": GRAPH}).encode()
    with own_valkey() as url, running_gateway(url) as gateway:
        ours = loads(gateway, body, given.clients, given.seconds)
        job_id = submit(HTTPConnection("127.0.0.1", gateway.port), body)
        first_s = statistics.median(first_event_s(gateway.port, body) for _ in range(50))
        before = gateway.process.memory_info().rss
        opened, after = asyncio.run(many_streams(gateway.port, job_id, given.streams, gateway.process))
    theirs = None
    if given.peer:
        with running_peer(given.peer) as peer:
            theirs = loads(peer, body, given.clients, given.seconds)
            their_first_s = statistics.median(first_event_s(peer.port, body) for _ in range(50))
    for name, load in ours.items():
        print(f"{name}: {told(load)}{'' if theirs is None else beside(load, theirs[name])}")
    peer_first = f"; comfy-api-proxy {their_first_s * 1000:.1f} ms" if theirs else ""
    print(f"submit to first event: median {first_s * 1000:.1f} ms{peer_first}")
    print(f"memory: {before / 2**20:.0f} MiB, with {opened} open streams {after / 2**20:.0f} MiB")
    print(f"page: {page_weight()}")


def loads(server: Served, body: bytes, clients: int, seconds: float) -> dict[str, Load]:
    """Each kind of request by itself."""
    client = HTTPConnection("127.0.0.1", server.port)
    jobs = itertools.cycle([submit(client, body) for _ in range(100)])  # a client's own, each time
    asks: dict[str, Callable[[HTTPConnection], object]] = {
        "status": lambda client: call(client, "GET", f"{JOBS}/{next(jobs)}"),
        "submit": lambda client: call(client, "POST", JOBS, body),
    }
    found = {}
    for name, ask in asks.items():
        before_s = server.cpu_s()
        count = requests(server.port, ask, clients, seconds)
        found[name] = Load(count / seconds, (server.cpu_s() - before_s) / count * 1000)
    return found


def told(load: Load) -> str:
    """In words."""
    return f"{load.per_s:,.0f} requests/s, {load.cpu_ms:.2f} ms of processor time each"


def beside(ours: Load, theirs: Load) -> str:
    """The other one's, and ours as a multiple of it."""
    return (
        f"; comfy-api-proxy {told(theirs)} "
        f"(x{ours.per_s / theirs.per_s:.2f}, x{ours.cpu_ms / theirs.cpu_ms:.2f})"
    )


def page_weight() -> str:
    """What a browser loads for the page, as it lies here and packed."""
    folder = ROOT / "farm" / "gateway" / "page"
    files = [each.read_bytes() for each in folder.iterdir() if each.suffix in (".html", ".css", ".js")]
    plain, packed = sum(map(len, files)), sum(len(gzip.compress(each)) for each in files)
    return f"{plain / 1000:.0f} kB in {len(files)} files, {packed / 1000:.0f} kB packed"


@contextmanager
def running_gateway(url: str) -> Iterator[Served]:
    """One gateway."""
    environ = {
        **os.environ,
        "FARM_REDIS_URL": url,
        "FARM_S3_ENDPOINT_URL": "http://127.0.0.1:1",  # links are signed, and nothing is fetched
        "FARM_S3_ACCESS_KEY_ID": "x",
        "FARM_S3_SECRET_ACCESS_KEY": "x",
        "FARM_GATEWAY_REQUESTS_PER_S": "1000000",
        "FARM_GATEWAY_OPEN_JOBS": "1000000",
    }
    command = [sys.executable, "-m", "farm.cli", "gateway", "--port", "0"]
    with subprocess.Popen(command, env=environ, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        found = re.search(r":(\d+)", child.stdout.readline())
        assert found is not None, "the gateway did not start"
        try:
            yield Served(int(found[1]), psutil.Process(child.pid))
        finally:
            child.terminate()


@contextmanager
def running_peer(command: str) -> Iterator[Served]:
    """One proxy before one emulator."""
    comfy, port = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        emulator = [sys.executable, "-m", "comfy.emulator", "--port", str(comfy), "--base-directory", folder]
        proxy = [command, "run", "--port", str(port), "--comfyui", f"http://127.0.0.1:{comfy}"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": ROOT}
        with subprocess.Popen(emulator, **quiet) as below, subprocess.Popen(proxy, **quiet) as child:  # type: ignore[call-overload]
            try:
                until_it_listens(comfy)
                until_it_listens(port)
                yield Served(port, psutil.Process(child.pid))
            finally:
                child.terminate()
                below.terminate()


def until_it_listens(port: int) -> None:
    """Wait until somebody answers there, for a minute at most."""
    until = time.monotonic() + 60
    while True:
        try:
            return HTTPConnection("127.0.0.1", port).connect()
        except OSError:
            assert time.monotonic() < until, f"nobody listens on {port}"
            time.sleep(0.1)


def call(client: HTTPConnection, method: str, path: str, body: bytes | None = None) -> bytes:
    """One request over a connection that stays open."""
    client.request(method, path, body, HEADERS)
    answer = client.getresponse()
    content = answer.read()
    assert answer.status < 300, content
    return content


def submit(client: HTTPConnection, body: bytes) -> str:
    """Queue a job; its id."""
    return str(json.loads(call(client, "POST", JOBS, body))["id"])


def requests(port: int, ask: Callable[[HTTPConnection], object], clients: int, seconds: float) -> int:
    """How many requests so many clients at once have answered."""
    counts = [0] * clients
    until = time.monotonic() + seconds

    def work(number: int) -> None:
        client = HTTPConnection("127.0.0.1", port)
        while time.monotonic() < until:
            ask(client)
            counts[number] += 1
        client.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts)


def first_event_s(port: int, body: bytes) -> float:
    """From a submit to the first event of that job's stream."""
    client = HTTPConnection("127.0.0.1", port)
    started = time.perf_counter()
    client.request("GET", f"{JOBS}/{submit(client, body)}/events")
    answer = client.getresponse()
    while not answer.readline().startswith(b"data: "):
        pass
    took_s = time.perf_counter() - started
    client.close()
    return took_s


async def many_streams(port: int, job_id: str, count: int, process: psutil.Process) -> tuple[int, int]:
    """Open so many streams of one job; how many gave an event, and the gateway's memory then."""
    head = f"GET {JOBS}/{job_id}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    writers = []

    async def one() -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)
        writer.write(head)
        while line := await reader.readline():
            if line.startswith(b"data: "):
                return True
        return False

    opened = sum(await asyncio.gather(*(one() for _ in range(count))))
    await asyncio.sleep(3.0)  # they look for their place in the queue meanwhile
    memory = process.memory_info().rss
    for writer in writers:
        writer.close()
    return opened, memory


if __name__ == "__main__":
    main()
