"""What a worker says of itself: written, and read whatever version wrote it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from comfy.log.reading import LogReading
from farm.errors import StatusUnreadable
from farm.job import Progress
from farm.status.not_fetching import NotFetching
from farm.status.proof import Proof, ProofVerdict
from farm.status.worker import (
    AttentionTrials,
    CanaryStatus,
    CanaryTraitStatus,
    CustomNodeStatus,
    FindingStatus,
    GpuProcessStatus,
    GpuStatus,
    LoadPlanStatus,
    ModelLoadStatus,
    ModelsStatus,
    NvencStatus,
    QuarantineStatus,
    ResourceStatus,
    WorkerStatus,
    read_status,
    workers_named,
)
from tests.support.tables import for_each

# As workers of the version before wrote it: all in one level, and reasons as free text.
FORMERLY = Path(__file__).parents[3] / "data" / "store" / "worker_status_1.json"

WHOLE = WorkerStatus(
    name="gpu0@rack",
    gpu=GpuStatus(name="NVIDIA L40S", uuid="GPU-1", index=0, vram_total_bytes=48, compute_capability=(8, 9)),
    load_plan=LoadPlanStatus(mode="balanced", flags=("--reserve-vram", "1.5"), reasons=("it fits",)),
    vram_gib=48,
    ram_total_bytes=6,
    comfyui_version="0.33.0",
    torch_version="2.9",
    python_version="3.12",
    attention_backend="sage",
    emulated=True,
    pid=7,
    started_at="2025-11-25T09:00:00+00:00",
    state="ready",
    not_fetching=(NotFetching.DRAINED, NotFetching.QUARANTINE),
    trouble="it sneezes",
    drain="now",
    redis_forgot_at="2025-11-25T10:00:00+00:00",
    quarantine=QuarantineStatus(code="gpu_lost", reason="it fell off the bus", probes=2),
    resources=ResourceStatus(
        ram_available_bytes=5,
        disk_free_bytes={"work": 9},
        gpu_processes=(GpuProcessStatus(pid=1, name="python", used_bytes=2),),
    ),
    nvenc=NvencStatus(usable=True, reason="encoded"),
    canary=CanaryStatus(
        verdict="unproven",
        sentence="its log is strange",
        traits=(CanaryTraitStatus(trait="log", seen="failed", expected="lines", came="other lines"),),
        took_s=0.2,
    ),
    proof=Proof(
        verdict=ProofVerdict.DIFFERS, differences=("its VRAM state is NO_VRAM",), log=LogReading(lines=3)
    ),
    attention_trials=AttentionTrials(proven={"sdpa_flash": 0.002}, refused={"sage": "cosine 0.31"}),
    jobs={"ab" * 16: Progress(phase="sample_low", fraction=0.5, step=3, steps=10)},
    attempts_ended={"succeeded": 12},
    findings={"partial-load": FindingStatus(jobs=3, seconds=42.5)},
    gpu_busy_s=90.5,
    models=ModelsStatus(files=1, bytes=10, list="d"),
    warm_models=("vae/a.safetensors",),
    loads={"WAN21": ModelLoadStatus(state="partial", loaded_mib=9000.0)},
    comfyui_revision="db8b59ec",
    comfyui_flags=("--listen", "--port"),
    custom_nodes={"ComfyUI-GGUF": CustomNodeStatus(version="1.1.0", revision="795e")},
    definitions="d1",
    node_classes=800,
)


def written(**changes: Any) -> str:
    return json.dumps({**json.loads(WHOLE.to_json()), **changes})


def test_what_was_written_is_read_again() -> None:
    unset = [each.name for each in dataclasses.fields(WHOLE) if not getattr(WHOLE, each.name)]
    assert unset == []

    assert WorkerStatus.from_json(WHOLE.to_json()) == WHOLE


@for_each("name", [each.name for each in dataclasses.fields(WorkerStatus)])
def test_a_field_that_is_missing_has_its_default(name: str) -> None:
    told = json.loads(WHOLE.to_json())
    del told[name]

    read = WorkerStatus.from_json(json.dumps(told))

    expected = getattr(WorkerStatus(), name)
    if name != "resources":  # without them it is taken for one of before, which is read all the same
        assert read == dataclasses.replace(WHOLE, **{name: expected})
    assert getattr(read, name) == expected


def test_fields_that_only_a_newer_version_knows_are_left_out_at_every_depth() -> None:
    told = json.loads(WHOLE.to_json())
    for part in (
        told,
        told["gpu"],
        told["load_plan"],
        told["resources"],
        told["proof"],
        told["proof"]["log"],
    ):
        part["mood"] = {"is": ["good"]}

    assert WorkerStatus.from_json(json.dumps(told)) == WHOLE


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"name": 7}, "name"),
        ({"vram_gib": "much"}, "vram_gib"),
        ({"not_fetching": "draining"}, "not_fetching"),
        ({"gpu": "an RTX"}, "gpu"),
        ({"gpu": {"vram_total_bytes": []}}, "gpu.vram_total_bytes"),
        ({"jobs": [1]}, "jobs"),
        ({"resources": {"disk_free_bytes": 3}}, "resources.disk_free_bytes"),
        ({"custom_nodes": {"a": "b"}}, "custom_nodes.a"),
    ],
)
def test_a_value_of_another_kind_is_refused_with_its_field(changes: dict[str, Any], where: str) -> None:
    with pytest.raises(StatusUnreadable, match=f"cannot be read: {where}: "):
        WorkerStatus.from_json(written(**changes))


@pytest.mark.parametrize("text", ["", "no JSON", "[1]", "null", "7", "{", "\x00", '"x"'])
def test_a_worker_whose_status_cannot_be_read_lives_and_says_so(text: str) -> None:
    status = read_status("gpu9@rack", text)

    assert status.name == "gpu9@rack"
    assert status.not_fetching == (NotFetching.UNKNOWN,)
    assert str(status.trouble).startswith("its status cannot be read: ")


def test_what_the_version_before_wrote_is_read_whole() -> None:
    status = WorkerStatus.from_json(FORMERLY.read_bytes())

    assert status.name == "gpu7@rack"
    assert status.gpu == GpuStatus(
        name="NVIDIA L40S", uuid="GPU-7", index=0, vram_total_bytes=48 * 2**30,
        compute_capability=(8, 9), driver="580.1", ecc=True, has_nvenc=True,
    )  # fmt: skip
    assert status.vram_gib == 48
    assert status.ram_total_bytes == 128 * 2**30
    assert status.resources.vram_used_bytes == 13 * 2**30
    assert status.resources.disk_free_bytes == {"work": 9, "models": 8}
    assert status.resources.gpu_processes == (GpuProcessStatus(pid=9, name="python", used_bytes=7),)
    assert status.not_fetching == (NotFetching.COMFYUI_DOWN, NotFetching.DRAINED)
    assert status.proof == Proof(
        verdict=ProofVerdict.DIFFERS, vram_state="NO_VRAM", differences=("its VRAM state is NO_VRAM",)
    )
    assert status.jobs["cd" * 16].steps == 10
    assert status.models == ModelsStatus(files=2, bytes=12, list="d1")
    assert status.loads["WAN21"].offloaded_mib == 4629.0
    assert status.custom_nodes["ComfyUI-GGUF"].version == "1.1.0"


def test_what_was_tried_and_what_comfyui_was_told_are_two_things_also_in_an_older_status() -> None:
    status = WorkerStatus.from_json(FORMERLY.read_bytes())

    assert status.attention_trials == AttentionTrials(
        proven={"sdpa_flash": 0.0021}, refused={"sage": "cosine 0.31"}
    )
    assert status.attention_backend is None


@pytest.mark.parametrize(
    ("proof", "verdict"),
    [
        ({"differences": ["x"], "silent": False}, ProofVerdict.DIFFERS),
        ({"differences": [], "silent": True}, ProofVerdict.UNPROVEN),
        ({"differences": [], "silent": False}, ProofVerdict.PROVEN),
    ],
)
def test_a_proof_of_before_is_proven_only_when_the_log_spoke(
    proof: dict[str, Any], verdict: ProofVerdict
) -> None:
    status = WorkerStatus.from_json(json.dumps({"name": "w", "proof": proof}))

    assert status.proof is not None
    assert status.proof.verdict is verdict


def test_a_name_means_that_very_worker_or_all_before_the_at() -> None:
    workers = [WorkerStatus(name=name) for name in ("gpu0@a", "gpu0@b", "gpu1@a", "gpu0")]

    assert [each.name for each in workers_named(workers, "gpu0@b")] == ["gpu0@b"]
    assert [each.name for each in workers_named(workers, "gpu0")] == ["gpu0"]
    assert [each.name for each in workers_named(workers[:3], "gpu0")] == ["gpu0@a", "gpu0@b"]
