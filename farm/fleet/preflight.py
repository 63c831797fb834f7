"""Holds a job against the cards, nodes and models of the workers that live, before it is queued.

A worker stores what its ComfyUI answers to ``/object_info`` under `definitions_name` and names the digest
in its status. `Preflight` reads both and judges as ComfyUI will.
"""

from __future__ import annotations

import functools
import json
import logging
import threading
import time
from collections import ChainMap
from collections.abc import Hashable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, cast

from comfy.errors import GraphProblem, UnknownMessage
from comfy.generations import Generation
from comfy.graphs.graph import find_input
from comfy.graphs.required import is_model_file
from comfy.node_defs.definitions import Definitions, NodeDef, parse_definitions
from comfy.node_defs.node_classes import model_folder
from farm.asking.graphs import known_without_a_fleet
from farm.asking.prepare import as_problem
from farm.errors import InvalidJob, Problem, RecordUnreadable, Unplaceable
from farm.fleet.judge import Judge
from farm.job import JobSpec
from farm.limits import MOST_BLOB_BYTES, unpacked
from farm.store.roles import FleetReader

if TYPE_CHECKING:
    from farm.status.worker import WorkerStatus

log = logging.getLogger(__name__)

WORKERS_FOR_S: Final = 2.0  # how old the list of workers may be
# What another ComfyUI may have: the class of a node, beside the model files.
_OF_THE_WORKER: Final = frozenset({"missing_node_type", "unknown_node", "missing_model"})


def definitions_name(digest: str) -> str:
    """Under which name the store keeps what a worker's ComfyUI says of its nodes.

    The blob is the JSON of ``/object_info``, compressed by zlib.
    """
    return f"definitions:{digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerVerdict:
    """What one live worker would make of a job."""

    worker: WorkerStatus
    class_gib: int | None  # what it serves, when that is less than the job needs
    problems: tuple[Problem, ...]  # of its ComfyUI with the graph; none while it has not told its nodes

    @property
    def name(self) -> str:
        """Of the worker."""
        return self.worker.name

    @property
    def takes_it(self) -> bool:
        """Whether nothing is known against it."""
        return self.class_gib is None and not self.problems


