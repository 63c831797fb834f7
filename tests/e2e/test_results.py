"""What comes of jobs that end in another way than with a clip."""

from __future__ import annotations

import time
from typing import Any

import pytest

from farm.errors import InvalidJob
from farm.job import ErrorKind, EventKind, JobState
from tests.support.whole_farm import JOB_S, WholeFarm, WorkerProcess, a_clip, error_of, outcomes


def pictures(saver: dict[str, Any]) -> dict[str, Any]:
    """A picture without a model, and a node that does something with it."""
    size = {"width": 64, "height": 64, "batch_size": 2, "color": time.monotonic_ns() % 0xFFFFFF}
    return {"1": {"class_type": "EmptyImage", "inputs": size}, "9": saver}


def test_the_text_that_a_job_ends_with_is_its_result(farm: WholeFarm) -> None:
    graph = {
        "1": {"class_type": "PrimitiveString", "inputs": {"value": "a red fox, лиса, 狐"}},
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
    }

    result = farm.submit(graph).wait(JOB_S).result()

    assert [(each.node_id, each.text) for each in result.facts.texts] == [("2", "a red fox, лиса, 狐")]
    assert result.main.media_type == "text/plain; charset=utf-8"
    assert farm.farm.storage.read_bytes(result.main.key).decode() == "a red fox, лиса, 狐"


def test_a_job_that_only_previews_fails_and_is_told_what_to_do(farm: WholeFarm) -> None:
    graph = pictures({"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}})

    job = farm.wait_final(farm.submit(graph))

    error = error_of(job)
    assert (error.kind, error.code) == (ErrorKind.JOB, "no_output")
    assert "saved nothing but previews" in error.message
    assert "SaveVideo" in error.message


def test_why_a_node_was_blocked_reaches_the_user(farm: WholeFarm, worker: WorkerProcess) -> None:
    worker.misbehave("block", node="VAEDecode", message="no face was found")

    job = farm.wait_final(farm.submit())

    error = error_of(job)
    assert (error.kind, error.code) == (ErrorKind.JOB, "blocked")
    assert "no face was found" in error.message
    assert outcomes(job) == ["failed"]


def test_a_branch_that_was_blocked_is_told_though_another_one_made_its_file(
    farm: WholeFarm, worker: WorkerProcess
) -> None:
    worker.misbehave("block", node="ImageScaleBy", message="no face was found")
    saver = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "whole"}}
    scaled = {
        "class_type": "ImageScaleBy",
        "inputs": {"image": ["1", 0], "upscale_method": "bilinear", "scale_by": 0.5},
    }
    other = {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "face"}}

    job = farm.submit({**pictures(saver), "2": scaled, "3": other}).wait(JOB_S)

    findings = [each.data for each in job.events(live=False) if each.kind is EventKind.FINDING]
    assert any("no face was found" in str(each.get("message")) for each in findings)
    assert len(job.result().facts.artifacts) == 2


@pytest.mark.parametrize("name", ["лисиця", "狐が走る", "zorro ñandú"])
def test_the_name_that_a_user_gave_is_the_artifacts_name(farm: WholeFarm, name: str) -> None:
    saver = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": f"x/{name}"}}

    job = farm.submit(pictures(saver)).wait(JOB_S)

    assert [each.filename for each in job.result().facts.artifacts] == [
        f"{name}_00001_.png",
        f"{name}_00002_.png",
    ]


def test_a_name_that_no_file_can_have_is_refused_before_anything_is_rendered(farm: WholeFarm) -> None:
    saver = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "狐" * 85}}

    with pytest.raises(InvalidJob, match="255 bytes long"):
        farm.submit(pictures(saver))


def test_the_time_limit_of_an_attempt_is_kept(farm: WholeFarm) -> None:
    job = farm.wait_final(farm.submit(a_clip(steps=100), time_limit_s=2.0))

    assert (job.state, error_of(job).kind) == (JobState.FAILED, ErrorKind.TIME_LIMIT)
    assert outcomes(job) == ["failed"]
    farm.submit().wait(JOB_S)


def test_a_run_that_ends_well_after_its_time_is_not_taken(farm: WholeFarm, worker: WorkerProcess) -> None:
    # In its last node the server heeds no interrupt until the prompt has ended well.
    worker.misbehave("delay", at="node", node="SaveVideo", seconds=4.0)

    job = farm.wait_final(farm.submit(a_clip(steps=2), time_limit_s=2.0))

    assert (job.state, error_of(job).kind) == (JobState.FAILED, ErrorKind.TIME_LIMIT)
    assert farm.stored(job) == []
