"""What one ComfyUI would say of a graph, remembered: thousands of jobs differ in what it would not mind."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from comfy.errors import GraphProblem
from comfy.generations import Generation
from comfy.graphs.faults import shorten
from comfy.graphs.graph import near_names
from comfy.graphs.image import graph_of, image_of_graph
from comfy.judging.reasons import LONGEST_LIST_SENT_BACK
from comfy.judging.validation import validate
from comfy.node_defs.definitions import NodeDef, Section
from comfy.node_defs.later_inputs import with_later_inputs
from comfy.node_defs.separators import with_own_separators

_Range = tuple[float, float]


class Judge:
    """The verdicts of one ComfyUI, remembered: thousands of jobs differ in what it would not mind.

    Before a graph is looked up, each value that is right whatever it is exactly (a text, a number
    within its bounds) is replaced by one that stands for all of them.
    """

    def __init__(self, definitions: Mapping[str, NodeDef], generation: Generation) -> None:
        self.definitions: Final = definitions
        self._generation = generation
        self._free = functools.cache(self._free_inputs_of)
        self._input_files = functools.cache(lambda: _offered_files(definitions))
        self._remembered = functools.lru_cache(maxsize=512)(self._problems_of_image)

    def problems(self, graph: Mapping[str, Any]) -> Sequence[GraphProblem]:
        """What is wrong with a checked graph."""
        image = image_of_graph(graph, self._settled)
        return self._judged(graph) if image is None else self._remembered(image)

    def _settled(self, node: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        inputs: dict[str, Any] = node["inputs"]
        settled: dict[str, Any] = {}
        for name, bounds in self._free(node["class_type"]):
            value = inputs.get(name)
            if bounds is None:
                if type(value) is str:
                    settled[name] = ""
            elif (
                isinstance(value, int | float) and type(value) is not bool and bounds[0] <= value <= bounds[1]
            ):
                # Not the bound itself: as a float, the least of a FLOAT may be rounded to below it.
                settled[name] = 0 if bounds[0] <= 0 <= bounds[1] else bounds[0]
        return node["class_type"], {**inputs, **settled} if settled else inputs

    def _free_inputs_of(self, class_type: str) -> tuple[tuple[str, _Range | None], ...]:
        node = self.definitions.get(class_type)
        return () if node is None else _free_inputs(node)

    def _problems_of_image(self, image: bytes) -> Sequence[GraphProblem]:
        return self._judged(graph_of(image))

    def _judged(self, graph: Mapping[str, Any]) -> Sequence[GraphProblem]:
        mended = with_later_inputs(with_own_separators(graph, self.definitions), self.definitions)
        found = validate(
            mended, self.definitions, generation=self._generation, input_file_exists=self._may_exist
        ).problems
        return [self._hinted(problem, graph) for problem in found]

    def _may_exist(self, name: str) -> bool:
        """Whether the worker's input folder holds the file, as far as it tells: it lists no subfolders,
        and names with a folder of another kind behind them (``x.png [output]``) are not for us to judge."""
        return name in self._input_files() or any(mark in name for mark in "/\\[")

    def _hinted(self, problem: GraphProblem, graph: Mapping[str, Any]) -> GraphProblem:
        """With what ComfyUI's own answer does not say: the nearest of many choices, how to give a file."""
        if problem.kind == "custom_validation_failed" and problem.input_name:
            input_path = f"{problem.node_id}.{problem.input_name}"
            value = str(graph[problem.node_id or ""]["inputs"][problem.input_name])
            advice = f"give the file with the job, as its input {input_path}"
            return replace(problem, message=f'there is no input file "{shorten(value)}"; {advice}')
        node = self.definitions.get(problem.class_type or "")
        wanted = node.input(problem.input_name or "") if node is not None else None
        choices = (wanted.choices or ()) if wanted is not None else ()
        if problem.kind != "value_not_in_list" or len(choices) <= LONGEST_LIST_SENT_BACK:
            return problem
        value = str(graph[problem.node_id or ""]["inputs"][problem.input_name])
        near = ", ".join(near_names(value, map(str, choices)))
        return replace(
            problem, message=f'"{shorten(value)}" is none of the {len(choices)} choices; near are {near}'
        )


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
