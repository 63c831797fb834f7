"""What a finished job adds to what the farm knows of its kind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from comfy.protocol.phases import phase_of
from comfy.protocol.progress import NodeTiming
from comfy.wan.paces import PaceKey, read_key
from comfy.wan.templates import get_template
from farm.status.worker import GpuStatus, LoadPlanStatus, WorkerFacts
from worker.jobs.job_seconds import job_seconds

WORKER = WorkerFacts(
    name="gpu0@here",
    gpu=GpuStatus(name="NVIDIA GeForce RTX 4090", vram_total_bytes=24 << 30),
    load_plan=LoadPlanStatus(mode="balanced"),
    comfyui_version="0.12.1",
)


def a_graph(**parameters: Any) -> dict[str, Any]:
    return get_template("wan22-t2v-a14b").build(**{"prompt": "x", "seed": 1, **parameters}).graph


def ran(graph: dict[str, Any], seconds: dict[str, float], paces: dict[str, float]) -> list[NodeTiming]:
    return [
        NodeTiming(
            node_id=node_id,
            class_type=graph[node_id]["class_type"],
            phase=phase_of(graph, node_id),
            started_s=0.0,
            ended_s=spent,
            seconds_per_step=paces.get(node_id),
        )
        for node_id, spent in seconds.items()
    ]


def told(found: dict[str, float]) -> dict[str, float]:
    keys = {name: read_key(name) for name in found}
    assert all(isinstance(key, PaceKey) for key in keys.values())
    return {key.what: found[name] for name, key in keys.items() if key is not None}


def test_a_cold_job_tells_its_steps_and_every_phase() -> None:
    graph = a_graph()
    seconds = {"37": 9.0, "56": 8.0, "6": 2.0, "7": 1.0, "57": 128.0, "58": 123.0, "8": 20.0, "61": 2.0}
    nodes = ran(graph, seconds, {"57": 12.0, "58": 12.2})

    found = told(job_seconds(graph, nodes, WORKER))

    assert found["step"] == pytest.approx(12.1)
    assert found["load"] == pytest.approx(9 + 8 + (128 - 120) + (123 - 122))
    assert (found["text"], found["vae"], found["save"]) == (3.0, 20.0, 2.0)
    assert "swap" not in found


def test_a_warm_job_tells_a_swap_and_nothing_of_what_was_cached() -> None:
    graph = a_graph()
    nodes = ran(graph, {"57": 121.0, "58": 121.5, "8": 20.0}, {"57": 12.0, "58": 12.0})

    found = told(job_seconds(graph, nodes, WORKER))

    assert found["swap"] == pytest.approx(2.5)
    assert set(found) == {"step", "swap", "vae"}


def test_the_kind_names_all_that_the_seconds_depend_on() -> None:
    graph = a_graph(preset="fast", width=640, height=640)
    (name,) = job_seconds(graph, ran(graph, {"57": 0.0}, {"57": 12.0}), WORKER)

    assert read_key(name) == PaceKey(
        what="step",
        gpu="NVIDIA GeForce RTX 4090",
        family="14B",
        precision="fp8",
        size="640x640x81",
        passes=1,
        mode="balanced",
        attention="default",
        loras=1,
        comfyui="0.12.1",
    )


def test_an_emulated_worker_is_another_kind() -> None:
    graph = a_graph()
    nodes = ran(graph, {"57": 1.0}, {"57": 0.1})

    (name,) = (n for n in job_seconds(graph, nodes, replace(WORKER, emulated=True)) if n.startswith("step"))

    key = read_key(name)
    assert key is not None
    assert key.gpu == "emulated"


def test_a_graph_that_we_do_not_know_tells_nothing() -> None:
    graph = {"1": {"class_type": "SaveImage", "inputs": {}}}

    assert job_seconds(graph, [], WORKER) == {}
