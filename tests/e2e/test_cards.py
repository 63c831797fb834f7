"""Workers on cards that a compiled driver library shows them: several on one node, and one that is lost."""

from __future__ import annotations

import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from farm.job import JobState
from farm.process.child import Child
from farm.status.not_fetching import NotFetching
from farm.status.worker import WorkerStatus
from tests.support.compiled_nvml import LOST, a_card, build
from tests.support.valkey import eventually
from tests.support.whole_farm import JOB_S, START_S, WholeFarm

Farms = Callable[..., WholeFarm]

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")

ROOT = Path(__file__).parents[2]
WELL = "0\n" + a_card(24564, "NVIDIA GeForce RTX 4090")
THREE = WELL + a_card(16376, "NVIDIA GeForce RTX 4080") + a_card(46068, "NVIDIA L40S")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """What the driver says, to be written anew at will; the library lies beside it."""
    file = build(tmp_path) / "state"
    file.write_text(WELL)
    return file


def driven_by(state: Path) -> dict[str, str]:
    return {"LD_LIBRARY_PATH": str(state.parent), "FAKE_NVML_STATE": str(state)}


def test_the_cards_that_are_asked_for_have_a_worker_each_and_one_that_dies_does_not_touch_the_other(
    new_farm: Farms, state: Path, tmp_path: Path
) -> None:
    farm = new_farm()
    state.write_text(THREE)
    environ = farm.environment(FARM_WORKER_DIR=str(tmp_path / "node"), **driven_by(state))
    command = [sys.executable, "-m", "worker", "up", "--gpus", "0,2"]
    node = Child.start(command, name="node", env=environ, cwd=ROOT, grace_s=5.0)
    try:

        def pids() -> dict[str, int]:
            return {each.name: each.pid or 0 for each in farm.farm.workers() if not each.is_starting}

        names = {f"gpu0@{platform.node()}", f"gpu2@{platform.node()}"}
        eventually(lambda: set(pids()) == names, within_s=2 * START_S)
        gpus = {each.name.partition("@")[0]: each.gpu for each in farm.farm.workers()}
        assert gpus["gpu0"] is not None
        assert gpus["gpu2"] is not None
        assert gpus["gpu0"].name == "NVIDIA GeForce RTX 4090"
        assert gpus["gpu2"].name == "NVIDIA L40S"
        assert gpus["gpu2"].vram_total_bytes == 46068 * 2**20
        before = pids()
        dying = f"gpu0@{platform.node()}"

        psutil.Process(before[dying]).send_signal(signal.SIGKILL)

        eventually(lambda: pids().get(dying) not in (None, before[dying]), within_s=2 * START_S)
        assert {name: pid for name, pid in pids().items() if name != dying} == {
            name: pid for name, pid in before.items() if name != dying
        }
        assert node.stop(grace_s=30.0) == 0
    finally:
        node.stop(grace_s=0.0)


def test_a_card_that_does_not_exist_is_refused_with_those_that_do(new_farm: Farms, state: Path) -> None:
    state.write_text(THREE)

    ended = subprocess.run(
        [sys.executable, "-m", "worker", "up", "--gpus", "0,5"],
        env=new_farm().environment(**driven_by(state)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
    )

    assert ended.returncode == 78
    assert "there is no card '5' (there are: 0 = GPU-00000001-0000, 1 = GPU" in ended.stderr
    assert "--gpus" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.long
def test_a_worker_whose_card_is_lost_takes_no_job_until_it_is_back(new_farm: Farms, state: Path) -> None:
    farm = new_farm()
    worker = farm.start_worker("a", **driven_by(state))
    farm.submit().wait(JOB_S)

    state.write_text("0\n" + a_card(24564, "NVIDIA GeForce RTX 4090", rc=LOST))

    def found_out(status: WorkerStatus) -> bool:
        return NotFetching.GPU_UNUSABLE in status.not_fetching and "lost" in str(status.trouble)

    eventually(lambda: farm.says(worker, found_out), within_s=START_S)
    job = farm.submit()
    state.unlink()  # and now no driver answers at all: NVML has vanished
    eventually(lambda: farm.says(worker, lambda it: "kernel module" in str(it.trouble)), within_s=START_S)
    assert job.refresh().state is JobState.QUEUED
    state.write_text(WELL)
    job.wait(JOB_S)
    assert farm.says(worker, lambda it: it.load_plan.mode != "cpu")
