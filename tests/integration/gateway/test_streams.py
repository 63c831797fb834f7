"""Event streams as a client without any library reads them: what comes, how often, and how many may be."""

from __future__ import annotations

import itertools
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from typing import Any

import pytest

from farm.settings.redis import RedisSettings
from farm.testing import FolderStorage
from tests.support.comfy_contract import errors_in
from tests.support.gateway import GRAPH, Gateway, Open
from tests.support.gateway_worker import HandWorker
from tests.support.valkey import ValkeyServer, eventually

JOBS = "/api/v2/jobs"
SCHEMAS = {"status": "StatusEvent", "progress": "Progress", "preview": "PreviewEvent", "output": "Output"}


class Stream:
    """An open stream."""

    def __init__(self, gateway: Gateway, job_id: str, key: str, *, receive_bytes: int = 0) -> None:
        self._connection = HTTPConnection("127.0.0.1", gateway.port)
        self._connection.sock = socket.socket()
        if receive_bytes:
            self._connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self._connection.sock.settimeout(60)
        self._connection.sock.connect(("127.0.0.1", gateway.port))
        self._connection.request("GET", f"{JOBS}/{job_id}/events", headers={"Authorization": f"Bearer {key}"})
        self._answer = self._connection.getresponse()
        self.status = self._answer.status

    def next(self) -> tuple[str, dict[str, Any]]:
        """The next event, which keeps to its schema."""
        name = ""
        while line := self._answer.readline().decode():
            if line.startswith("event: "):
                name = line[7:].strip()
            elif line.startswith("data: "):
                found = json.loads(line[6:])
                assert errors_in(SCHEMAS[name], found) == []
                return name, found
        raise EOFError

    def until(self, wanted: Callable[[str, dict[str, Any]], bool]) -> list[tuple[str, dict[str, Any]]]:
        """All events up to one."""
        found = [self.next()]
        while not wanted(*found[-1]):
            found.append(self.next())
        return found

    def close(self) -> None:
        """Hang up."""
        self._answer.close()
        self._connection.close()


@contextmanager
def streaming(gateway: Gateway, job_id: str, key: str) -> Iterator[Stream]:
    with closing(Stream(gateway, job_id, key)) as stream:
        yield stream


def submit(gateway: Gateway, key: str) -> str:
    return str(gateway.ask(JOBS, method="POST", key=key, body={"workflow": GRAPH}).json["id"])


def is_status(wanted: str) -> Callable[[str, dict[str, Any]], bool]:
    return lambda name, data: name == "status" and data["status"] == wanted


def test_a_waiting_job_tells_its_place_whenever_it_changes(gateway: Gateway, worker: HandWorker) -> None:
    key = gateway.key()
    first, second = submit(gateway, key), submit(gateway, key)
    with streaming(gateway, second, key) as stream:
        assert stream.next() == ("status", {"status": "queued", "queue_position": 1})

        worker.start(first)

        assert stream.next() == ("status", {"status": "queued", "queue_position": 0})
        worker.start(second)
        assert stream.next() == ("status", {"status": "running", "queue_position": None})


def test_who_comes_late_gets_all_there_is_to_know(gateway: Gateway, worker: HandWorker) -> None:
    key = gateway.key()
    job_id = submit(gateway, key)
    worker.start(job_id)
    worker.step(job_id, 1, picture=b"one")
    worker.step(job_id, 3, picture=b"three")

    with streaming(gateway, job_id, key) as stream:
        found = dict(stream.next() for _ in range(3))

    assert found["status"]["status"] == "running"
    assert found["progress"]["value"] == 0.75
    assert found["preview"]["data_base64"] == "dGhyZWU="


def test_of_many_pictures_two_a_second_come_and_the_last_one_does(
    gateway: Gateway, worker: HandWorker
) -> None:
    key = gateway.key()
    job_id = submit(gateway, key)
    worker.start(job_id)
    with streaming(gateway, job_id, key) as stream:
        stream.next()
        started = time.monotonic()
        for number in range(1, 41):
            worker.step(job_id, number, 40, picture=f"{number:02}".encode())

        found = stream.until(lambda name, data: data.get("data_base64") == "NDA=")
        took_s = time.monotonic() - started

    pictures = [data for name, data in found if name == "preview"]
    assert len(pictures) <= took_s / 0.5 + 1


