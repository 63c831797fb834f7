"""What a job leaves behind on its worker: its own words in its events, and no previews."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from farm.handle import Job
from farm.job import EventKind
from tests.support.valkey import eventually
from tests.support.whole_farm import JOB_S, WholeFarm, WorkerProcess, a_clip

Farms = Callable[..., WholeFarm]


def printed_for(job: Job) -> list[str]:
    return [str(event.data["line"]) for event in job.events(live=False) if event.kind is EventKind.LOG]


def with_preview(graph: dict[str, Any], *, only: bool = False) -> dict[str, Any]:
    """The graph with a preview of the frames; with `only`, nothing else comes out of it."""
    kept = {
        node_id: node
        for node_id, node in graph.items()
        if not only or node["class_type"] not in ("SaveVideo", "CreateVideo")
    }
    decode = next(node_id for node_id, node in graph.items() if node["class_type"] == "VAEDecode")
    return {**kept, "900": {"class_type": "PreviewImage", "inputs": {"images": [decode, 0]}}}


def test_a_job_that_fails_while_the_next_one_renders_is_told_its_own_lines_only(
    farm: WholeFarm, worker: WorkerProcess
) -> None:
    farm.submit(a_clip(steps=2)).wait(JOB_S)
    worker.misbehave("spoil_output", how="truncate")

    # The first is found to be spoilt when it is published, with the others on the card.
    jobs = [farm.submit(a_clip(steps=3)) for _ in range(4)]
    for job in jobs:
        job.wait(JOB_S)

    failed = next(job for job in jobs if job.record.attempts_failed)
    lines = printed_for(failed)
    assert [line for line in lines if "got prompt" in line] == [lines[0]]
    assert sum("Prompt executed in" in line for line in lines) == 1


def test_previews_are_gone_when_the_job_is(farm: WholeFarm, worker: WorkerProcess) -> None:
    temp = worker.folder / "temp"

    farm.submit(with_preview(a_clip())).wait(JOB_S)
    only = farm.wait_final(farm.submit(with_preview(a_clip(seed=3), only=True)))

    assert any(entry["event"] == "posted" for entry in worker.record(only.job_id))
    eventually(lambda: not list(temp.iterdir()))


def test_a_worker_whose_folder_is_a_symbolic_link_gives_comfyui_the_real_one(
    new_farm: Farms, tmp_path: Path
) -> None:
    farm, disk = new_farm(), tmp_path / "disk"
    disk.mkdir()
    farm.folder.mkdir(parents=True, exist_ok=True)
    (farm.folder / "a").symlink_to(disk, target_is_directory=True)
    worker = farm.start_worker("a")

    job = farm.submit(a_clip()).wait(JOB_S)

    words = worker.comfy().cmdline()
    assert words[words.index("--output-directory") + 1] == str(disk / "output")
    assert words[words.index("--input-directory") + 1] == str(disk / "input")
    assert job.result().main.size_bytes > 0
