"""Names of what an attempt owns: as ComfyUI takes them, and no two attempts share one."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from comfy.rewrites.options import RewriteOptions
from farm.job import JobSpec
from farm.store.base import Claim
from tests.support.jobs import OTHER, TOKEN, a_claim
from worker.jobs.names import prompt_data, prompt_id, run_folder

CLAIM = replace(a_claim({}), job_id="0123456789abcdef", token=TOKEN)


def test_a_prompt_id_is_a_uuid_in_the_one_form_that_every_comfyui_takes() -> None:
    named = prompt_id(CLAIM)

    assert named == str(uuid.UUID(named))
    assert named == prompt_id(CLAIM)  # it can be asked for when the answer to the post was lost


@pytest.mark.parametrize(
    "other",
    [replace(CLAIM, token=OTHER), replace(CLAIM, attempt=2), replace(CLAIM, job_id="another-job-id")],
    ids=["the same number given again", "the next attempt", "another job"],
)
def test_no_two_attempts_share_a_prompt_or_a_folder(other: Claim) -> None:
    assert prompt_id(other) != prompt_id(CLAIM)
    if other.attempt == CLAIM.attempt:
        assert run_folder(other) != run_folder(CLAIM)


def test_a_try_with_more_room_on_the_card_is_a_prompt_of_its_own() -> None:
    assert len({prompt_id(CLAIM, tries=tries) for tries in range(3)}) == 3


def test_a_node_that_reads_the_editors_file_gets_one() -> None:
    workflow = {"nodes": [{"id": 1}], "links": []}
    of_editor = replace(CLAIM, spec=JobSpec(graph={}, workflow=workflow))

    assert prompt_data(of_editor)["extra_pnginfo"] == {"workflow": workflow}
    assert prompt_data(CLAIM)["extra_pnginfo"]["workflow"]["nodes"] == []


def test_an_empty_workflow_is_not_written_into_files_that_keep_their_graph() -> None:
    keeps = replace(CLAIM, spec=JobSpec(graph={}, rewrite_options=RewriteOptions(keep_metadata=True)))

    assert prompt_data(keeps)["extra_pnginfo"] == {}
