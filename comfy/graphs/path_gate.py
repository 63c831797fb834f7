"""Paths in a graph: what names a file must stay inside its folder, whatever ComfyUI itself checks.

Older versions join a name to the input folder without a look at it (CVE-2026-56673), and a loader's list of
choices does not protect an input that a link brings its value to.

Source: ComfyUI folder_paths.py, ``get_annotated_filepath``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, Final

from comfy.errors import GraphError, GraphProblem
from comfy.graphs.links import (
    class_of,
    inputs_of,
)
from comfy.graphs.values import setting
from comfy.node_defs.node_classes import OUTPUT_PREFIX, Names, what_it_names

# Of a file name on every file system that a worker may have; ComfyUI adds "_00001_.webm" and the like.
_MOST_NAME_BYTES: Final = 255 - 16
_ANNOTATION: Final = re.compile(r"\[(input|output|temp)\]\s*$")
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


def path_fault(name: str) -> str | None:
    """Say why a name could lead out of its folder; None when it stays inside."""
    if "\0" in name:
        return "it contains a NUL character"
    if "\\" in name:
        return "it contains a backslash; sub-folders are written with /"
    if name.startswith(("/", "~")) or re.match(r"[A-Za-z]:", name):
        return "it is an absolute path"
    if ".." in name.split("/"):
        return "it leads out of its folder"
    if found := _ANNOTATION.search(name):
        return f"it names ComfyUI's {found[1]} folder"
    return None


def _problems(graph: Mapping[str, Any]) -> Iterator[GraphProblem]:
    for node_id in graph:
        class_type = class_of(graph, node_id) or ""
        for input_name in inputs_of(graph, node_id):
            named = what_it_names(class_type, input_name)
            if named is Names.OUTPUT_PREFIX:
                yield from _long_prefix(graph, node_id)
            if named not in _REMEDY:
                continue
            found = setting(graph, node_id, input_name)
            value = None if found is None else found.value
            if isinstance(value, str) and (fault := path_fault(value)) is not None:
                yield _problem(
                    graph, node_id, input_name, f"{_shown(value)} is refused: {fault}; {_REMEDY[named]}"
                )
            elif found is not None and found.is_computed and value is None and named in _FILES:
                message = f"the file's name is computed by node {found.source_id}: {_REMEDY[named]}"
                yield _problem(graph, node_id, input_name, message)


_FILES: Final = frozenset({Names.INPUT_FILE, Names.ANY_FILE})
_GIVE_FILE: Final = "give the file with the job (--input NODE.INPUT=FILE)"
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
        yield replace(_problem(graph, node_id, OUTPUT_PREFIX, message), kind="name_too_long")


def _problem(graph: Mapping[str, Any], node_id: str, input_name: str, message: str) -> GraphProblem:
    return GraphProblem(
        kind="path_outside",
        message=message,
        node_id=node_id,
        class_type=class_of(graph, node_id),
        input_name=input_name,
    )


def _shown(value: str) -> str:
    return repr(value if len(value) <= 80 else f"{value[:77]}...")
