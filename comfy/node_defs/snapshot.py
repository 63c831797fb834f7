"""The node facts that ship with the farm, read from `node_facts/` the first time somebody asks.

A list of choices there may hold sources instead of names: ``"@loras"`` stands for the files of that models
folder, ``"@devices"`` for the machine's compute devices, ``"@unknown"`` for what else a machine may have.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent / "node_facts"
PACKS_FOLDER: Final = FOLDER / "packs"

NEWER_CORE: Final = "core-newer"  # what the core got after the newest generation
_PACKS: Final = (
    "wan-video-wrapper",
    "kjnodes",
    "gguf",
    "video-helper-suite",
    "frame-interpolation",
    "multigpu",
    "rgthree",
    "easy-use",
    "essentials",
    "custom-scripts",
    "jps",
    "mxtoolkit",
    "wan-moe-ksampler",
    "use-everywhere",
    "others",
)
_SOURCE: Final = "@"


def shipped_nodes(core: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
    """Entries of ``/object_info`` by class: the core, and the node packs that WAN graphs use.

    Args:
        core: names of files with a core's nodes; a node of a later one counts for more.
    """
    nodes: dict[str, Mapping[str, Any]] = {}
    for name in (*core, *_PACKS):
        file = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
        module = {"python_module": file["python_module"]}
        nodes.update((class_type, {**module, **node}) for class_type, node in file["nodes"].items())
    return nodes


def pack_forms() -> Mapping[str, tuple[Mapping[str, Any], ...]]:
    """Entries of ``/object_info`` by class, of packs that people's files use besides: one for each form.

    A class may have several: packs share a name, or it had other widgets in another version of its pack.
    Files of later versions have the later name, and count first.
    """
    forms: dict[str, tuple[Mapping[str, Any], ...]] = {}
    for path in sorted(PACKS_FOLDER.glob("*.json"), reverse=True):
        file = json.loads(path.read_text(encoding="utf-8"))
        module = {"python_module": file["python_module"]}
        for class_type, node in file["nodes"].items():
            forms[class_type] = (*forms.get(class_type, ()), {**module, **node})
    return forms


def sources_of(choices: Sequence[Any] | None) -> tuple[str, ...]:
    """The sources that a list of choices names ("loras"); empty when its choices are written out."""
    return tuple(choice[1:] for choice in choices or () if _is_source(choice))


def filled(choices: Sequence[Any], files: Mapping[str, Sequence[str]] | None) -> tuple[Any, ...] | None:
    """The choices with what their sources hold; None when that is not known."""
    if files is None:
        return None
    found: list[Any] = []
    for choice in choices:
        found.extend(files.get(choice[1:], ()) if _is_source(choice) else (choice,))
    return tuple(found)


def _is_source(choice: Any) -> bool:
    return isinstance(choice, str) and choice.startswith(_SOURCE)
