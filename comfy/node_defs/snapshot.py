"""The node facts that ship with the farm, read from `node_facts/` the first time somebody asks.

A list of choices there may hold sources instead of names: ``"@loras"`` stands for the files of that models
folder, ``"@devices"`` for the machine's compute devices, ``"@unknown"`` for what else a machine may have.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
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


def pack_forms(class_type: str) -> tuple[Mapping[str, Any], ...]:
    """Entries of ``/object_info`` for a class, of packs that people's files use besides: one for each form.

    A class may have several: packs share a name, or it had other widgets in another version of its pack.
    Files of later versions have the later name, and count first.
    """
    rows = pack_rows().get(class_type, ())
    return tuple({"python_module": module, **json.loads(entry)} for module, entry in rows)


@cache
def pack_rows() -> Mapping[str, tuple[tuple[str, str], ...]]:
    """What `pack_forms` reads, by class: module and JSON.

    These files have each node on a line of its own: of thousands, only those that are asked for are read.
    """
    rows: dict[str, tuple[tuple[str, str], ...]] = {}
    name_of = json.JSONDecoder().raw_decode
    for path in sorted(PACKS_FOLDER.glob("*.json"), reverse=True):
        head, _, *lines, _ = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
        module = json.loads(f"{head.removesuffix(',')}}}")["python_module"]
        for line in lines:
            class_type, end = name_of(line)
            entry = line[end:].removeprefix(":").removesuffix(",")
            rows[class_type] = (*rows.get(class_type, ()), (module, entry))
    return rows


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
