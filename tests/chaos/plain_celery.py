"""The same schedule, history and checker on plain Celery: the control that shows that the checker sees."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import redis
from celery import Celery

from tests.chaos.history import History, Run, StateSeen, Stored, Story
from tests.chaos.schedule import Fault, Planned
from tests.support.valkey import ValkeyServer, eventually

FAULTS: Final = (
    Fault.IDLE_FREEZE,
    Fault.WORKER_KILL,
    Fault.WORKER_NAP,
    Fault.CLIENT_KILL,
    Fault.VALKEY_KILL,
)
_NAP_S: Final = 1.0
_START_S: Final = 60.0
_JOB_S: Final = 6.0  # longer than it takes a message that is handed back to be taken by somebody else


class PlainCelery:
    """Valkey, two workers of one process each, and a producer; who dies is started again."""

    def __init__(self, folder: Path, *, acks: str) -> None:
        """`acks` is "early", Celery's default, or "late"."""
        self._folder = folder
        folder.mkdir(parents=True)
        self._valkey = ValkeyServer(folder, "--appendonly", "yes", "--appendfsync", "always")
        self._environ = os.environ | {
            "PLAIN_FOLDER": str(folder),
            "PLAIN_REDIS": self._valkey.url,
            "PLAIN_ACKS": acks,
        }
        self._app = Celery("producer", broker=self._valkey.url)
        self._workers: dict[int, subprocess.Popen[bytes]] = {}
        self._accepted: dict[str, float] = {}
        self._does: dict[Fault, Callable[[int], None]] = {
            Fault.IDLE_FREEZE: self._freeze_idle,
            Fault.WORKER_KILL: lambda place: self._kill(self._busy() or place),
            Fault.WORKER_NAP: self._nap,
            Fault.CLIENT_KILL: lambda _: self._kill_clients(),
            Fault.VALKEY_KILL: lambda _: self._restart_valkey(),
        }

    def __enter__(self) -> Self:
        self._valkey.start()
        for place in (1, 2):
            self._start(place)
        self._await_workers()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._app.close()
        for worker in self._workers.values():
            _end(worker)
        self._valkey.kill()

    def play(self, schedule: Sequence[Planned]) -> None:
        """Play each fault when its time has come and there is somebody to hit."""
        for planned in schedule:
            eventually(self._all_quiet, within_s=_START_S)
            if planned.kind is not Fault.IDLE_FREEZE:
                job_id = self.submit()
                eventually(lambda job_id=job_id: job_id in self._running(), within_s=_START_S)  # type: ignore[misc]
            self._does[planned.kind](1 + planned.target % 2)
            self._await_workers()

    def submit(self) -> str:
        """Send a task, as a producer does."""
        job_id = uuid.uuid4().hex
        self._app.send_task("plain.render", args=[job_id, _JOB_S])
        self._accepted[job_id] = time.time()
        return job_id

    def history(self, *, within_s: float) -> History:
        """What everybody saw; waits for jobs to end, but not for those that have nobody to end them."""
        until = time.monotonic() + within_s
        while time.monotonic() < until and not self._all_quiet():
            time.sleep(0.1)
        told: dict[str, list[StateSeen]] = defaultdict(list)
        files: dict[str, list[Stored]] = defaultdict(list)
        runs = []
        for job_id, at_s in self._accepted.items():
            told[job_id].append(StateSeen(state="queued", attempt=0, at_s=at_s))
        for entry in self._record():
            attempt = sum(seen.state == "running" for seen in told[entry["job_id"]])
            attempt += entry["event"] == "running"
            seen = StateSeen(state=entry["event"], attempt=attempt, at_s=entry["at"])
            told[entry["job_id"]].append(seen)
            if entry["event"] == "running":
                runs.append(
                    Run(
                        job_id=entry["job_id"],
                        attempt=attempt,
                        started_s=entry["at"],
                        worker=str(entry["pid"]),
                    )
                )
            else:
                files[entry["job_id"]].append(_stored(self._folder / entry["file"]))
        return History(
            accepted=tuple(self._accepted),
            stories={
                job_id: Story(
                    job_id=job_id,
                    state=states[-1].state,
                    states=tuple(states),
                    artifacts=tuple(files[job_id]),
                )
                for job_id, states in told.items()
            },
            objects={each.key: each.sha256 for kept in files.values() for each in kept},
            runs=tuple(runs),
        )

    # -- what is done to it --------------------------------------------------------------------------

    def _freeze_idle(self, _: int) -> None:
        """The hole of BRPOP: a frozen worker's open pop swallows the message, and then it dies."""
        while not self._swallowed():
            eventually(self._all_quiet, within_s=_START_S)
        for place in self._workers:
            self._kill(place)

    def _swallowed(self) -> bool:
        """Whether a frozen worker has taken a message; on a busy machine its pop may have ended before."""
        for worker in self._workers.values():
            _signal(worker, signal.SIGSTOP)
        self.submit()
        with self._client() as client, contextlib.suppress(AssertionError):
            eventually(lambda: not client.llen("celery"), within_s=1.0)
            return True
        for worker in self._workers.values():
            _signal(worker, signal.SIGCONT)
        return False

    def _kill(self, place: int) -> None:
        _end(self._workers[place])
        self._start(place)

    def _nap(self, place: int) -> None:
        _signal(self._workers[place], signal.SIGSTOP)
        time.sleep(_NAP_S)
        _signal(self._workers[place], signal.SIGCONT)

    def _kill_clients(self) -> None:
        with self._client() as client:
            for kind in ("normal", "pubsub"):
                client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")

    def _restart_valkey(self) -> None:
        self._valkey.kill()
        self._valkey.start()

    # -- what is known of it -------------------------------------------------------------------------

    def _record(self) -> list[dict[str, Any]]:
        file = self._folder / "record.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def _running(self) -> dict[str, int]:
        """Jobs that somebody who lives works on, and the process."""
        now: dict[str, int] = {}
        for entry in self._record():
            if entry["event"] == "running" and Path(f"/proc/{entry['pid']}").exists():
                now[entry["job_id"]] = entry["pid"]
            elif now.get(entry["job_id"]) == entry["pid"]:
                del now[entry["job_id"]]
        return now

    def _busy(self) -> int | None:
        """The place of a worker that works."""
        for pid in self._running().values():
            for place, worker in self._workers.items():
                with contextlib.suppress(ProcessLookupError):
                    if os.getpgid(pid) == worker.pid:
                        return place
        return None

    def _all_quiet(self) -> bool:
        with contextlib.suppress(redis.RedisError), self._client() as client:
            return not self._running() and not client.llen("celery")
        return False

    def _await_workers(self) -> None:
        def ready() -> bool:
            with contextlib.suppress(redis.RedisError), self._client() as client:
                return client.ping() and all(map(self._ready, self._workers))
            return False

        eventually(ready, within_s=_START_S)

    def _ready(self, place: int) -> bool:
        log = self._folder / f"{self._workers[place].pid}.log"
        return " ready." in log.read_text()

    def _start(self, place: int) -> None:
        log = self._folder / "next.log"
        with log.open("wb") as output:
            command = [sys.executable, "-m", "celery", "-A", "tests.chaos.plain_app", "worker"]
            command += ["-c", "1", "-l", "INFO", "-n", f"plain{place}@test"]
            worker = subprocess.Popen(
                command, env=self._environ, stdout=output, stderr=output, start_new_session=True
            )
        log.rename(self._folder / f"{worker.pid}.log")
        self._workers[place] = worker

    def _client(self) -> redis.Redis:
        return redis.Redis.from_url(self._valkey.url)


def _signal(worker: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(worker.pid, number)


def _end(worker: subprocess.Popen[bytes]) -> None:
    _signal(worker, signal.SIGKILL)
    worker.wait()


def _stored(file: Path) -> Stored:
    return Stored(key=file.name, sha256=hashlib.sha256(file.read_bytes()).hexdigest())
