"""A clip that another attention has spoilt is rendered once more with PyTorch's, and everybody is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from comfy.doctor.clip import Expected, faults_of, read_thresholds
from comfy.doctor.report import Finding, Phase
from farm.job import EventKind, JobRecord, JobState
from farm.reports import report_in
from farm.store.base import StoreLimits
from farm.testing import MemoryJobStore
from tests.support.emulator_thread import EmulatorThread
from tests.support.jobs import a_job
from tests.support.whole_farm import a_clip
from tests.support.worker_here import WorkerHere
from worker.jobs import tries
from worker.plan.fallback import FallbackStep
from worker.results.media import decode, inspect

ALWAYS_BLACK = ("--faults", json.dumps([{"kind": "spoil_frames", "times": None}]))
ALWAYS_NOISE = ("--faults", json.dumps([{"kind": "spoil_frames", "how": "noise", "times": None}]))
SAGE = "--use-sage-attention"


def worker_on(folder: Path, *arguments: str) -> WorkerHere:
    server = EmulatorThread(folder / "comfyui", *arguments)
    return WorkerHere(server, MemoryJobStore(StoreLimits(lease_s=30.0)), folder)


@pytest.fixture
def black(tmp_path: Path) -> Iterator[WorkerHere]:
    """ComfyUI was told to use SageAttention, and here its clips are black with it."""
    made = worker_on(tmp_path, SAGE, *ALWAYS_BLACK)
    made.hooks.attention = "sage"
    made.comfy.arguments = ALWAYS_BLACK
    yield made
    made.close()


def with_sage_node() -> dict[str, Any]:
    """A clip's graph, a node of KJNodes before each sampler."""
    graph = a_clip(width=320, height=192)  # in a smaller picture chance may give noise some structure
    samplers = [n for n, node in graph.items() if node["class_type"] == "KSamplerAdvanced"]
    for number, sampler in enumerate(samplers):
        inputs = graph[sampler]["inputs"]
        patch = {"model": inputs["model"], "sage_attention": "auto", "allow_compile": False}
        graph[f"9{number}"] = {"class_type": "PathchSageAttentionKJ", "inputs": patch}
        inputs["model"] = [f"9{number}", 0]
    return graph


def rendered(worker: WorkerHere, graph: dict[str, Any] | None = None, **fields: Any) -> JobRecord:
    (job,) = worker.store.submit([a_job(graph=graph or a_clip(), **fields)])
    assert worker.work_on(job.job_id) == "succeeded"
    return worker.store.get(job.job_id)


def manifest_of(worker: WorkerHere, record: JobRecord) -> dict[str, Any]:
    assert record.result is not None
    found: dict[str, Any] = json.loads(worker.storage.read_bytes(record.result.manifest_key))
    return found


def findings(record: JobRecord) -> dict[str, Finding]:
    report = report_in(record)
    assert report is not None
    return {finding.id: finding for finding in report.findings}


def told(worker: WorkerHere, record: JobRecord) -> list[str]:
    events = worker.store.events(record.job_id)
    return [event.data["code"] for event in events if event.kind is EventKind.FINDING]


def runs(worker: WorkerHere) -> int:
    return len(worker.comfy.server.ask("/history"))


def test_a_black_clip_is_rendered_once_more_by_a_comfyui_with_pytorchs_attention(black: WorkerHere) -> None:
    record = rendered(black)

    assert black.comfy.fallbacks == [FallbackStep.SDPA]
    again = manifest_of(black, record)["rendered_again"]
    assert (again["because"], again["attention"], again["helped"]) == ("video-black", "sage", True)
    assert "video-black" not in findings(record)
    assert told(black, record) == ["video-black", "rendered-again"]


def test_of_two_renders_the_second_ones_clip_alone_is_published(tmp_path: Path, black: WorkerHere) -> None:
    record = rendered(black)

    assert record.result is not None
    (artifact,) = record.result.artifacts
    (clip,) = (tmp_path / "s3").rglob("*.mp4")
    decoded = decode(clip, inspect(clip))
    assert decoded is not None
    assert faults_of(decoded.look, Expected()) == ()
    assert black.storage.read_bytes(artifact.key) == clip.read_bytes()


def test_what_the_first_render_took_is_told_as_seconds_lost(black: WorkerHere) -> None:
    record = rendered(black)

    report, finding = report_in(record), findings(record)["rendered-again"]
    assert report is not None
    assert record.result is not None
    assert finding.cost is not None
    seconds = {phase.phase: phase.seconds for phase in report.prompts[-1].phases}
    assert finding.cost.measured
    assert seconds[Phase.DISCARDED] == pytest.approx(finding.cost.seconds, abs=0.01)
    assert sum(seconds.values()) == pytest.approx(report.prompts[-1].wall_s, abs=0.01)
    # The render that counts is told as if there had been no other.
    assert record.result.timings_s["comfy"] < record.result.timings_s["attempt"] - finding.cost.seconds


