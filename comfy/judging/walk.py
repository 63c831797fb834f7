"""The walk over a graph that ComfyUI does by recursion, done on a stack of its own.

Source: ComfyUI ``execution.py``, ``validate_inputs``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any, Final, assert_never

from comfy.errors import GraphProblem
from comfy.generations import CycleFaults, Generation, UncheckedChoices
from comfy.graphs import faults
from comfy.judging import advice
from comfy.judging.choices import open_choices
from comfy.judging.reasons import (
    CONVERSIONS,
    Reason,
    StumblesError,
    checks_itself,
    choice_reason,
    config_of,
    cycle_reason,
    file_reasons,
    missing,
    not_convertible,
    range_reason,
    reason_of,
    slot_of,
    types_fit,
)
from comfy.node_defs.definitions import Definitions, InputDef, NodeDef, Section
from comfy.node_defs.dynamic_inputs import inputs_for

# A person reads the first few; a graph made to hurt could have thousands, each with a costly hint.
MOST_PROBLEMS: Final = 100

_Result = tuple[bool, list[Reason]]
_Check = Generator[str, _Result | None, _Result]


class Walk:
    """The depth-first walk from the outputs that ComfyUI does by recursion, on a stack of its own."""

    def __init__(
        self,
        graph: Mapping[Any, Any],
        definitions: Definitions,
        generation: Generation,
        input_file_exists: Callable[[str], bool] | None,
    ) -> None:
        self.validated: dict[str, _Result] = {}
        self._graph = graph
        self._definitions = definitions
        self._generation = generation
        self._input_file_exists = input_file_exists
        self._dependents: dict[str, list[str]] = {}
        self._converted: dict[str, dict[str, Any]] = {}
        self._late: list[GraphProblem] = []  # what the server would find out only at run time
        self._cycles: list[tuple[str, ...]] = []

    def visit(self, roots: Iterable[Any]) -> None:
        """Check these nodes and all they depend on."""
        for root in roots:
            if isinstance(root, str):
                self._visit_one(root)

    def visit_outputs(self, outputs: Iterable[str]) -> None:
        """Check these output nodes, and remember which of them each bad node spoils."""
        for output_id in outputs:
            self._visit_one(output_id)
            if not self.validated[output_id][0]:
                self._note_dependent(output_id)

    def _note_dependent(self, output_id: str) -> None:
        # ComfyUI blames everything found bad *so far*, whether this output depends on it or not.
        for node_id, (valid, reasons) in self.validated.items():
            if not valid and reasons:
                self._dependents.setdefault(node_id, []).append(output_id)

    def node_errors(self) -> dict[str, Any]:
        """ComfyUI's `node_errors` for the outputs that were visited."""
        return {
            node_id: {
                "errors": self.validated[node_id][1],
                "dependent_outputs": dependents,
                "class_type": self._graph[node_id]["class_type"],
            }
            for node_id, dependents in self._dependents.items()
        }

    def converted_graph(self) -> dict[str, Any]:
        """The graph with the values that ComfyUI would have converted."""
        return {
            node_id: {**node, "inputs": {**node["inputs"], **self._converted[node_id]}}
            if node_id in self._converted
            else node
            for node_id, node in self._graph.items()
        }

    def problems(self) -> list[GraphProblem]:
        """All that was found, for people."""
        found = [faults.cycle(path[:-1], self._class_type(path[0])) for path in self._cycles]
        for node_id, (_, reasons) in self.validated.items():
            class_type = self._class_type(node_id)
            # A ring is told once, not of each of its nodes.
            others = [reason for reason in reasons if reason["type"] != "dependency_cycle"]
            found += [advice.explain(node_id, class_type, reason) for reason in others]
            if len(found) >= MOST_PROBLEMS:
                break
        # What is looked at as a value and as a choice of its node may be found twice.
        return list(dict.fromkeys(found + self._late))[:MOST_PROBLEMS]

    def _class_type(self, node_id: str) -> str | None:
        node = self._graph.get(node_id)
        class_type = node.get("class_type") if isinstance(node, Mapping) else None
        return class_type if isinstance(class_type, str) else None

    def _visit_one(self, root: str) -> None:
        if root in self.validated:
            return
        path: dict[str, _Check] = {root: self._check(root)}  # insertion order is the order of the links
        answer: _Result | None = None
        failure: StumblesError | None = None
        while path:
            node_id = next(reversed(path))
            check = path[node_id]
            try:
                wanted = check.throw(failure) if failure is not None else check.send(answer)
            except StopIteration as stop:
                del path[node_id]
                answer, failure = self._joined(node_id, stop.value), None
                self.validated[node_id] = answer
            except StumblesError as exc:
                del path[node_id]
                answer, failure = None, exc
                self.validated[node_id] = (False, [self._stumbled(None, exc)])
            else:
                answer, failure = self._answer_or_descend(wanted, path)

    def _answer_or_descend(
        self, wanted: str, path: dict[str, _Check]
    ) -> tuple[_Result | None, StumblesError | None]:
        if wanted in self.validated:
            return self.validated[wanted], None
        if wanted in path:
            ids = list(path)
            return self._cycle(ids[ids.index(wanted) :]), None
        if len(path) >= self._generation.longest_chain:
            words = "maximum recursion depth exceeded while calling a Python object"
            return None, StumblesError("RecursionError", words)
        path[wanted] = self._check(wanted)
        return None, None

    def _cycle(self, ring: list[str]) -> _Result:
        """What the first node of a ring is answered when the walk comes back to it."""
        whole = (*ring, ring[0])
        if len(self._cycles) < MOST_PROBLEMS:
            self._cycles.append(whole)
        match self._generation.cycle_faults:
            case CycleFaults.NOTHING:
                # ComfyUI recurses until Python stops it; what stays is "invalid, for no reason given".
                return False, []
            case CycleFaults.DEPENDENCY_CYCLE:
                path = " -> ".join(f"{node_id} ({self._class_type(node_id)})" for node_id in whole)
                for node_id in ring:
                    self.validated[node_id] = (False, [cycle_reason(ring, path, node_id)])
                return self.validated[ring[0]]
        assert_never(self._generation.cycle_faults)

    def _joined(self, node_id: str, found: _Result) -> _Result:
        """What was found in a node, behind what was known of it as part of a ring."""
        valid, reasons = self.validated.get(node_id, (True, []))
        return valid and found[0], reasons + [reason for reason in found[1] if reason not in reasons]

    def _stumbled(self, link: tuple[InputDef, Any] | None, exc: StumblesError) -> Reason:
        """The reason written down for a node whose check raised; `link` is the input that led to it."""
        traceback = [f'  File "execution.py", in validate_inputs\n    {exc.exception_type}\n']
        if link is None:
            extra: Reason = {"exception_type": exc.exception_type, "traceback": traceback}
            return reason_of("exception_during_validation", "Exception when validating node", exc.text, extra)
        definition, value = link
        extra = {
            "input_name": definition.name,
            "input_config": config_of(definition),
            "exception_message": exc.text,
            "exception_type": exc.exception_type,
            "traceback": traceback,
            "linked_node": value,
        }
        return reason_of(
            "exception_during_inner_validation", "Exception when validating inner node", exc.text, extra
        )

    def _check(self, node_id: str) -> _Check:
        """Check one node; yields the id of each node it needs checked, is sent that node's result."""
        node = self._graph[node_id]
        class_type = self._class_type(node_id)
        definition = self._definitions.get(class_type) if class_type is not None else None
        if definition is None:
            return False, []  # said already, of the graph as a whole
        if "inputs" not in node:
            raise StumblesError("KeyError", "'inputs'")
        inputs = node["inputs"]
        if not isinstance(inputs, Mapping):
            raise StumblesError("TypeError", f"'inputs' is of type '{type(inputs).__name__}', not an object")
        reasons: list[Reason] = []
        valid = True
        expected = inputs_for(definition, inputs)
        for wanted in expected:
            if wanted.section is Section.HIDDEN:
                continue
            if wanted.name not in inputs:
                if wanted.section is Section.REQUIRED:
                    reasons.append(missing(wanted, of_dynamic=expected is not definition.inputs))
                continue
            value = inputs[wanted.name]
            if not isinstance(value, list | tuple):
                reasons += self._check_value(node_id, definition, wanted, value)
                continue
            reason = self._check_link(wanted, value)
            if reason is not None:
                reasons.append(reason)
                continue
            try:
                result = yield value[0]
            except StumblesError as exc:
                self.validated[value[0]] = (False, [self._stumbled((wanted, value), exc)])
                valid = False
                continue
            valid = valid and result is not None and result[0]
        self._late += open_choices(node_id, definition, inputs, self._check_late_link)
        if self._input_file_exists is not None:
            reasons += file_reasons(definition, inputs, self._input_file_exists)
        return valid and not reasons, reasons

    def _check_link(self, wanted: InputDef, value: Sequence[Any]) -> Reason | None:
        if len(value) != 2:
            message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
            extra = {"input_name": wanted.name, "input_config": config_of(wanted), "received_value": value}
            return reason_of("bad_linked_input", message, wanted.name, extra)
        source = self._linked_definition(value[0])
        if source is None:
            return None
        received = slot_of(source.outputs, value[1]).kind
        if types_fit(received, wanted.kind):
            return None
        details = f"{wanted.name}, received_type({received}) mismatch input_type({wanted.kind})"
        extra = {
            "input_name": wanted.name,
            "input_config": config_of(wanted),
            "received_type": received,
            "linked_node": value,
        }
        return reason_of("return_type_mismatch", "Return type mismatch between linked nodes", details, extra)

    def _check_late_link(self, wanted: InputDef, value: Sequence[Any]) -> Reason | None:
        """Check a link that the server follows only when the node runs."""
        try:
            return self._check_link(wanted, value)
        except StumblesError as exc:
            return self._stumbled((wanted, value), exc)

    def _linked_definition(self, node_id: Any) -> NodeDef | None:
        """The definition of a linked node; None when its class is unknown (said already)."""
        if isinstance(node_id, list | dict):
            raise StumblesError("TypeError", f"unhashable type: '{type(node_id).__name__}'")
        if node_id not in self._graph or not isinstance(node_id, str):
            raise StumblesError("KeyError", repr(node_id))
        class_type = self._class_type(node_id)
        return self._definitions.get(class_type) if class_type is not None else None

    def _check_value(self, node_id: str, node: NodeDef, wanted: InputDef, value: Any) -> list[Reason]:
        if isinstance(value, Mapping) and "__value__" in value:
            value = value["__value__"]
        convert = CONVERSIONS.get(wanted.kind)
        if convert is not None:
            try:
                value = convert(value)
            except (TypeError, ValueError, OverflowError) as exc:
                return [not_convertible(wanted, value, str(exc))]
        self._converted.setdefault(node_id, {})[wanted.name] = value
        if checks_itself(node, wanted):
            return []
        reason = range_reason(wanted, value) or choice_reason(wanted, value, self._generation)
        if reason is None:
            self._note_if_not_finite(node_id, node, wanted, value)
            return []
        if reason["type"] == "value_not_in_list" and self._accepts_any_choice(wanted):
            self._late.append(advice.explain(node_id, node.class_type, reason))
            return []
        return [reason]

    def _accepts_any_choice(self, wanted: InputDef) -> bool:
        late = self._input_file_exists is None and wanted.is_upload
        unchecked = self._generation.unchecked_choices is UncheckedChoices.V3 and not wanted.is_old_combo
        return late or unchecked

    def _note_if_not_finite(self, node_id: str, node: NodeDef, wanted: InputDef, value: Any) -> None:
        # NaN is neither below a minimum nor above a maximum, so ComfyUI lets it pass.
        if isinstance(value, float) and not math.isfinite(value):
            self._late.append(
                GraphProblem(
                    kind="not_finite",
                    message=advice.NOT_FINITE,
                    node_id=node_id,
                    class_type=node.class_type,
                    input_name=wanted.name,
                )
            )
