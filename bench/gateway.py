"""Measures the gateway: requests a second, the way to the first event, and memory with many open streams.

    python -m bench.gateway [--streams 1000] [--seconds 5] [--clients 8]

Starts a Valkey of its own (append-only file on, `everysec`) and one `farm gateway`, without keys. Nothing
renders: jobs wait. Prints one line per figure.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import psutil

from bench.store import own_valkey

GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["1", 0]}},
}
JOBS = "/api/v2/jobs"
HEADERS = {"Content-Type": "application/json"}


def main() -> None:
    """Measure all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=8)
    given = parser.parse_args()
    with own_valkey() as url, running_gateway(url) as (port, process):
        body = json.dumps({"workflow": GRAPH}).encode()
        job_id = submit(HTTPConnection("127.0.0.1", port), body)
        for name, ask in (
            ("status", lambda client: call(client, "GET", f"{JOBS}/{job_id}")),
            ("submit", lambda client: call(client, "POST", JOBS, body)),
        ):
            print(f"{name}: {rate(port, ask, given.clients, given.seconds):.0f} requests/s")
        firsts = [first_event_s(port, body) for _ in range(50)]
        print(f"submit to first event: median {statistics.median(firsts) * 1000:.1f} ms")
        before = process.memory_info().rss
        opened, after = asyncio.run(many_streams(port, job_id, given.streams, process))
        print(f"memory: {before / 2**20:.0f} MiB, with {opened} open streams {after / 2**20:.0f} MiB")


@contextmanager
def running_gateway(url: str) -> Iterator[tuple[int, psutil.Process]]:
    """One gateway; its port and its process."""
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
    root = Path(__file__).parents[1]
    with subprocess.Popen(command, env=environ, cwd=root, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        found = re.search(r":(\d+)", child.stdout.readline())
        assert found is not None, "the gateway did not start"
        try:
            yield int(found[1]), psutil.Process(child.pid)
        finally:
            child.terminate()


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


def rate(port: int, ask: Callable[[HTTPConnection], object], clients: int, seconds: float) -> float:
    """Requests a second of so many clients at once."""
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
    return sum(counts) / seconds


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