@pytest.mark.parametrize(("faults", "fault"), [(ALWAYS_BLACK, "video-black"), (ALWAYS_NOISE, "video-noise")])
def test_nodes_that_choose_another_attention_are_set_to_pytorchs(
    tmp_path: Path, faults: tuple[str, ...], fault: str
) -> None:
    worker = worker_on(tmp_path, *faults)

    record = rendered(worker, with_sage_node())

    manifest = manifest_of(worker, record)
    worker.close()
    assert (manifest["rendered_again"]["because"], manifest["rendered_again"]["attention"]) == (fault, "auto")
    assert manifest["rendered_again"]["helped"]
    assert {manifest["graph"][node]["inputs"]["sage_attention"] for node in ("90", "91")} == {"disabled"}
    assert [change["rewrite"] for change in manifest["changes"]].count("attention") == 2
    assert worker.comfy.fallbacks == []


@pytest.mark.parametrize("faults", [ALWAYS_BLACK, ALWAYS_NOISE])
def test_a_clip_that_is_written_picture_by_picture_is_rendered_once_more_too(
    tmp_path: Path, faults: tuple[str, ...]
) -> None:
    worker, graph = worker_on(tmp_path, *faults), with_sage_node()
    (decoder,) = (n for n, node in graph.items() if node["class_type"] == "VAEDecode")
    for node in [n for n, node in graph.items() if node["class_type"] in ("CreateVideo", "SaveVideo")]:
        del graph[node]
    graph["99"] = {"class_type": "SaveImage", "inputs": {"images": [decoder, 0], "filename_prefix": "frame"}}

    record = rendered(worker, graph)

    manifest = manifest_of(worker, record)
    worker.close()
    assert record.result is not None
    assert len(record.result.artifacts) > 1
    assert manifest["rendered_again"]["helped"]
    assert not any(name.startswith("video-") for name in findings(record))


def test_a_clip_that_is_no_better_is_stored_after_one_more_render_and_stays_a_finding(
    tmp_path: Path, black: WorkerHere
) -> None:
    # Nothing helps here: ComfyUI keeps its attention.
    black.comfy.arguments = (SAGE, *ALWAYS_BLACK)

    record = rendered(black)

    assert record.state is JobState.SUCCEEDED
    assert black.comfy.fallbacks == [FallbackStep.SDPA]
    assert runs(black) == 1  # of the process that was started anew
    assert manifest_of(black, record)["rendered_again"]["helped"] is False
    assert {"video-black", "rendered-again"} <= set(findings(record))


def test_a_good_clip_is_rendered_once_whatever_attention_computes(tmp_path: Path) -> None:
    worker = worker_on(tmp_path, SAGE)
    worker.hooks.attention = "sage"
    worker.comfy.arguments = ()

    record = rendered(worker)

    manifest = manifest_of(worker, record)
    worker.close()
    assert (manifest["rendered_again"], worker.comfy.fallbacks, told(worker, record)) == (None, [], [])


def test_a_black_clip_of_pytorchs_attention_is_a_finding_and_is_not_rendered_again(tmp_path: Path) -> None:
    worker = worker_on(tmp_path, SAGE, *ALWAYS_BLACK)
    worker.hooks.attention = "pytorch-cross"  # as far as anybody here knows

    record = rendered(worker)

    manifest = manifest_of(worker, record)
    worker.close()
    assert manifest["rendered_again"] is None
    assert "video-black" in findings(record)


def test_a_comfyui_whose_attention_is_not_ours_to_choose_renders_it_once(black: WorkerHere) -> None:
    black.comfy.arguments = None

    record = rendered(black)

    assert (runs(black), manifest_of(black, record)["rendered_again"]) == (1, None)
    assert "video-black" in findings(record)


def test_what_is_black_is_what_the_operator_says(black: WorkerHere) -> None:
    # No part of the frames is enough.
    black.context = replace(black.context, clip_limits=read_thresholds("most=1.1, still_frames=1000"))

    record = rendered(black)

    assert manifest_of(black, record)["rendered_again"] is None
    assert not any(name.startswith("video-") for name in findings(record))


def test_without_time_for_another_render_the_first_one_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tries, "_ROOM_FOR_ANOTHER", 1e9)
    worker = worker_on(tmp_path, *ALWAYS_BLACK)

    record = rendered(worker, with_sage_node())

    manifest = manifest_of(worker, record)
    worker.close()
    assert (record.state, manifest["rendered_again"]) == (JobState.SUCCEEDED, None)
