"""Every official WAN workflow becomes a graph that ComfyUI would take."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import pytest

from comfy.graph import check_graph
from comfy.nodedefs import Definitions, shipped_definitions
from comfy.ui.convert import convert
from comfy.validation import validate

_FOLDER: Final = Path(str(files("comfyui_workflow_templates_json"))) / "templates"
_WAN_CLASS: Final = re.compile(r"Wan|Bernini|ARVideo")
_WAN_FILE: Final = re.compile(r'"[^"]*wan[^"]*\.safetensors"', re.IGNORECASE)

# Not WAN on one's own GPU, or not WAN at all; each with the reason.
_OTHERS: Final = {
    "templates_mjm_looped_restyler": "its pictures come from a cloud service (GeminiImageNode)",
    "image_joyai_image_edit": "an image model that borrows WAN's VAE",
}


def _workflows() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(_FOLDER.glob("*.json")):
        text = path.read_text(encoding="utf-8")
        workflow = json.loads(text)
        if not isinstance(workflow, dict) or "nodes" not in workflow:
            continue
        subgraphs = workflow.get("definitions", {}).get("subgraphs", [])
        classes = {node["type"] for sheet in (workflow, *subgraphs) for node in sheet["nodes"]}
        if any(each.endswith("Api") for each in classes):
            continue  # nodes of a paid service: nothing runs on the own GPU
        if any(_WAN_CLASS.match(each) for each in classes) or _WAN_FILE.search(text):
            yield path.stem, workflow


_WAN: Final = {name: workflow for name, workflow in _workflows() if name not in _OTHERS}


@cache
def _known() -> Definitions:
    return shipped_definitions()


def test_there_are_as_many_as_the_package_has() -> None:
    assert len(_WAN) >= 38


@pytest.mark.parametrize("name", _WAN)
def test_an_official_workflow_converts_and_validates(name: str) -> None:
    graph = convert(_WAN[name], _known())

    check_graph(graph)
    verdict = validate(graph, _known())
    assert [str(problem) for problem in verdict.problems] == []
    assert verdict.outputs


@pytest.mark.parametrize("name", _OTHERS)
def test_what_is_left_out_is_still_there(name: str) -> None:
    assert (_FOLDER / f"{name}.json").is_file()
