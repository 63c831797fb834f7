"""Editor's files on a farm with a live worker: what its ComfyUI would execute has the values of the file.

A worker tells its nodes as a real one does; each graph is drawn as the editor would save it, read by what the
worker told, and judged as its ComfyUI judges: the graph that comes out is the one that is executed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from comfy.generations import NEWEST
from comfy.judging.validation import validate
from comfy.node_defs.definitions import Definitions, definitions_to_json, shipped_definitions
from comfy.node_defs.dynamic_inputs import inputs_for
from comfy.wan.templates import TEMPLATES
from farm.asking.prepare import build
from farm.asking.request import JobRequest
from farm.client import Farm
from farm.fleet.preflight import definitions_name
from farm.status.worker import WorkerStatus
from farm.testing import FolderStorage, MemoryJobStore
from tests.support.corpus import official_shapes
from tests.support.official_workflows import wan_workflows
from tests.tools.pages import Page
from worker.service.shared import Shared

_GRAPHS = Path(__file__).parents[3] / "data" / "graphs"
_PRESETS = [(template.name, preset) for template in TEMPLATES.values() for preset in template.presets]


@cache
def definitions() -> Definitions:
    """What the worker's ComfyUI says of its nodes. It has no model files: only the values are of interest."""
    return shipped_definitions(files={})


@cache
def fixtures() -> dict[str, dict[str, Any]]:
    return {
        path.stem: json.loads(path.read_bytes())
        for path in sorted(_GRAPHS.glob("*.json"))
        if not path.name.endswith(".ui.json")
    }


@cache
def preset(template: str, name: str) -> dict[str, Any]:
    return TEMPLATES[template].example(preset=name)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Farm:
    """A farm with one live worker, which has told its nodes."""
    store = MemoryJobStore()
    told = Shared(store, definitions_name)
    told.put(definitions_to_json(definitions()))
    status = {
        "name": "gpu0@rack",
        "definitions": told.digest,
        "comfyui_version": NEWEST.version,
        "vram_gib": 141,
    }
    store.put_worker(WorkerStatus.from_json(json.dumps(status)), ttl_s=600)
    return Farm(store=store, storage=FolderStorage(tmp_path_factory.mktemp("s3")))


def executed(graph: Mapping[str, Any]) -> dict[str, Any]:
    """Classes and inputs as ComfyUI runs them, defaults that only the editor writes out left in."""
    run = validate(graph, definitions()).graph
    return {node_id: (node["class_type"], node["inputs"]) for node_id, node in run.items()}


def check(live: Farm, graph: dict[str, Any], *, newer: bool) -> None:
    content = json.dumps(Page(definitions(), newer=newer).draw(graph).saved()).encode()

    ran = executed(build(JobRequest(graph=content), live.node_definitions).graph)

    wanted = executed(graph)
    assert ran.keys() == wanted.keys()
    for node_id, (class_type, inputs) in wanted.items():
        told_class, told = ran[node_id]
        # The editor sends every widget that it knows; what the graph did not name has its default.
        known = {each.name for each in inputs_for(definitions()[class_type], inputs)} & inputs.keys()
        assert told_class == class_type
        assert {name: told.get(name) for name in known} == {name: inputs[name] for name in known}, node_id


@pytest.mark.parametrize("newer", [False, True], ids=["older", "newer"])
@pytest.mark.parametrize(("template", "name"), _PRESETS)
def test_a_preset_saved_by_the_editor_runs_with_its_own_values(
    live: Farm, template: str, name: str, newer: bool
) -> None:
    check(live, preset(template, name), newer=newer)


@pytest.mark.parametrize("newer", [False, True], ids=["older", "newer"])
@pytest.mark.parametrize("name", fixtures())
def test_a_graph_of_people_saved_by_the_editor_runs_with_its_own_values(
    live: Farm, name: str, newer: bool
) -> None:
    check(live, fixtures()[name], newer=newer)


@pytest.mark.parametrize("name", official_shapes())
def test_an_official_workflow_is_read_alike_with_and_without_a_worker(live: Farm, name: str) -> None:
    request = JobRequest(graph=json.dumps(wan_workflows()[name]).encode())

    assert build(request, live.node_definitions).graph == build(request).graph
