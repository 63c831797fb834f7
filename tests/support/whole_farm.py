"""The whole farm as real processes: workers of `python -m worker`, each with an emulator of its own.

Valkey and S3 come from the fixtures of `tests.support.valkey` and `tests.support.s3`; a farm has its own
namespace and prefix there, so many may share them. Times are short, so that repair is seen in seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import urllib3

from comfy.wan.templates import get_template
from farm.client import Farm
from farm.handle import Job
from farm.job import AttemptNote, EventKind, JobError, JobEvent, JobState
from farm.process.child import Child
from farm.process.logpump import LogLine
from farm.settings.redis import RedisSettings, StoreSettings
from farm.settings.s3 import S3Settings
from farm.status.worker import WorkerStatus
from tests.support.emulator_record import job_of
from tests.support.environment import environment_of, environment_of_others
from tests.support.s3 import S3Server
from tests.support.valkey import eventually

START_S = 60.0  # three processes, on a machine that other tests keep busy
JOB_S = 60.0  # far beyond what any of these jobs takes

QUICK: Mapping[str, Any] = {
    "lease_s": 2.0,
    "renew_s": 0.4,
    "sweep_s": 0.2,
    "avoid_s": 0.0,
    "notify_again_after_s": 1.0,
}


def a_clip(*, steps: int = 4, **parameters: Any) -> dict[str, Any]:
    """A small WAN graph with a seed of its own; each sampler step is a twentieth of a second."""
    small = {"width": 64, "height": 64, "frames": 5, "prompt": "a fox", "steps": steps}
    return get_template("wan22-t2v-a14b").build(**{**small, **parameters}).graph


class WorkerProcess:
    """One `python -m worker` in a folder of its own, its log kept."""

    def __init__(
        self,
        name: str,
        folder: Path,
        environ: Mapping[str, str],
        command: Sequence[str] = ("-m", "worker"),
        *,
        inside: Sequence[str] = (),
    ) -> None:
        """Start it; `inside` is a command that runs it elsewhere (``ip netns exec …``) and becomes it."""
        self.name = name
        self.folder = folder
        self.lines: list[str] = []
        self._http = urllib3.PoolManager(retries=False, timeout=60.0)
        folder.mkdir(parents=True, exist_ok=True)
        self.child = Child.start(
            [*inside, sys.executable, *command],
            name=name,
            env={**environ, "FARM_WORKER_NAME": name, "FARM_WORKER_DIR": str(folder)},
            cwd=Path(__file__).parents[2],
            on_line=self._hear,
            grace_s=2.0,
        )

    def entries(self, event: str) -> list[dict[str, Any]]:
        """What its log says of an event by now, oldest first."""
        return [entry for entry in self._entries() if entry.get("event") == event]

    def told(self, event: str, *, times: int = 1, within_s: float = JOB_S) -> list[dict[str, Any]]:
        """What its log says of an event, once it has it `times` times: its lines come after its deeds."""
        eventually(lambda: len(self.entries(event)) >= times, within_s=within_s)
        return self.entries(event)

    @property
    def log(self) -> str:
        """All that it printed."""
        return "\n".join(self.lines)

    # -- its ComfyUI -------------------------------------------------------------------------------

    @property
    def comfy_url(self) -> str:
        """Where its ComfyUI listens, since its last start."""
        return str(self.told("comfy_ready")[-1]["url"])

    def comfy(self) -> psutil.Process:
        """The process of its ComfyUI."""
        family = psutil.Process(self.child.pid).children(recursive=True)
        port = self.comfy_url.rpartition(":")[2]
        found = [each for each in family if "--port" in _words(each) and port in _words(each)]
        # The guard that starts it has its command line in its own.
        return next(each for each in found if "guard.py" not in " ".join(_words(each)))

    def ask(self, path: str) -> Any:
        """GET a JSON value of its ComfyUI."""
        return json.loads(self._http.request("GET", self.comfy_url + path).data)

    def misbehave(self, kind: str, **details: Any) -> None:
        """Order a fault of its emulator."""
        body = json.dumps({"kind": kind, **details}).encode()
        answer = self._http.request("POST", f"{self.comfy_url}/emulator/faults", body=body)
        assert answer.status == 200, answer.data

    def differ(self, *ways: str) -> None:
        """Have its emulator differ from all servers that are known in these ways only."""
        body = json.dumps(ways).encode()
        answer = self._http.request("PUT", f"{self.comfy_url}/emulator/future", body=body)
        assert answer.status == 204, answer.data

    def behave(self) -> None:
        """Forget the faults that did not happen."""
        self._http.request("DELETE", f"{self.comfy_url}/emulator/faults")

    def runs(self, job_id: str) -> list[str]:
        """The prompts of a job that its emulators began to run, over restarts too."""
        return [entry["prompt_id"] for entry in self.record(job_id) if entry["event"] == "started"]

    def record(self, job_id: str) -> list[dict[str, Any]]:
        """What its emulators wrote down about a job."""
        file = self.folder / "record.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        entries: list[dict[str, Any]] = [json.loads(line) for line in lines]
        prompts = {entry["prompt_id"] for entry in entries if (job_of(entry) or ("",))[0] == job_id}
        return [entry for entry in entries if entry["prompt_id"] in prompts]

    # -- its end -----------------------------------------------------------------------------------

    def kill(self) -> None:
        """End the worker itself without a word, as the kernel does; what it started is left to its guards."""
        os.kill(self.child.pid, signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the worker alone."""
        os.kill(self.child.pid, number)

    def close(self) -> None:
        """End it at once, whatever state it is in, with all that it started."""
        self._http.clear()
        with contextlib.suppress(TimeoutError):
            self.child.kill()

    def _hear(self, line: LogLine) -> None:
        self.lines.append(line.text)

    def _entries(self) -> Iterator[dict[str, Any]]:
        for line in list(self.lines):
            if line.startswith("{"):
                yield json.loads(line)


