"""Holds a job against the nodes and models of the workers that live, before it is queued.

A worker stores what its ComfyUI answers to ``/object_info`` under `definitions_name` and names the digest
on its card. `Preflight` reads both and judges as ComfyUI will.
"""

from __future__ import annotations

import functools
import json
import logging
import marshal
import threading
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from comfy.errors import GraphProblem, UnknownMessage
from comfy.graph import near_names
from comfy.nodedefs import Dialect, NodeDef, Section, parse_definitions
from comfy.validation import validate
from farm.errors import InvalidJob, Problem
from farm.graphs import find_place
from farm.job import JobSpec
from farm.request import as_problem
from farm.store.base import JobStore

log = logging.getLogger(__name__)

DEFINITIONS_FIELD: Final = "definitions"  # of a worker's card: the digest of what it published
VERSION_FIELD: Final = "comfyui_version"  # of a worker's card
CARDS_FOR_S: Final = 2.0  # how old the list of workers may be
_REMEMBERED_BYTES: Final = 256 * 1024
_LISTED: Final = 20  # above so many choices ComfyUI does not send the list back
_LONGEST_NAME: Final = 200  # of what is compared: the time for it grows with the square of the length

_Range = tuple[float, float]


def definitions_name(digest: str) -> str:
    """Under which name the store keeps what a worker's ComfyUI says of its nodes.

    The blob is the JSON of ``/object_info``, compressed by zlib.
    """
    return f"definitions:{digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Nodes:
    """The node definitions that some workers share."""

    workers: tuple[str, ...]
    judge: _Judge


class Preflight:
    """What the fleet says of a job. Thread-safe; asks the store every two seconds at most."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._fleet: tuple[_Nodes, ...] = ()
        self._read_at = float("-inf")
        self._judges: dict[tuple[str, Dialect], _Judge] = {}

    def check(self, spec: JobSpec) -> int:
        """Pass a job that some live worker's ComfyUI would take; returns how many would, 0 if none is known.

        Raises:
            InvalidJob: none would; the problems are those of the worker that comes nearest.
            StoreUnavailable: the list of workers cannot be read.
        """
        fleet = self._live()
        if not fleet:
            return 0
        provided = {find_place(spec.graph, place) for place in spec.inputs}
        verdicts = [(nodes, _but(nodes.judge.problems(spec.graph), provided)) for nodes in fleet]
        accepting = sum(len(nodes.workers) for nodes, problems in verdicts if not problems)
        if accepting:
            return accepting
        nearest, problems = min(verdicts, key=lambda verdict: len(verdict[1]))
        known = sum(len(nodes.workers) for nodes in fleet)
        where = f"worker {nearest.workers[0]}" + (f", the nearest of {known}" if known > 1 else "")
        raise InvalidJob([_on(where, as_problem(problem)) for problem in problems])

    def _live(self) -> tuple[_Nodes, ...]:
        with self._lock:
            if time.monotonic() - self._read_at > CARDS_FOR_S:
                self._fleet = self._read()
                self._read_at = time.monotonic()
            return self._fleet

    def _read(self) -> tuple[_Nodes, ...]:
        groups: dict[tuple[str, Dialect], list[str]] = {}
        for card in self._store.workers():
            if digest := card.get(DEFINITIONS_FIELD):
                dialect = Dialect.of(str(card.get(VERSION_FIELD, "")))
                groups.setdefault((str(digest), dialect), []).append(str(card.get("name", "?")))
        self._judges = {key: judge for key in groups if (judge := self._judge(*key)) is not None}
        return tuple(
            _Nodes(workers=tuple(workers), judge=self._judges[key])
            for key, workers in groups.items()
            if key in self._judges
        )

    def _judge(self, digest: str, dialect: Dialect) -> _Judge | None:
        if known := self._judges.get((digest, dialect)):
            return known
        blob = self._store.get_blob(definitions_name(digest))
        try:
            return (
                None
                if blob is None
                else _Judge(parse_definitions(json.loads(zlib.decompress(blob))), dialect)
            )
        except (zlib.error, ValueError, UnknownMessage) as exc:
            # A worker of another version wrote it: a producer must not stop for that.
            facts = {"event": "definitions_unreadable", "digest": digest, "reason": str(exc)}
            log.warning("Node definitions of a worker cannot be read and are not checked", extra=facts)
            return None


class _Judge:
    """The verdicts of one ComfyUI, remembered: thousands of jobs differ in what it would not mind.

    Before a graph is looked up, each value that is right whatever it is exactly (a text, a number
    within its bounds) is replaced by one that stands for all of them.
    """

    def __init__(self, definitions: Mapping[str, NodeDef], dialect: Dialect) -> None:
        self._definitions = definitions
        self._dialect = dialect
        self._free = {name: _free_inputs(node) for name, node in definitions.items()}
        self._input_files = _offered_files(definitions)
        self._remembered = functools.lru_cache(maxsize=512)(self._problems_of_image)

    def problems(self, graph: Mapping[str, Any]) -> Sequence[GraphProblem]:
        """What is wrong with a checked graph."""
        try:
            image = marshal.dumps([(node_id, *self._settled(node)) for node_id, node in graph.items()], 2)
        except ValueError:  # an enum's member, say, which is a text to everybody else
            return self._judged(graph)
        return self._remembered(image) if len(image) <= _REMEMBERED_BYTES else self._judged(graph)

    def _settled(self, node: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        inputs: dict[str, Any] = node["inputs"]
        settled: dict[str, Any] = {}
        for name, bounds in self._free.get(node["class_type"], ()):
            value = inputs.get(name)
            if bounds is None:
                if type(value) is str:
                    settled[name] = ""
            elif (
                isinstance(value, int | float) and type(value) is not bool and bounds[0] <= value <= bounds[1]
            ):
                settled[name] = bounds[0]
        return node["class_type"], {**inputs, **settled} if settled else inputs

    def _problems_of_image(self, image: bytes) -> Sequence[GraphProblem]:
        nodes = marshal.loads(image)  # noqa: S302  # written by `problems`
        return self._judged(
            {node_id: {"class_type": class_type, "inputs": inputs} for node_id, class_type, inputs in nodes}
        )

    def _judged(self, graph: Mapping[str, Any]) -> Sequence[GraphProblem]:
        found = validate(
            graph, self._definitions, dialect=self._dialect, input_file_exists=self._may_exist
        ).problems
        return [self._hinted(problem, graph) for problem in found]

    def _may_exist(self, name: str) -> bool:
        """Whether the worker's input folder holds the file, as far as it tells: it lists no subfolders,
        and names with a folder of another kind behind them (``x.png [output]``) are not for us to judge."""
        return name in self._input_files or any(mark in name for mark in "/\\[")

    def _hinted(self, problem: GraphProblem, graph: Mapping[str, Any]) -> GraphProblem:
        """With what ComfyUI's own answer does not say: the nearest of many choices, how to give a file."""
        if problem.kind == "custom_validation_failed" and problem.input_name:
            place = f"{problem.node_id}.{problem.input_name}"
            value = str(graph[problem.node_id or ""]["inputs"][problem.input_name])[:_LONGEST_NAME]
            advice = f"give the file with the job: --input {place}=FILE, or inputs={{'{place}': ...}}"
            return replace(problem, message=f'there is no input file "{value}"; {advice}')
        node = self._definitions.get(problem.class_type or "")
        wanted = node.input(problem.input_name or "") if node is not None else None
        choices = (wanted.choices or ()) if wanted is not None else ()
        if problem.kind != "value_not_in_list" or len(choices) <= _LISTED:
            return problem
        value = str(graph[problem.node_id or ""]["inputs"][problem.input_name])[:_LONGEST_NAME]
        near = ", ".join(near_names(value, map(str, choices)))
        return replace(problem, message=f'"{value}" is none of the {len(choices)} choices; near are {near}')


