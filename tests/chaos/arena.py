"""A farm made to be broken: workers behind proxies, and somebody who starts the dead ones again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from farm.broker import key_prefix
from farm.errors import FarmError, StoreUnavailable
from farm.handle import Job
from farm.job import EventKind, JobRecord
from tests.chaos.history import AttemptSeen, History, Run, StateSeen, Stored, Story
from tests.support.fault_proxy import FaultProxy
from tests.support.s3 import S3Server, rclone_binary
from tests.support.valkey import ValkeyServer, eventually, free_port
from tests.support.whole_farm import WholeFarm, WorkerProcess, a_clip

_WATCH_S = 0.1


class S3Process:
    """rclone over a folder, on one port and with one key, however often it is killed."""

    def __init__(self, folder: Path) -> None:
        (folder / "farm").mkdir(parents=True)
        self.server = S3Server(
            host="127.0.0.1", port=free_port(), access_key_id="chaos", secret_access_key=uuid.uuid4().hex
        )
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, again over the same files."""
        key = f"{self.server.access_key_id},{self.server.secret_access_key}"
        command = [str(rclone_binary()), "serve", "s3", "--auth-key", key, "--config", ""]
        command += ["--addr", f"127.0.0.1:{self.server.port}", str(self.folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        """End it without a goodbye."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def objects(self) -> dict[str, str]:
        """Every object that lies there, with the sha256 of its bytes."""
        root = self.folder / "farm"
        return {
            str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in root.rglob("*")
            if path.is_file()
        }


class Arena:
    """The farm and its surroundings; a dead worker is started again, as systemd would."""

    def __init__(self, folder: Path, *, workers: int) -> None:
        self.folder = folder
        self._stack = ExitStack()
        valkey_folder = folder / "valkey"
        valkey_folder.mkdir(parents=True)
        self.valkey = ValkeyServer(valkey_folder, "--appendonly", "yes", "--appendfsync", "always")
        self.s3 = S3Process(folder / "s3")
        self.producer_link = self._proxy(self.valkey.port)
        self.redis_links = [self._proxy(self.valkey.port) for _ in range(workers)]
        self.s3_links = [self._proxy(self.s3.server.port) for _ in range(workers)]
        url = f"redis://127.0.0.1:{self.producer_link.port}/0"
        self.farm = WholeFarm(folder / "farm", url, self.s3.server.settings(), namespace="chaos")
        self.places: list[WorkerProcess | None] = [None] * workers
        self.accepted: list[Job] = []
        self.poison: set[str] = set()
        self.canceled: dict[str, float] = {}  # id -> when it was confirmed
        self._killed: set[tuple[str, int]] = set()
        self._closing = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)

    def __enter__(self) -> Self:
        self.valkey.start()
        self.s3.start()
        for place in range(len(self.places)):
            self._launch(place)
        self.farm.wait_ready(*self.workers())
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        if self._keeper.ident is not None:
            self._keeper.join()
        for worker in self.workers():
            with contextlib.suppress(ProcessLookupError):
                worker.signal(signal.SIGCONT)
        self.farm.close()
        self.s3.kill()
        self.valkey.kill()
        self._stack.close()

    def workers(self) -> list[WorkerProcess]:
        """Those that were started last."""
        return [worker for worker in self.places if worker is not None]

    def direct(self) -> redis.Redis:
        """A client past all proxies."""
        return redis.Redis.from_url(self.valkey.url)

    def submit(self, *, steps: int, patience_s: float = 60.0, **options: Any) -> Job:
        """Submit until it is accepted: a key makes it safe to try again when an answer was lost."""
        until = time.monotonic() + patience_s
        key = uuid.uuid4().hex
        graph = a_clip(steps=steps, seed=len(self.accepted))
        while True:
            try:
                job = self.farm.submit(graph, idempotency_key=key, max_attempts=10, **options)
            except StoreUnavailable:
                assert time.monotonic() < until, "the producer never got through"
            else:
                self.accepted.append(job)
                return job

    def signal(self, place: int, number: signal.Signals) -> None:
        """Send a signal to the worker of a place, if it lives."""
        worker = self.places[place]
        if worker is not None:
            with contextlib.suppress(ProcessLookupError):
                worker.signal(number)

    def calm(self, *, within_s: float) -> None:
        """Wait until every accepted job has ended and nothing is held, or the time is over."""
        until = time.monotonic() + within_s
        with self.direct() as client:
            while time.monotonic() < until:
                with contextlib.suppress(FarmError, redis.RedisError):
                    done = all(job.refresh().state.final for job in self.accepted)
                    if done and not any(self.leftovers(client).values()):
                        return
                time.sleep(_WATCH_S)

    def leftovers(self, client: redis.Redis) -> dict[str, int]:
        """What must be empty when all jobs have ended."""
        root, broker = "{chaos}:", key_prefix("chaos")
        counted: dict[str, int] = {
            name: _count(client, "ZCARD", f"{root}{name}") for name in ("leases", "due", "deadlines")
        }
        counted["unacked"] = _count(client, "HLEN", f"{broker}unacked")
        for key in client.scan_iter(match=f"{root}lane:*"):
            counted[f"lane {key.decode()}"] = _count(client, "ZCARD", key.decode())
        for key in client.scan_iter(match=f"{broker}render.*", _type="list"):
            counted[f"queue {key.decode()}"] = _count(client, "LLEN", key.decode())
        return counted

    def history(self) -> History:
        """What everybody saw; only when it is calm."""
        stories = {}
        for job in self.accepted:
            stories[job.job_id] = self._story(job)
        with self.direct() as client:
            leftovers = self.leftovers(client)
        return History(
            accepted=tuple(job.job_id for job in self.accepted),
            stories=stories,
            objects=self.s3.objects(),
            runs=tuple(self._runs()),
            leftovers=leftovers,
            cancel_slack_s=self.farm.store.lease_s,
        )

    def _story(self, job: Job) -> Story:
        record: JobRecord = job.refresh().record
        events = [event for event in job.events(live=False) if event.kind is EventKind.STATE]
        result = record.result
        prefix = self.farm.farm.storage.keys.attempt_prefix(job.job_id, record.attempt) if result else ""
        return Story(
            job_id=job.job_id,
            state=record.state.value,
            states=tuple(
                StateSeen(
                    state=event.data["state"],
                    attempt=event.data["attempt"],
                    at_s=event.at.timestamp(),
                    reason=event.data.get("reason") or "",
                )
                for event in events
            ),
            attempts=tuple(
                AttemptSeen(
                    attempt=note.attempt,
                    worker=note.worker,
                    outcome=note.outcome,
                    started_s=note.started_at.timestamp(),
                    ended_s=note.ended_at.timestamp(),
                )
                for note in record.attempts
            ),
            artifacts=tuple(Stored(key=each.key, sha256=each.sha256) for each in result.artifacts)
            if result
            else (),
            accepted_prefix=prefix,
            error=record.error.message if record.error else None,
            poison=job.job_id in self.poison,
            cancel_confirmed_s=self.canceled.get(job.job_id),
        )

    def _runs(self) -> Iterator[Run]:
        for file in sorted(self.farm.folder.glob("*/record.jsonl")):
            for line in file.read_text().splitlines():
                with contextlib.suppress(ValueError):  # its writer was killed in the middle of it
                    entry = json.loads(line)
                    if entry["event"] == "started":
                        job_id, _, attempt = entry["prompt_id"].rpartition("-")
                        yield Run(
                            job_id=job_id,
                            attempt=int(attempt),
                            started_s=entry["at"],
                            worker=file.parent.name,
                        )

    def _proxy(self, port: int) -> FaultProxy:
        return self._stack.enter_context(FaultProxy("127.0.0.1", port))

    def _launch(self, place: int) -> None:
        self.places[place] = self.farm.launch(
            f"w{place}",
            FARM_REDIS_URL=f"redis://127.0.0.1:{self.redis_links[place].port}/0",
            FARM_S3_ENDPOINT_URL=self.s3_links[place].url,
            FARM_FREEZE_TIMEOUT_S="3",
            FARM_CANCEL_GRACE_S="2",
            FARM_DRAIN_GRACE_S="0.5",
        )

    def _keep(self) -> None:
        """Start dead workers again; let poison do its work."""
        while not self._closing.wait(_WATCH_S):
            for place, worker in enumerate(self.places):
                if worker is not None and worker.child.poll() is not None:
                    self._launch(place)
            with contextlib.suppress(FarmError):
                for job_id in list(self.poison):
                    self._strike(self.farm.farm.store.get(job_id))

    def _strike(self, record: JobRecord) -> None:
        attempt = (record.job_id, record.attempt)
        if record.state != "running" or attempt in self._killed:
            return
        for place, worker in enumerate(self.places):
            if worker is not None and worker.name == record.worker:
                self._killed.add(attempt)
                self.signal(place, signal.SIGKILL)


def wait_for_port(port: int) -> None:
    """Wait until somebody listens there."""
    import socket

    def listens() -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        return False

    eventually(listens, within_s=30)


def stop(pid: int) -> None:
    """Freeze a process."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)


def go_on(pid: int) -> None:
    """Let it go on."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def _count(client: redis.Redis, command: str, key: str) -> int:
    execute: Any = client.execute_command
    return int(execute(command, key))