class WholeFarm:
    """A producer, and workers that are started as a test wants them."""

    def __init__(
        self, folder: Path, redis_url: str, s3: S3Settings, *, namespace: str | None = None, **store: Any
    ) -> None:
        self.folder = folder
        self.redis = RedisSettings.read(
            url=redis_url, namespace=namespace or f"e{uuid.uuid4().hex[:12]}", timeout_s=2.0
        )
        self.s3 = s3
        self.store = StoreSettings.read(**{**QUICK, **store})
        self.farm = Farm(redis=self.redis, s3=s3)
        self.workers: list[WorkerProcess] = []

    def environment(self, **variables: str) -> dict[str, str]:
        """What a process of this farm gets: nothing of ours leads it elsewhere."""
        settings = (self.redis, self.s3, self.store)
        ours = {name: value for each in settings for name, value in environment_of(each).items()}
        return {**environment_of_others(), **ours, "FARM_LOG_FORMAT": "json", **variables}

    def launch(
        self,
        name: str = "a",
        *,
        emulator: str = "",
        command: Sequence[str] = ("-m", "worker"),
        inside: Sequence[str] = (),
        **variables: str,
    ) -> WorkerProcess:
        """Start a worker and do not wait for it."""
        folder = self.folder / name
        arguments = f"--load-seconds 0 --step-seconds 0.05 --record {folder}/record.jsonl {emulator}"
        environ = self.environment(FARM_EMULATOR_ARGS=arguments, **variables)
        worker = WorkerProcess(f"{name}@test", folder, environ, command, inside=inside)
        self.workers.append(worker)
        return worker

    def start_worker(self, name: str = "a", *, emulator: str = "", **variables: str) -> WorkerProcess:
        """Start a worker and wait until it fetches."""
        worker = self.launch(name, emulator=emulator, **variables)
        self.wait_ready(worker)
        return worker

    def wait_ready(self, *workers: WorkerProcess) -> None:
        """Wait until each of them fetches jobs."""
        for worker in workers:
            eventually(lambda worker=worker: self._is_ready(worker), within_s=START_S)  # type: ignore[misc]

    def _is_ready(self, worker: WorkerProcess) -> bool:
        assert worker.child.poll() is None, worker.log
        status = self.status(worker)
        return status is not None and status.pid == worker.child.pid and not status.not_fetching

    def status(self, worker: WorkerProcess) -> WorkerStatus | None:
        """What a worker says of itself; None while it does not live."""
        return next((each for each in self.farm.workers() if each.name == worker.name), None)

    def says(self, worker: WorkerProcess, what: Callable[[WorkerStatus], object]) -> bool:
        """Whether the worker lives and this holds of what it says of itself."""
        status = self.status(worker)
        return status is not None and bool(what(status))

    def submit(self, graph: dict[str, Any] | None = None, **options: Any) -> Job:
        """Submit a clip."""
        return self.farm.submit(graph if graph is not None else a_clip(), **options)

    def sampling(self, steps: int, **options: Any) -> Job:
        """Submit a clip of so many steps, and wait until it samples."""
        job = self.submit(a_clip(steps=steps), **options)
        self.wait_step(job)
        return job

    def wait_phase(self, job: Job, *phases: str) -> JobEvent:
        """Wait until the job's events tell one of the phases."""

        def seen() -> bool:
            return any(_phase(event) in phases for event in job.events(live=False))

        eventually(seen, within_s=JOB_S)
        return next(event for event in job.events(live=False) if _phase(event) in phases)

    def wait_step(self, job: Job, *, at_least: int = 1) -> None:
        """Wait until the job samples."""

        def samples() -> bool:
            progress = job.refresh().record.progress
            return progress is not None and progress.step is not None and progress.step >= at_least

        eventually(samples, within_s=JOB_S)

    def wait_state(self, job: Job, *states: JobState) -> Job:
        """Wait until the job is in one of the states."""
        eventually(lambda: job.refresh().state in states, within_s=JOB_S)
        return job

    def wait_final(self, job: Job) -> Job:
        """Wait until the job has ended, well or not."""
        eventually(lambda: job.refresh().state.final, within_s=JOB_S)
        return job

    def states(self, job: Job) -> list[str]:
        """The states that the job's events tell, in order."""
        return [event.data["state"] for event in job.events(live=False) if event.kind is EventKind.STATE]

    def stored(self, job: Job) -> list[str]:
        """What lies in S3 under the job: keys below its own prefix."""
        storage = self.farm.storage
        prefix = storage.keys.job_prefix(job.job_id)
        return sorted(found.key.removeprefix(prefix) for found in storage.list(prefix))

    def holds_only_the_result_of(self, job: Job) -> bool:
        """Whether nothing lies in S3 under the job but files of the accepted attempt."""
        token = job.refresh().record.token
        return all(key.startswith(f"{token}/") for key in self.stored(job))

    def close(self) -> None:
        """End everything that was started."""
        for worker in self.workers:
            worker.close()
        self.farm.close()


@pytest.fixture(scope="module")
def lasting_farm(
    tmp_path_factory: pytest.TempPathFactory, valkey_url: str, s3_server: S3Server
) -> Iterator[WholeFarm]:
    """A farm for the tests of a module, without workers."""
    settings = s3_server.settings(prefix=f"e{uuid.uuid4().hex[:12]}")
    made = WholeFarm(tmp_path_factory.mktemp("farm"), valkey_url, settings)
    yield made
    made.close()


def outcomes(job: Job) -> list[str]:
    """How the job's attempts ended, first to last."""
    return [note.outcome for note in job.refresh().record.attempts]


def error_of(job: Job) -> JobError:
    """Why the job is not well."""
    error = job.refresh().record.error
    assert error is not None
    return error


def notes(job: Job) -> tuple[AttemptNote, ...]:
    """The job's attempts."""
    return job.refresh().record.attempts


def _phase(event: JobEvent) -> str | None:
    return event.data.get("phase") if event.kind is EventKind.PHASE else None


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