@dataclass(frozen=True, slots=True, kw_only=True)
class _Nodes:
    """The node definitions that some workers share."""

    workers: tuple[WorkerStatus, ...]
    judge: Judge

    def large_enough(self, gib: int) -> list[WorkerStatus]:
        return [worker for worker in self.workers if worker.serves(gib)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fleet:
    """Who lives."""

    workers: tuple[WorkerStatus, ...] = ()
    nodes: tuple[_Nodes, ...] = ()
    name: Hashable = field(default=(), compare=False)
    # What is known of nodes, once for each form that workers have; the first form counts first.
    forms: tuple[Definitions, ...] = field(default_factory=lambda: (known_without_a_fleet(),), compare=False)


class Preflight:
    """What the fleet says of a job. Thread-safe; asks the store every two seconds at most."""

    def __init__(self, store: FleetReader) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._fleet = _Fleet()
        self._read_at = float("-inf")
        self._judges: dict[tuple[str, Generation], Judge] = {}

    def check(self, spec: JobSpec) -> int:
        """Pass a job that some live worker would take; returns how many would, 0 if none is known.

        Raises:
            Unplaceable: none has the card, the nodes and the models that it needs.
            InvalidJob: none would take it, for what is wrong with the job itself.
            StoreUnavailable: the list of workers cannot be read.
        """
        fleet, gib = self._live(), spec.requirements.vram_gib
        verdicts = self._verdicts(fleet, spec)
        accepting = sum(len(nodes.large_enough(gib)) for nodes, problems in verdicts if not problems)
        if accepting:
            return accepting
        large = [verdict for verdict in verdicts if verdict[0].large_enough(gib)]
        lives = any(worker.serves(gib) for worker in fleet.workers)
        if not fleet.workers or (lives and not large):
            return 0  # nobody lives, or who could take it has not told yet what it has
        found = [] if lives else [_too_small(fleet.workers, gib)]
        found += _nearest(large or verdicts, gib)
        if any(all(_is_of_the_worker(each, spec) for each in problems) for _, problems in verdicts):
            raise Unplaceable(found)
        raise InvalidJob(found) if verdicts else Unplaceable(found)

    def verdicts(self, spec: JobSpec) -> list[WorkerVerdict]:
        """What each live worker would make of the job, by name.

        Raises:
            StoreUnavailable: the list of workers cannot be read.
        """
        fleet, gib = self._live(), spec.requirements.vram_gib
        problems = {
            worker.name: tuple(map(as_problem, found))
            for nodes, found in self._verdicts(fleet, spec)
            for worker in nodes.workers
        }
        return [
            WorkerVerdict(
                worker=worker,
                class_gib=None if worker.serves(gib) else worker.vram_gib,
                problems=problems.get(worker.name, ()),
            )
            for worker in fleet.workers
        ]

    def definitions(self) -> Definitions:
        """What is known of nodes: by the live workers first, then by what ships with the farm.

        The same object as long as the same workers live.

        Raises:
            StoreUnavailable: the list of workers cannot be read.
        """
        return self._live().forms[0]

    def forms(self) -> Sequence[Definitions]:
        """As `definitions`, once for each form of nodes that workers have: each time another's counts first.

        Raises:
            StoreUnavailable: the list of workers cannot be read.
        """
        return self._live().forms

    def fleet_name(self) -> Hashable:
        """Another one whenever the verdict on a job may be another one.

        Raises:
            StoreUnavailable: the list of workers cannot be read.
        """
        return self._live().name

    def _verdicts(self, fleet: _Fleet, spec: JobSpec) -> list[tuple[_Nodes, Sequence[GraphProblem]]]:
        provided = (
            {find_input(spec.graph, input_path) for input_path in spec.inputs} if fleet.nodes else set()
        )
        return [(nodes, _but(nodes.judge.problems(spec.graph), provided)) for nodes in fleet.nodes]

    def _live(self) -> _Fleet:
        with self._lock:
            if time.monotonic() - self._read_at > WORKERS_FOR_S:
                self._fleet = self._read()
                self._read_at = time.monotonic()
            return self._fleet

    def _read(self) -> _Fleet:
        workers = tuple(self._store.workers())
        groups: dict[tuple[str, Generation], list[WorkerStatus]] = {}
        for worker in workers:
            if worker.definitions:
                generation = Generation.of(worker.comfyui_version or "")
                groups.setdefault((worker.definitions, generation), []).append(worker)
        self._judges = {key: judge for key in groups if (judge := self._judge(*key)) is not None}
        nodes = tuple(
            _Nodes(workers=tuple(members), judge=self._judges[key])
            for key, members in groups.items()
            if key in self._judges
        )
        name = tuple((each.name, each.definitions, each.comfyui_version, each.vram_gib) for each in workers)
        fleet_name = (name, len(nodes))
        forms = self._fleet.forms if fleet_name == self._fleet.name else _forms_of(nodes)
        return _Fleet(workers=workers, nodes=nodes, name=fleet_name, forms=forms)

    def _judge(self, digest: str, generation: Generation) -> Judge | None:
        if known := self._judges.get((digest, generation)):
            return known
        found = definitions_of(self._store, digest)
        return None if found is None else Judge(found, generation)


def definitions_of(store: FleetReader, digest: str) -> Definitions | None:
    """The nodes that workers published under a digest; None when they are gone, or cannot be read.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    blob = store.get_blob(definitions_name(digest))
    try:
        return None if blob is None else _parsed(blob)
    except (RecordUnreadable, ValueError, UnknownMessage, RecursionError) as exc:
        # A worker of another version wrote it: a producer must not stop for that.
        log.warning(
            "Node definitions of a worker cannot be read and are not checked",
            extra={"event": "definitions_unreadable", "digest": digest, "reason": str(exc)},
        )
        return None


@functools.lru_cache(maxsize=4)  # megabytes, that several parts of a process ask for
def _parsed(blob: bytes) -> Definitions:
    return parse_definitions(json.loads(unpacked(blob, most_bytes=MOST_BLOB_BYTES)))


def _forms_of(nodes: Sequence[_Nodes]) -> tuple[Definitions, ...]:
    ordered = [[group, *(other for other in nodes if other is not group)] for group in nodes]
    return tuple(map(_known_by, ordered or [[]]))


def _known_by(nodes: Sequence[_Nodes]) -> Definitions:
    known = [*(group.judge.definitions for group in nodes), known_without_a_fleet()]
    # Looked up one behind the other; none is read as a whole, and nothing is ever written to them.
    return ChainMap(*cast("list[MutableMapping[str, NodeDef]]", known))


def _too_small(workers: Sequence[WorkerStatus], gib: int) -> Problem:
    largest = max(workers, key=lambda worker: worker.vram_gib or 0)
    message = (
        f"needs a card of the {gib} GiB class; the largest that lives is of {largest.vram_gib} GiB "
        f"(worker {largest.name}). `vram_gib` (--vram) if you know better than the estimate"
    )
    return Problem(field="vram_gib", message=message)


def _nearest(verdicts: Sequence[tuple[_Nodes, Sequence[GraphProblem]]], gib: int) -> Iterator[Problem]:
    """The problems of the worker that comes nearest."""
    if not verdicts:
        return
    nodes, problems = min(verdicts, key=lambda verdict: len(verdict[1]))
    known = sum(len(nodes.workers) for nodes, _ in verdicts)
    worker = (nodes.large_enough(gib) or list(nodes.workers))[0]
    where = f"worker {worker.name}" + (f", the nearest of {known}" if known > 1 else "")
    for problem in map(as_problem, problems):
        yield replace(problem, message=f"{problem.message} ({where})")


def _is_of_the_worker(problem: GraphProblem, spec: JobSpec) -> bool:
    """Whether another worker might not mind: it has the node, or the model file."""
    if problem.kind in _OF_THE_WORKER:
        return True
    class_type, name = problem.class_type or "", problem.input_name or ""
    if problem.kind != "value_not_in_list":
        return False
    value = spec.graph.get(problem.node_id or "", {}).get("inputs", {}).get(name)
    return model_folder(class_type, name) is not None or is_model_file(value)


def _but(problems: Sequence[GraphProblem], provided: set[tuple[str, str] | None]) -> Sequence[GraphProblem]:
    """Those that the job's own input files do not cure."""
    return [each for each in problems if (each.node_id, each.input_name) not in provided]