def test_the_outputs_come_before_the_end_and_the_end_is_the_end(gateway: Gateway, worker: HandWorker) -> None:
    key = gateway.key()
    job_id = submit(gateway, key)
    with streaming(gateway, job_id, key) as stream:
        worker.start(job_id)
        worker.succeed(job_id)

        found = stream.until(is_status("succeeded"))

        assert "output" in [name for name, _ in found]
        with pytest.raises(EOFError):
            stream.next()


def test_a_cancel_is_told_when_it_is_asked_for(gateway: Gateway, worker: HandWorker) -> None:
    key = gateway.key()
    job_id = submit(gateway, key)
    worker.start(job_id)
    with streaming(gateway, job_id, key) as stream:
        stream.until(is_status("running"))
        gateway.store.cancel(job_id)
        stream.until(is_status("canceling"))
        worker.stop(job_id)
        stream.until(is_status("canceled"))


def test_one_stream_too_many_is_refused_until_another_ends(open_gateway: Open) -> None:
    gateway = open_gateway(tenant_streams=2)
    key, other = gateway.key(), gateway.key("other")
    job_id = submit(gateway, key)
    opened = [Stream(gateway, job_id, key) for _ in range(2)]
    assert [each.status for each in opened] == [200, 200]

    refused = gateway.ask(f"{JOBS}/{job_id}/events", key=key)

    assert (refused.status, refused.code) == (429, "too_many_streams")
    assert int(refused.headers["Retry-After"]) > 0
    with streaming(gateway, submit(gateway, other), other) as stream:
        assert stream.status == 200
    for each in opened:
        each.close()
    eventually(lambda: gateway.house.streams.open == 0)
    with streaming(gateway, job_id, key) as stream:
        assert stream.status == 200


def test_a_stream_goes_on_when_redis_is_back(
    start_valkey: Callable[..., ValkeyServer], folder_storage: FolderStorage
) -> None:
    server = start_valkey("--appendonly", "yes", "--appendfsync", "always")
    settings = RedisSettings.read(url=server.url, timeout_s=1.0)
    with Gateway(settings, folder_storage) as gateway:
        key = gateway.key()
        job_id = submit(gateway, key)
        with streaming(gateway, job_id, key) as stream:
            stream.until(is_status("queued"))
            server.kill()
            eventually(lambda: gateway.ask(JOBS, key=key).status == 503)
            server.start()
            worker = HandWorker(gateway.store, gateway.storage)

            worker.start(job_id)
            worker.succeed(job_id)

            stream.until(is_status("succeeded"))


def test_who_never_reads_costs_little_and_others_are_served(gateway: Gateway, worker: HandWorker) -> None:
    key = gateway.key()
    job_id = submit(gateway, key)
    worker.start(job_id)
    sleepers = [Stream(gateway, job_id, key, receive_bytes=4096) for _ in range(20)]
    eventually(lambda: gateway.house.streams.open == 20)

    for number in range(30):
        worker.step(job_id, number, 30, picture=b"x" * 100_000)

    with streaming(gateway, job_id, key) as stream:
        worker.succeed(job_id)
        stream.until(is_status("succeeded"))
    for each in sleepers:
        each.close()
    eventually(lambda: gateway.house.streams.open == 0)


def test_who_reads_no_more_is_let_go(open_gateway: Open) -> None:
    gateway = open_gateway(idle_s=1.0)
    worker = HandWorker(gateway.store, gateway.storage)
    key = gateway.key()
    job_id = submit(gateway, key)
    worker.start(job_id)
    sleeper = Stream(gateway, job_id, key, receive_bytes=4096)
    steps = itertools.count()

    def is_gone() -> bool:
        # Pictures fill what the kernel keeps for a connection, a few megabytes, and then nothing moves.
        worker.step(job_id, next(steps) % 1000, 1000, picture=b"x" * 380_000)
        return gateway.house.streams.open == 0

    eventually(is_gone)

    sleeper.close()
