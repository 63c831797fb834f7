"""The same worker over a real ComfyUI, where COMFYUI_DIR names one.

COMFYUI_PYTHON, COMFYUI_BASE and COMFYUI_ARGS are those of a worker.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from comfy.wan.templates import get_template
from farm.errors import JobFailed
from farm.job import JobState
from farm.status.proof import ProofVerdict
from tests.e2e.test_first_light import assert_plays, fetch
from tests.support.environment import real_comfyui_named
from tests.support.s3 import S3Server
from tests.support.valkey import eventually
from tests.support.whole_farm import WholeFarm, WorkerProcess, error_of, outcomes

RENDER_S = 150.0  # on a CPU, from a cold page cache

pytestmark = [
    pytest.mark.skipif(not os.environ.get("COMFYUI_DIR"), reason="COMFYUI_DIR names no ComfyUI"),
    pytest.mark.timeout(400),
]


@pytest.fixture(scope="module")
def real_farm(lasting_farm: WholeFarm) -> WholeFarm:
    """A farm whose worker owns the ComfyUI that the environment names."""
    worker = lasting_farm.launch("real", **real_comfyui_named())
    eventually(
        lambda: bool(worker.entries("comfy_ready")) or worker.child.poll() is not None, within_s=RENDER_S
    )
    lasting_farm.wait_ready(worker)
    return lasting_farm


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


def in_av1() -> dict[str, Any]:
    """A picture or two, saved by the encoder that gives itself real-time priority where it may."""
    image = {"width": 64, "height": 64, "batch_size": 2, "color": 0}
    saving = {"images": ["1", 0], "filename_prefix": "av1/clip", "codec": "av1", "fps": 8.0, "crf": 32.0}
    return {
        "1": {"class_type": "EmptyImage", "inputs": image},
        "2": {"class_type": "SaveWEBM", "inputs": saving},
    }


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


def test_a_clip_in_av1_leaves_comfyui_without_real_time_priority(
    real_farm: WholeFarm, real_worker: WorkerProcess
) -> None:
    real_farm.submit(in_av1()).wait(RENDER_S)

    comfy = real_worker.comfy()
    policies = {os.sched_getscheduler(thread.id) for thread in comfy.threads()}
    assert policies == {os.SCHED_OTHER}


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


SAVERS: dict[str, tuple[dict[str, Any], str]] = {
    "webm": (
        {"class_type": "SaveWEBM", "inputs": {"codec": "vp9", "fps": 8.0, "crf": 32.0}},
        "video/webm",
    ),
    "webp": (
        {
            "class_type": "SaveAnimatedWEBP",
            "inputs": {"fps": 8.0, "lossless": False, "quality": 80, "method": "default"},
        },
        "image/webp",
    ),
    "pictures": ({"class_type": "SaveImage", "inputs": {}}, "image/png"),
}


@pytest.mark.parametrize("kind", SAVERS)
def test_each_saver_gives_what_was_asked_for(
    real_farm: WholeFarm, real_worker: WorkerProcess, kind: str
) -> None:
    node, media_type = SAVERS[kind]
    graph = {node_id: each for node_id, each in tiny().items() if node_id not in ("60", "61")}
    inputs = {**node["inputs"], "images": ["8", 0], "filename_prefix": f"{kind}/clip"}
    graph["90"] = {**node, "inputs": inputs}

    artifacts = real_farm.submit(graph).wait(RENDER_S).result().facts.artifacts

    assert {each.media_type for each in artifacts} == {media_type}
    assert len(artifacts) == (5 if kind == "pictures" else 1)


def test_quantised_experts_of_gguf_files_render(real_farm: WholeFarm, real_worker: WorkerProcess) -> None:
    if not real_worker.ask("/object_info/UnetLoaderGGUF"):
        pytest.skip("this ComfyUI has no node that loads GGUF files")
    graph = tiny()
    for node_id in ("37", "56"):
        name = graph[node_id]["inputs"]["unet_name"].replace("fp8_scaled.safetensors", "Q8_0.gguf")
        graph[node_id] = {"class_type": "UnetLoaderGGUF", "inputs": {"unet_name": name}}

    result = real_farm.submit(graph).wait(RENDER_S).result()

    assert result.main.video is not None
    assert result.main.video.frames == 5


def test_a_picture_becomes_a_clip(real_farm: WholeFarm, real_worker: WorkerProcess, tmp_path: Path) -> None:
    picture = tmp_path / "fox.png"
    Image.new("RGB", (64, 64), "orange").save(picture)

    job = real_farm.farm.submit(
        template="wan22-i2v-a14b",
        parameters={
            "image": str(picture),
            "prompt": "it looks up",
            "width": 64,
            "height": 64,
            "frames": 5,
            "steps": 2,
        },
    )

    assert job.wait(RENDER_S).result().main.video is not None


def test_a_job_that_asks_for_more_memory_than_there_is_fails_as_out_of_memory(
    real_farm: WholeFarm, real_worker: WorkerProcess
) -> None:
    graph = {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 16384, "height": 16384, "batch_size": 4096, "color": 0},
        },
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "never"}},
    }

    job = real_farm.submit(graph, max_attempts=1)

    with pytest.raises(JobFailed):
        job.wait(RENDER_S)

    error = job.refresh().record.error
    assert error is not None
    assert (error.code, error.node_id) == ("out_of_memory", "1")
    real_farm.submit(tiny()).wait(RENDER_S)


def test_a_frozen_comfyui_is_noticed_and_its_job_ends_all_the_same(
    real_farm: WholeFarm, real_worker: WorkerProcess
) -> None:
    job = real_farm.submit(tiny(steps=60, frames=17))
    real_farm.wait_step(job)
    frozen = real_worker.comfy()

    frozen.suspend()

    try:
        job.wait(2 * RENDER_S)
    finally:
        with contextlib.suppress(psutil.Error):
            frozen.resume()
    assert outcomes(job)[-1] == "succeeded"


def test_a_killed_lone_workers_job_waits_again_before_the_next_comfyui_is_up(
    tmp_path: Path, valkey_url: str, s3_server: S3Server
) -> None:
    farm = WholeFarm(tmp_path, valkey_url, s3_server.settings(prefix="killed"))
    given = real_comfyui_named()
    try:
        worker = farm.launch("real", **given)
        eventually(lambda: farm.says(worker, lambda it: not it.not_fetching), within_s=RENDER_S)
        job = farm.submit(tiny(steps=30))
        farm.wait_step(job)
        worker.kill()

        again = farm.launch("real", **given)

        eventually(lambda: job.refresh().state is JobState.QUEUED, within_s=RENDER_S)
        assert not again.entries("comfy_ready")
        job.wait(2 * RENDER_S)
        assert outcomes(job) == ["lost", "succeeded"]
    finally:
        farm.close()


def pictures(class_type: str, **inputs: Any) -> dict[str, Any]:
    """A picture without a model, and a node that does something with it."""
    size = {"width": 64, "height": 64, "batch_size": 1, "color": 255}
    return {
        "1": {"class_type": "EmptyImage", "inputs": size},
        "9": {"class_type": class_type, "inputs": {"images": ["1", 0], **inputs}},
    }


def test_text_alone_is_a_result(real_farm: WholeFarm, real_worker: WorkerProcess) -> None:
    graph = {
        "1": {"class_type": "PrimitiveString", "inputs": {"value": "a red fox, лиса, 狐"}},
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
    }

    result = real_farm.submit(graph).wait(RENDER_S).result()

    assert [each.text for each in result.facts.texts] == ["a red fox, лиса, 狐"]
    assert real_farm.farm.storage.read_bytes(result.main.key).decode() == "a red fox, лиса, 狐"


def test_a_job_that_only_previews_is_told_what_to_do(
    real_farm: WholeFarm, real_worker: WorkerProcess
) -> None:
    job = real_farm.wait_final(real_farm.submit(pictures("PreviewImage")))

    assert "saved nothing but previews" in error_of(job).message


@pytest.mark.parametrize("name", ["лисиця", "狐が走る"])
def test_a_name_in_any_script_is_the_artifacts_name(
    real_farm: WholeFarm, real_worker: WorkerProcess, name: str
) -> None:
    job = real_farm.submit(pictures("SaveImage", filename_prefix=f"x/{name}")).wait(RENDER_S)

    assert [each.filename for each in job.result().facts.artifacts] == [f"{name}_00001_.png"]
