"""The official WAN workflows of the package ``comfyui-workflow-templates-json``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

OFFICIAL_FOLDER: Final = Path(str(files("comfyui_workflow_templates_json"))) / "templates"

# Not WAN on one's own GPU, or not WAN at all; each with the reason.
LEFT_OUT: Final = {
    "templates_mjm_looped_restyler": "its pictures come from a cloud service (GeminiImageNode)",
    "image_joyai_image_edit": "an image model that borrows WAN's VAE",
}

_WAN_CLASS: Final = re.compile(r"Wan|Bernini|ARVideo")
_WAN_FILE: Final = re.compile(r'"[^"]*wan[^"]*\.safetensors"', re.IGNORECASE)


@cache
def wan_workflows() -> dict[str, dict[str, Any]]:
    """Every one that runs on one's own GPU, by name."""
    return {name: workflow for name, workflow in _found() if name not in LEFT_OUT}


def _found() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(OFFICIAL_FOLDER.glob("*.json")):
        text = path.read_text(encoding="utf-8")
        if not _WAN_FILE.search(text) and '"Wan' not in text:
            continue
        workflow = json.loads(text)
        if not isinstance(workflow, dict) or "nodes" not in workflow:
            continue
        subgraphs = workflow.get("definitions", {}).get("subgraphs", [])
        classes = {node["type"] for sheet in (workflow, *subgraphs) for node in sheet["nodes"]}
        if any(each.endswith("Api") for each in classes):
            continue  # nodes of a paid service: nothing runs on the own GPU
        if any(_WAN_CLASS.match(each) for each in classes) or _WAN_FILE.search(text):
            yield path.stem, workflow
