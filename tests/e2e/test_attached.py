"""A worker whose ComfyUI is somebody else's: it may be away for a while, and no job pays for that."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from farm.process.child import free_port
from tests.support.fault_proxy import FaultProxy, Mode
from tests.support.valkey import eventually
from tests.support.whole_farm import JOB_S, START_S, WholeFarm, WorkerProcess, outcomes

Farms = Callable[..., WholeFarm]
AWAY_S = 7.0  # longer than a ComfyUI of our own may be silent before it counts as dead (5 s)


class Elsewhere:
    """A server that no worker owns."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.output = folder / "output"
        self._command = [sys.executable, "-m", "comfy.emulator", "--port", str(self.port)]
        for name in ("output", "input", "temp"):
            (folder / name).mkdir()
            self._command += [f"--{name}-directory", str(folder / name)]
        self._http = urllib3.PoolManager(retries=False, timeout=60.0)
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(self._answers, within_s=START_S)

    def _answers(self) -> bool:
        try:
            return self._http.request("GET", f"http://127.0.0.1:{self.port}/queue").status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def history(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(
            self._http.request("GET", f"http://127.0.0.1:{self.port}/history").data
        )
        return told

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Elsewhere]:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    server = Elsewhere(folder)
    yield server
    server.kill()


@pytest.fixture
def way(elsewhere: Elsewhere) -> Iterator[FaultProxy]:
    with FaultProxy("127.0.0.1", elsewhere.port) as proxy:
        yield proxy


@pytest.fixture
def farm(new_farm: Farms) -> WholeFarm:
    return new_farm()


def attach(farm: WholeFarm, elsewhere: Elsewhere, way: FaultProxy) -> WorkerProcess:
    return farm.start_worker("attached", COMFYUI_URL=way.url, COMFYUI_OUTPUT=str(elsewhere.output))


def test_a_job_outlives_that_its_server_cannot_be_reached_and_no_other_one_is_fetched(
    farm: WholeFarm, elsewhere: Elsewhere, way: FaultProxy
) -> None:
    worker = attach(farm, elsewhere, way)
    job = farm.sampling(40)

    way.mode = Mode.REFUSE
    way.reset_all()
    worker.told("comfy_silent")
    eventually(lambda: farm.says(worker, lambda it: it.not_fetching), within_s=JOB_S)
    waiting = farm.submit()
    began = farm.farm.store.ping()["now"]
    eventually(
        lambda: (farm.farm.store.ping()["now"] - began).total_seconds() > AWAY_S, within_s=AWAY_S + JOB_S
    )
    way.mode = Mode.PASS

    assert outcomes(job.wait(JOB_S)) == ["succeeded"]
    assert outcomes(waiting.wait(JOB_S)) == ["succeeded"]
    worker.told("comfy_back")
    labels = [entry["prompt"][3].get("farm", {}).get("job_id") for entry in elsewhere.history().values()]
    assert labels.count(job.job_id) == 1
    left = [path for path in elsewhere.output.rglob("*") if path.is_file() and job.job_id in str(path)]
    assert left == []


def test_a_job_that_its_server_lost_is_run_again_and_pays_for_nothing(
    farm: WholeFarm, elsewhere: Elsewhere, way: FaultProxy
) -> None:
    attach(farm, elsewhere, way)
    job = farm.sampling(40, max_attempts=1)

    elsewhere.kill()
    elsewhere.start()

    job.wait(JOB_S)
    assert outcomes(job)[-1] == "succeeded"
    assert job.refresh().record.attempts_failed == 0
