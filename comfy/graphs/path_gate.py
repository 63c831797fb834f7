"""Paths in a graph: what names a file must stay inside its folder, whatever ComfyUI itself checks.

Older versions join a name to the input folder without a look at it (CVE-2026-56673), and a loader's list of
choices does not protect an input that a link brings its value to. A name is judged as the loaders read it:
unwrapped, without blanks and quotes around it. A backslash is the slash of whoever saved the graph on
Windows: it is judged as one, and the worker gives the file the name under which its nodes offer it.

Source: ComfyUI folder_paths.py, ``get_annotated_filepath``; execution.py, ``validate_inputs`` (for
``__value__``); VideoHelperSuite videohelpersuite/utils.py, ``strip_path``, ``is_url``.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, Final

from comfy.errors import GraphError, GraphProblem
from comfy.graphs.links import class_of, inputs_of
from comfy.graphs.values import Setting, setting
from comfy.node_defs.definitions import COMBO_TYPE, MATCH_TYPE, NodeDef, shipped_definitions
from comfy.node_defs.node_classes import CLASSES, OUTPUT_PREFIX, Names, base_class, what_it_names

# Of a file name on every file system that a worker may have; ComfyUI adds "_00001_.webm" and the like.
_MOST_NAME_BYTES: Final = 255 - 16
_LONGEST_PATH: Final = 4096  # Linux's PATH_MAX: nothing longer can be opened
_BLANKS: Final = "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
_AROUND: Final = _BLANKS + "\"'"  # what loaders take off a name
# In a text of which nobody knows whether it is a path: what can hardly be anything else, in one of its lines.
_CLEARLY_OUTSIDE: Final = re.compile(
    r"""^[around]*+ (?:
        [/\\][^/\\\n]*[/\\] | [/\\]\S++(?:[^\S\n][around]*+)?$ |
        ~[^/\\\s]*[/\\] | [a-zA-Z][a-zA-Z0-9+.-]{,20}:[/\\]
    ) | (?: ^ | [/\\] ) [around]*+ \.\. [around]*+ (?: $ | [/\\] )""".replace(
        "around", re.escape(_AROUND.replace("\n", ""))
    ),
    re.MULTILINE | re.VERBOSE,
)
# Signs that become those of a path where names are normalised (macOS, some nodes): full-width, small, …
# Source: Unicode's NFKC; a table, as ``unicodedata.normalize`` takes minutes over a row of combining marks.
_PLAIN_SIGNS: Final = {
    0x2024: ".",
    0x2025: "..",
    0xFE13: ":",
    0xFE30: "..",
    0xFE52: ".",
    0xFE55: ":",
    0xFE68: "\\",
    0xFF02: '"',
    0xFF07: "'",
    0xFF0E: ".",
    0xFF0F: "/",
    0xFF1A: ":",
    0xFF3C: "\\",
    0xFF5E: "~",
}
_LINE_ENDS: Final = dict.fromkeys(map(ord, "\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"), "\n")
_MOST_PROBLEMS: Final = 100


def check_paths(graph: Mapping[str, Any]) -> None:
    """Pass a checked graph whose file names all stay inside.

    Raises:
        GraphError: with a problem for each name that does not, or that nobody can see before it runs.
    """
    if problems := path_problems(graph):
        raise GraphError(problems)


def path_problems(graph: Mapping[str, Any]) -> tuple[GraphProblem, ...]:
    """What `check_paths` would refuse, the first hundred."""
    return tuple(islice(_problems(graph), _MOST_PROBLEMS))


def as_loaders_read(text: str) -> str:
    """A name without what loaders take off it, in the one form in which it is judged."""
    return text.translate(_PLAIN_SIGNS).strip(_AROUND).replace("\\", "/")


def path_fault(text: str) -> str | None:
    """Say why a name could lead out of its folder; None when it stays inside."""
    name = as_loaders_read(text)
    if len(name) > _LONGEST_PATH:
        return "it is longer than any path"
    return next((why for leads_out, why in _FAULTS if leads_out(name)), None)


def text_fault(text: str) -> str | None:
    """Say why a text that may or may not be a path is certainly one that leads out; None when it is not."""
    if _CLEARLY_OUTSIDE.search(text.translate(_PLAIN_SIGNS).translate(_LINE_ENDS)):
        return "it is a path or an address that leads out of ComfyUI's folders"
    return None


def _goes_up(name: str) -> bool:
    return any(part.strip() == ".." for part in name.split("/"))


def _has_control_character(name: str) -> bool:
    return any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name)


# The first that fits is told.
_FAULTS: Final[tuple[tuple[Callable[[str], Any], str], ...]] = (
    (re.compile(r"[/~]|[A-Za-z]:").match, "it is an absolute path"),
    (_goes_up, "it leads out of its folder"),
    (_has_control_character, "it contains a control character"),
    (re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|.*://", re.DOTALL).match, "it is an address"),
    (re.compile(r"\[(input|output|temp)\]\s*$").search, "it names one of ComfyUI's folders"),
)


def _texts(value: Any) -> Iterator[str]:
    """Every text in a value: it may be wrapped (``{"__value__": …}``), a list of names, or keyed by them."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, Mapping):
            waiting += (*each.keys(), *each.values())
        elif isinstance(each, list | tuple):
            waiting += each


