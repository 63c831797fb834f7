"""The same graph in both of ComfyUI's formats is the same graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from comfy.judging.validation import validate
from comfy.node_defs.definitions import shipped_definitions
from comfy.node_defs.later_inputs import with_later_inputs
from comfy.ui.load import load_any

_FOLDER: Final = Path(__file__).parents[3] / "data" / "graphs"
_ALL: Final = sorted(_FOLDER.glob("*.json"))


def graph_of(name: str) -> dict[str, Any]:
    return load_any((_FOLDER / name).read_bytes(), shipped_definitions).graph


@pytest.mark.parametrize("path", _ALL, ids=lambda path: path.stem)
def test_every_graph_converts_and_validates(path: Path) -> None:
    known = shipped_definitions()

    verdict = validate(with_later_inputs(graph_of(path.name), known), known)

    assert [str(problem) for problem in verdict.problems] == []


@pytest.mark.parametrize("name", ["core_flf2v_lightning", "wrapper_i2v_a14b_context_windows"])
def test_the_editors_file_is_the_graph_that_it_would_export(name: str) -> None:
    exported = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))

    converted = graph_of(f"{name}.ui.json")

    assert set(converted) == set(exported)
    for node_id, node in exported.items():
        # The editor writes every widget of a node, what was left out by hand too, and none it does not have.
        definition = shipped_definitions()[node["class_type"]]
        known = {name: value for name, value in node["inputs"].items() if definition.input(name)}
        inputs = converted[node_id]["inputs"]
        assert {name: inputs.get(name) for name in known} == known, node_id


def test_a_subgraph_runs_what_stood_in_it() -> None:
    exported = json.loads((_FOLDER / "core_t2v_a14b.json").read_text(encoding="utf-8"))

    converted = graph_of("core_t2v_a14b_subgraph.ui.json")

    assert set(converted) == {"61", *(f"200:{node_id}" for node_id in exported if node_id != "61")}
    for node_id, node in exported.items():
        inner = converted["61" if node_id == "61" else f"200:{node_id}"]["inputs"]
        literals = {name: value for name, value in node["inputs"].items() if not isinstance(value, list)}
        assert {name: inner.get(name) for name in literals} == literals, node_id