def _is_within(value: Any, bounds: _Range) -> bool:
    # The type must fit too: ComfyUI turns True and "20" into numbers, which is its affair to judge.
    return type(value) in (int, float) and bool(bounds[0] <= value <= bounds[1])


def _free_inputs(node: NodeDef) -> tuple[tuple[str, _Range | None], ...]:
    """Inputs whose exact value decides nothing: the bounds of a number, None for any text."""
    free: list[tuple[str, _Range | None]] = []
    for each in node.inputs:
        if each.section is Section.HIDDEN or each.is_upload:
            continue
        bounded = isinstance(each.minimum, int | float) and isinstance(each.maximum, int | float)
        if each.kind == "STRING" and each.minimum is None and each.maximum is None:
            free.append((each.name, None))
        elif each.kind in ("INT", "FLOAT") and bounded:
            free.append((each.name, (each.minimum, each.maximum)))
    return tuple(free)


def _offered_files(definitions: Mapping[str, NodeDef]) -> frozenset[str]:
    """The input files that a worker's own folder held when it told its definitions."""
    uploads = (each for node in definitions.values() for each in node.inputs if each.is_upload)
    return frozenset(str(choice) for each in uploads for choice in each.choices or ())


def _but(problems: Sequence[GraphProblem], provided: set[tuple[str, str] | None]) -> Sequence[GraphProblem]:
    """Those that the job's own input files do not cure."""
    return [each for each in problems if (each.node_id, each.input_name) not in provided]


def _on(where: str, problem: Problem) -> Problem:
    return Problem(field=problem.field, message=f"{problem.message} ({where})")