def _problems(graph: Mapping[str, Any]) -> Iterator[GraphProblem]:
    for node_id in graph:
        class_type = class_of(graph, node_id) or ""
        stranger = not _is_known(class_type)
        for input_name in inputs_of(graph, node_id):
            named = what_it_names(class_type, input_name)
            if named is Names.OUTPUT_PREFIX:
                yield from _long_prefix(graph, node_id)
            elif named is not None or stranger:
                found = setting(graph, node_id, input_name)
                if found is not None:
                    yield from _judged(graph, found, named)


def _judged(graph: Mapping[str, Any], found: Setting, named: Names | None) -> Iterator[GraphProblem]:
    remedy = _REMEDY[named or Names.PATH]
    for text in _texts(found.value):
        if fault := _fault(text, named):
            yield _problem(graph, found, f"{_shown(text)} is refused: {fault}; {remedy}")
            return
    unseen = found.is_computed and found.value is None and named in _SEEN_BEFORE
    if unseen and _may_be_text(graph, found):
        yield _problem(graph, found, f"the file's name is computed by node {found.source_id}: {remedy}")


def _fault(text: str, named: Names | None) -> str | None:
    if named is None:
        return text_fault(text)
    # Only the input's name says that it is a path: what no path can be is judged as any other text.
    if named is Names.PATH and (parts := _data(text)):
        return next(filter(None, map(text_fault, parts)), None)
    return path_fault(text)


def _data(text: str) -> tuple[str, ...]:
    """The texts of what is evidently no path: JSON of an object or a list, or more than a path can hold."""
    if text.lstrip().startswith(("{", "[")):
        try:
            # What is escaped in it is text to whoever reads the JSON.
            return (text, *_texts(json.loads(text)))
        except (ValueError, RecursionError):
            pass
    return (text,) if len(text) > _LONGEST_PATH else ()


def _is_known(class_type: str) -> bool:
    """Whether it is known which of this class's inputs name files; of any other, each text is looked at."""
    return base_class(class_type) in CLASSES or _shipped(class_type) is not None


def _shipped(class_type: str | None) -> NodeDef | None:
    known = shipped_definitions()
    return known.get(class_type or "") or known.get(base_class(class_type or ""))


def _may_be_text(graph: Mapping[str, Any], found: Setting) -> bool:
    """Whether what a node computes may be a name; pictures and models pass through inputs of any name."""
    asks, gives = _shipped(class_of(graph, found.asked.node_id)), _shipped(class_of(graph, found.source_id))
    wanted = asks.input(found.asked.input_name) if asks is not None else None
    kinds = [wanted.kind] if wanted is not None else []
    if gives is not None and 0 <= found.slot < len(gives.outputs):
        kinds.append(gives.outputs[found.slot].kind)
    return all(kind in (COMBO_TYPE, MATCH_TYPE, "*") or "STRING" in kind for kind in kinds)


# Names that have to be seen before the graph runs. A model's name stays below its folder whatever it is.
_SEEN_BEFORE: Final = frozenset({Names.INPUT_FILE, Names.ANY_FILE, Names.PATH})
_GIVE_FILE: Final = "give the file with the job, as an input NODE.INPUT"
_REMEDY: Final = {
    Names.INPUT_FILE: _GIVE_FILE,
    Names.ANY_FILE: _GIVE_FILE,
    Names.MODEL: "name the file as it lies below its models folder",
    Names.PATH: "give a path below ComfyUI's own folders, or the file with the job",
}


def _long_prefix(graph: Mapping[str, Any], node_id: str) -> Iterator[GraphProblem]:
    # The worker puts its own folders before it; the name at the end is the user's.
    found = setting(graph, node_id, OUTPUT_PREFIX)
    if found is None or not isinstance(found.value, str):
        return
    name = re.split(r"[/\\]", found.value)[-1].strip()
    length = len(name.encode(errors="replace"))
    if length > _MOST_NAME_BYTES:
        message = (
            f"{_shown(name)} is {length} bytes long, and a file's name may have {_MOST_NAME_BYTES} before "
            "its number and ending; shorten it"
        )
        yield replace(_problem(graph, found, message), kind="name_too_long")


def _problem(graph: Mapping[str, Any], found: Setting, message: str) -> GraphProblem:
    return GraphProblem(
        kind="path_outside",
        message=message,
        node_id=found.asked.node_id,
        class_type=class_of(graph, found.asked.node_id),
        input_name=found.asked.input_name,
    )


def _shown(value: str) -> str:
    return repr(value if len(value) <= 80 else f"{value[:77]}...")
