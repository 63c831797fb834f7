"""Structures of public graphs through all that the farm does with one: inspect, lint, plan, optimize, run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from comfy.graphs.required import input_files, is_model_file, model_files
from comfy.lint import Severity, lint
from comfy.rewrites.change import ChangeKind
from comfy.rewrites.optimize import RewriteStatus, optimize
from comfy.rewrites.options import RewriteOptions
from farm.asking.inspection import inspect_graph
from farm.asking.request import JobRequest
from farm.fleet.sites import live_sites
from farm.job import JobState
from tests.support.clips import make_clip, make_picture
from tests.support.model_inputs import model_inputs
from tests.support.sites import graphs_of_people
from tests.support.whole_farm import JOB_S, WholeFarm

GRAPHS = graphs_of_people()
# Small enough that nobody waits for the drawing of the clips; the policy itself makes them so.
SMALL = RewriteOptions(max_width=64, max_height=64, max_frames=5, interpolation=1)


@pytest.fixture(scope="module")
def farm(lasting_farm: WholeFarm) -> WholeFarm:
    """A farm whose emulator has every model file that the graphs name."""
    files = {file for graph in GRAPHS.values() for file in files_of(graph)}
    lasting_farm.start_worker("a", emulator=f"--step-seconds 0.01 --models {' '.join(sorted(files))}")
    return lasting_farm


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_is_inspected_linted_planned_optimized_and_run(
    farm: WholeFarm, name: str, tmp_path: Path
) -> None:
    graph = GRAPHS[name]
    (site,) = live_sites(farm.farm.store, graph)
    inputs = inputs_for(graph, tmp_path)

    inspected = inspect_graph(graph)
    diagnostics = lint(graph, site)
    plan = farm.farm.plan(JobRequest(graph=graph, inputs=inputs))
    better = optimize(graph, site, accept=ChangeKind.DIFFERENT, options=SMALL)
    job = farm.farm.submit(
        graph,
        inputs=inputs,
        accept="different",
        max_width=SMALL.max_width or 0,
        max_height=SMALL.max_height or 0,
        max_frames=SMALL.max_frames or 0,
        interpolation=SMALL.interpolation or 0,
    )
    ended = job.wait(JOB_S)

    assert inspected.running > 0
    assert not any(diagnostic.severity is Severity.ERROR for diagnostic in diagnostics)
    assert plan.cards
    assert not any(outcome.status is RewriteStatus.FAILED for outcome in better.outcomes)
    assert ended.record.state is JobState.SUCCEEDED
    manifest = json.loads(farm.farm.storage.read_bytes(ended.result().facts.manifest_key))
    assert manifest["accept"] == "different"
    # What the command shows beforehand is what the worker did.
    assert {each["rewrite"] for each in manifest["rewrites"] if each["status"] == "applied"} == {
        outcome.rewrite for outcome in better.outcomes if outcome.status is RewriteStatus.APPLIED
    }
    assert manifest["rewrite_options"]["max_width"] == SMALL.max_width


def files_of(graph: dict[str, Any]) -> Iterator[str]:
    """Folder and name of every model file that the graph names, those of side models included."""
    yield from (f"{file.folder}/{file.name}" for file in model_files(graph))
    folders = model_inputs()
    for node in graph.values():
        for name, value in node["inputs"].items():
            for folder in folders.get((node["class_type"], name), ()):
                if is_model_file(value):
                    yield f"{folder}/{value}"


def inputs_for(graph: dict[str, Any], folder: Path) -> dict[str, str]:
    """A small picture or sound for every file that the graph reads."""
    found = {}
    for file in input_files(graph):
        sounds = file.input_name.startswith("audio")
        path = folder / (f"{file.node_id}.mp4" if sounds else f"{file.node_id}.png")
        if sounds:
            make_clip(path, sound=True)
        else:
            make_picture(path)
        found[f"{file.node_id}.{file.input_name}"] = str(path)
    return found
