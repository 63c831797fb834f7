"""Pages drawn at random in ComfyUI's own editor: does the converter make of each what the editor exports?

    python -m tests.tools.random_pages --front-end FOLDER [--pages 200] [--first 1] [--object-info FILE …]

Each page is a number: nodes of any class of the definitions, values set, linked through reroutes,
primitives and set nodes, muted, bypassed, wrapped in subgraphs. What differs is printed with the number,
and ends the command with 1. FOLDER and `--pack` as for `tests.tools.corpus`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from bench.files_of_folder import differences
from comfy.errors import GraphError
from comfy.node_defs.definitions import Definitions, NodeDef, parse_definitions, shipped_definitions
from comfy.ui.load import load_any
from tests.tools.corpus import pack_given
from tests.tools.front_end import FrontEnd, front_end

_SCRIPT: Final = (Path(__file__).parent / "random_page.js").read_text(encoding="utf-8")
_VIEWS: Final = ("LOAD_3D", "WEBCAM")
_NODES: Final = 14
_CLASSES: Final = 60  # of which a page picks: few, so that what one gives another takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One page."""

    number: int
    saved: Mapping[str, Any]  # what the editor saves
    exported: Mapping[str, Any]  # what it exports of the page
    again: Mapping[str, Any]  # what it exports once it has loaded what it saved
    done: Sequence[str]


def draw(page: FrontEnd, known: Definitions, number: int, *, each: bool = False) -> Drawn:
    """The page of a number, always the same; with `each` one node of every class in turn."""
    names = [name for name in sorted(known) if not _is_of_the_screen(known[name])]
    classes = names[_CLASSES * (number - 1) :][:_CLASSES] if each else _some_of(names, number)
    found = json.loads(
        page.evaluate(f"({_SCRIPT})({number}, {json.dumps(classes)}, {0 if each else _NODES})")
    )
    try:
        again = page.export(found["saved"]) if found["exported"] else {}
    except RuntimeError:  # some pages are none that runs
        again = {}
    return Drawn(**found, number=number, again=again)


def faults(drawn: Drawn, known: Definitions) -> list[str]:
    """Where the converter makes something else of it than the editor; empty: nowhere."""
    if not drawn.again:
        return []
    try:
        made = load_any(drawn.saved, lambda: known)
    except GraphError as exc:
        return [f"{each.node_id} {each.class_type}: {each.message}" for each in exc.problems]
    found = differences(made, drawn.again, known)
    # What the editor itself makes otherwise of a file than of the page before it was saved, nobody can know.
    return [each for each in found if each in set(differences(made, drawn.exported, known))]


def _is_of_the_screen(node: NodeDef) -> bool:
    """Whether it sends what its view in the editor shows: no file keeps that."""
    return node.class_type == "Load3D" or any(each.kind.startswith(_VIEWS) for each in node.inputs)


def _some_of(names: Sequence[str], number: int) -> list[str]:
    """Classes for a page, another part of them for each number."""
    step = max(1, len(names) // _CLASSES)
    return [names[(number * 7 + at * step) % len(names)] for at in range(_CLASSES)]


def main() -> None:
    """Draw, compare, tell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--front-end", type=Path, required=True)
    parser.add_argument("--pack", type=pack_given, action="append", default=[])
    parser.add_argument("--object-info", type=Path, action="append", default=[])
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--each", action="store_true", help="every class once, linked to nothing")
    parser.add_argument("--keep", type=Path, help="a folder for the pages that differ")
    given = parser.parse_args()
    known: Definitions = {} if given.object_info else shipped_definitions(files={})
    for path in given.object_info:
        known = {**parse_definitions(json.loads(path.read_bytes())), **known}
    differing = 0
    with front_end(given.front_end, known, given.pack) as page:
        for number in range(given.first, given.first + given.pages):
            drawn = draw(page, known, number, each=given.each)
            found = faults(drawn, known)
            if not found:
                continue
            differing += 1
            sys.stdout.write(f"{number}: {'; '.join(found[:4])}\n")
            sys.stdout.flush()
            if given.keep is not None:
                (given.keep / f"{number}.json").write_text(json.dumps(asdict(drawn)))
    sys.stdout.write(f"{given.pages - differing} of {given.pages} are as the editor exports them\n")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
