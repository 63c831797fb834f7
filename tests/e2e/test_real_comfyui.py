"""The same worker over a real ComfyUI, where COMFYUI_DIR names one.

COMFYUI_PYTHON, COMFYUI_BASE and COMFYUI_ARGS are those of a worker.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from comfy.wan.templates import get_template
from farm.job import JobState
from farm.status.proof import ProofVerdict
from tests.e2e.test_first_light import assert_plays, fetch
from tests.support.s3 import S3Server
from tests.support.valkey import eventually
from tests.support.whole_farm import WholeFarm, WorkerProcess, outcomes

RENDER_S = 150.0  # on a CPU, from a cold page cache

pytestmark = [
    pytest.mark.skipif(not os.environ.get("COMFYUI_DIR"), reason="COMFYUI_DIR names no ComfyUI"),
    pytest.mark.timeout(400),
]


@pytest.fixture(scope="module")
def real_farm(
    tmp_path_factory: pytest.TempPathFactory, valkey_url: str, s3_server: S3Server
) -> Iterator[WholeFarm]:
    """A farm whose worker owns the ComfyUI that the environment names."""
    given = {name: value for name, value in os.environ.items() if name.startswith("COMFYUI_")}
    farm = WholeFarm(tmp_path_factory.mktemp("real"), valkey_url, s3_server.settings(prefix="real"))
    worker = farm.launch("real", **given)
    eventually(lambda: bool(worker.told("comfy_ready")) or worker.child.poll() is not None, within_s=RENDER_S)
    farm.wait_ready(worker)
    yield farm
    farm.close()


@pytest.fixture
def real_worker(real_farm: WholeFarm) -> WorkerProcess:
    """Its worker."""
    return real_farm.workers[0]


def tiny(**parameters: Any) -> dict[str, Any]:
    """The built-in template, as small as WAN goes."""
    small = {"prompt": "a fox", "width": 64, "height": 64, "frames": 5, "steps": 2}
    return get_template("wan22-t2v-a14b").build(**{**small, **parameters}).graph


def with_vhs(graph: dict[str, Any]) -> dict[str, Any]:
    """The same clip, saved by VideoHelperSuite instead of the core nodes."""
    kept = {node_id: node for node_id, node in graph.items() if node_id not in ("60", "61")}
    inputs = {
        "images": ["8", 0],
        "frame_rate": 8,
        "loop_count": 0,
        "filename_prefix": "vhs/clip",
        "format": "video/h264-mp4",
        "pingpong": False,
        "save_output": True,
        "pix_fmt": "yuv420p",
        "crf": 19,
        "save_metadata": True,
        "trim_to_audio": False,
    }
    return {**kept, "90": {"class_type": "VHS_VideoCombine", "inputs": inputs}}


def test_the_template_runs_on_a_real_comfyui(real_farm: WholeFarm, real_worker: WorkerProcess) -> None:
    job = real_farm.submit(tiny()).wait(RENDER_S)

    result = job.result()
    assert not result.facts.emulated
    assert result.main.video is not None
    assert (result.main.video.width, result.main.video.frames) == (64, 5)
    assert_plays(fetch(result.url()), frames=5)
    status = real_farm.status(real_worker)
    assert status is not None
    assert not status.emulated
    assert status.comfyui_version


def test_its_mode_is_proven_by_a_log_that_is_understood(
    real_farm: WholeFarm, real_worker: WorkerProcess
) -> None:
    real_farm.submit(tiny(seed=9)).wait(RENDER_S)

    status = real_farm.status(real_worker)

    assert status is not None
    assert status.proof is not None
    assert (status.proof.verdict, status.proof.differences) == (ProofVerdict.PROVEN, ())
    assert status.proof.log is not None
    assert status.proof.log.missing == ()
    assert status.proof.log.unknown_warnings == ()


def test_the_template_runs_again_without_loading(real_farm: WholeFarm, real_worker: WorkerProcess) -> None:
    graph = tiny(seed=5)
    first = real_farm.submit(graph).wait(RENDER_S)

    second = real_farm.submit(graph).wait(RENDER_S)

    assert second.result().main.key != first.result().main.key
    assert real_farm.farm.storage.exists(second.result().main.key)
    assert second.result().facts.timings_s["comfy"] < 5.0


def test_a_clip_of_video_helper_suite_arrives(real_farm: WholeFarm, real_worker: WorkerProcess) -> None:
    if not real_worker.ask("/object_info/VHS_VideoCombine"):
        pytest.skip("this ComfyUI has no VideoHelperSuite")

    job = real_farm.submit(with_vhs(tiny())).wait(RENDER_S)

    clip = job.result().main
    assert clip.media_type == "video/mp4"
    assert clip.video is not None
    assert (clip.video.frames, clip.video.fps) == (5, 8.0)
    assert_plays(fetch(job.result().url()), frames=5)


def test_a_running_job_is_canceled_and_the_next_one_runs(
    real_farm: WholeFarm, real_worker: WorkerProcess
) -> None:
    job = real_farm.submit(tiny(steps=100, frames=33))
    real_farm.wait_step(job)

    job.cancel()

    real_farm.wait_state(job, JobState.CANCELED)
    real_farm.submit(tiny()).wait(RENDER_S)


def test_a_killed_comfyui_is_started_again(real_farm: WholeFarm, real_worker: WorkerProcess) -> None:
    job = real_farm.submit(tiny(steps=40, frames=17))
    real_farm.wait_step(job)

    real_worker.comfy().kill()

    job.wait(RENDER_S)
    assert outcomes(job) == ["failed", "succeeded"]


def test_a_killed_lone_workers_job_waits_again_before_the_next_comfyui_is_up(
    tmp_path: Path, valkey_url: str, s3_server: S3Server
) -> None:
    farm = WholeFarm(tmp_path, valkey_url, s3_server.settings(prefix="killed"))
    given = {name: value for name, value in os.environ.items() if name.startswith("COMFYUI_")}
    try:
        worker = farm.launch("real", **given)
        eventually(lambda: farm.says(worker, lambda it: not it.not_fetching), within_s=RENDER_S)
        job = farm.submit(tiny(steps=30))
        farm.wait_step(job)
        worker.kill()

        again = farm.launch("real", **given)

        eventually(lambda: job.refresh().state is JobState.QUEUED, within_s=RENDER_S)
        assert not again.told("comfy_ready")
        job.wait(2 * RENDER_S)
        assert outcomes(job) == ["lost", "succeeded"]
    finally:
        farm.close()
