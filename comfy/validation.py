"""Judge an API-format graph the way ComfyUI does, without a ComfyUI.

`validate` is pure: it looks at the graph and at node definitions and at nothing else. Its `Verdict` says two
things. `error` and `node_errors` are what a server of the given dialect would answer, to the letter where it
matters. `problems` is for people, and stricter: it also names what a server would only find out at run time.

The graph may come from anybody. Nothing here recurses, so a chain of thousands of nodes is judged like any
other, and no value makes it raise.

Source: ComfyUI ``execution.py``, ``validate_prompt`` and ``validate_inputs``, and answers of real servers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from comfy import advice
from comfy.errors import GraphProblem
from comfy.nodedefs import ANY_TYPE, COMBO_TYPE, Definitions, Dialect, InputDef, NodeDef, OutputDef, Section

Reason = dict[str, Any]  # ComfyUI's own: type, message, details, extra_info

# Above this many choices ComfyUI does not send the list back.
LONGEST_LIST_SENT_BACK: Final = 20

# A person reads the first few; a graph made to hurt could have thousands, each with a costly hint.
MOST_PROBLEMS: Final = 100

_CONVERSIONS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "INT": int,
    "FLOAT": float,
    "STRING": str,
    "BOOLEAN": bool,
}

# Classes that check a file name themselves instead of looking it up in the list: input, their words.
_FILE_CHECKS: Final[Mapping[str, tuple[str, str]]] = {
    "LoadImage": ("image", "Invalid image file: {}"),
    "LoadImageMask": ("image", "Invalid image file: {}"),
    "LoadImageOutput": ("image", "Invalid image file: {}"),
    "LoadVideo": ("file", "Invalid video file: {}"),
    "LoadAudio": ("audio", "Invalid audio file: {}"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is to be said of one graph."""

    status: int  # what POST /prompt answers: 200, 400, or 500 where ComfyUI itself stumbles
    error: Mapping[str, Any] | None  # ComfyUI's `error` object; None when it would queue the graph
    node_errors: Mapping[str, Any]  # ComfyUI's; not empty in a 200 when only some outputs would run
    outputs: tuple[str, ...]  # ids of the output nodes that would run
    problems: tuple[GraphProblem, ...]  # everything that is wrong, for people; empty means good
    graph: Mapping[str, Any]  # as ComfyUI would run it: "20" for an INT has become 20

    @property
    def ok(self) -> bool:
        """Whether nothing at all is wrong."""
        return not self.problems

    @property
    def accepted(self) -> bool:
        """Whether the server would queue it, if only in part."""
        return self.status == 200

    def rejection(self) -> dict[str, Any]:
        """The JSON body of ComfyUI's 400."""
        return {"error": self.error, "node_errors": self.node_errors}


def validate(
    graph: Any,
    definitions: Definitions,
    *,
    dialect: Dialect = Dialect.V0_12_1,
    input_file_exists: Callable[[str], bool] | None = None,
    targets: Collection[str] | None = None,
) -> Verdict:
    """Judge `graph` by the node definitions of a server.

    Args:
        graph: node id -> ``{"class_type": ..., "inputs": {...}}``; it is not changed.
        input_file_exists: tells whether an input file (``"start.png"``, ``"sub/start.png [input]"``) is
            there; without it the names of input files are not judged, because they may be uploaded later.
        targets: ids of the output nodes to run (``partial_execution_targets``); None means all.
    """
    if not isinstance(graph, Mapping):
        problem = GraphProblem(kind="invalid_prompt", message=advice.NOT_A_GRAPH)
        return _verdict(status=500, problems=[problem])
    status, error, problems = _judge_structure(graph, definitions, dialect)
    walk = _Walk(graph, definitions, dialect, input_file_exists)
    outputs = _output_ids(graph, definitions, targets)
    # Without an output node there is nothing to start from, but a person wants to hear the rest too.
    if outputs:
        walk.visit_outputs(outputs)
    else:
        walk.visit(graph)
    problems += walk.problems()
    if not outputs and not any(problem.kind in _HIDES_OUTPUTS for problem in problems):
        problems.insert(0, GraphProblem(kind="prompt_no_outputs", message=advice.no_outputs(graph)))
    if error is not None or status == 500:
        return _verdict(status=status, error=error, problems=problems, graph=graph)
    if not outputs:
        error = _error("prompt_no_outputs", "Prompt has no outputs")
        return _verdict(status=400, error=error, problems=problems, graph=graph)
    return _judge_outputs(walk, outputs, problems)


# Kinds of problems that are reason enough for a graph to show no output node.
_HIDES_OUTPUTS: Final = frozenset(
    {"ui_format_workflow", "missing_node_type", "missing_class_type", "invalid_node"}
)


def _judge_outputs(walk: _Walk, outputs: tuple[str, ...], problems: list[GraphProblem]) -> Verdict:
    good = tuple(node_id for node_id in outputs if walk.validated[node_id][0])
    error: Reason | None = None
    if not good:
        reasons = (reason for node_id in outputs for reason in walk.validated[node_id][1])
        details = "\n".join(f"{reason['message']}: {reason['details']}" for reason in reasons)
        error = _error("prompt_outputs_failed_validation", "Prompt outputs failed validation", details)
    return _verdict(
        status=200 if good else 400,
        error=error,
        node_errors=walk.node_errors(outputs),
        outputs=good,
        problems=problems,
        graph=walk.converted_graph(),
    )


def _verdict(
    *,
    status: int,
    problems: Iterable[GraphProblem],
    error: Mapping[str, Any] | None = None,
    node_errors: Mapping[str, Any] | None = None,
    outputs: tuple[str, ...] = (),
    graph: Mapping[str, Any] | None = None,
) -> Verdict:
    return Verdict(
        status=status,
        error=error,
        node_errors=node_errors or {},
        outputs=outputs,
        problems=tuple(problems),
        graph=graph or {},
    )


def _error(kind: str, message: str, details: str = "", extra_info: Mapping[str, Any] | None = None) -> Reason:
    return {"type": kind, "message": message, "details": details, "extra_info": dict(extra_info or {})}


# --- the graph as a whole -----------------------------------------------------------------------------------


def _judge_structure(
    graph: Mapping[Any, Any], definitions: Definitions, dialect: Dialect
) -> tuple[int, Reason | None, list[GraphProblem]]:
    """What ComfyUI says of the first node that is no node or of no known class, and all such for people."""
    if isinstance(graph.get("nodes"), list) and isinstance(graph.get("links"), list):
        problems = [GraphProblem(kind="ui_format_workflow", message=advice.UI_FORMAT)]
    else:
        found = (_node_problem(node_id, node, definitions) for node_id, node in graph.items())
        problems = list(islice((problem for problem in found if problem is not None), MOST_PROBLEMS))
    for node_id, node in graph.items():
        status, error = _structure_answer(node_id, node, definitions, dialect)
        if status != 200:
            return status, error, problems
    return 200, None, problems


def _node_problem(node_id: Any, node: Any, definitions: Definitions) -> GraphProblem | None:
    if not isinstance(node_id, str):
        return GraphProblem(kind="invalid_node", message=advice.id_is_no_string(node_id))
    if not isinstance(node, Mapping):
        return GraphProblem(kind="invalid_node", node_id=node_id, message=advice.NO_NODE)
    if "class_type" not in node:
        return GraphProblem(kind="missing_class_type", node_id=node_id, message=advice.NO_CLASS_TYPE)
    class_type = node["class_type"]
    if isinstance(class_type, str) and class_type in definitions:
        return None
    return GraphProblem(
        kind="missing_node_type",
        node_id=node_id,
        class_type=class_type if isinstance(class_type, str) else None,
        message=advice.unknown_class(class_type, definitions),
    )


def _structure_answer(
    node_id: Any, node: Any, definitions: Definitions, dialect: Dialect
) -> tuple[int, Reason | None]:
    if not isinstance(node, Mapping):
        # The old server asks `"class_type" in node`, which texts and lists answer too; the new calls .get.
        if dialect is Dialect.V0_3_64 and isinstance(node, str | list) and "class_type" not in node:
            return 400, _no_class_type(node_id, {}, dialect)
        return 500, None
    if "class_type" not in node:
        return 400, _no_class_type(node_id, node, dialect)
    class_type = node["class_type"]
    if isinstance(class_type, list | dict):
        return 500, None
    if class_type in definitions:
        return 200, None
    return 400, _unknown_class(node_id, node, dialect)


def _unknown_class(node_id: Any, node: Mapping[str, Any], dialect: Dialect) -> Reason:
    class_type = node["class_type"]
    details = f"Node ID '#{node_id}'"
    if dialect is Dialect.V0_3_64:
        message = f"Cannot execute because node {class_type} does not exist."
        return _error("invalid_prompt", message, details)
    title = _title(node, class_type)
    extra = {"node_id": node_id, "class_type": class_type, "node_title": title}
    message = f"Node '{title}' not found. The custom node may not be installed."
    return _error("missing_node_type", message, details, extra)


def _no_class_type(node_id: Any, node: Mapping[str, Any], dialect: Dialect) -> Reason:
    details = f"Node ID '#{node_id}'"
    if dialect is Dialect.V0_3_64:
        message = "Cannot execute because a node is missing the class_type property."
        return _error("invalid_prompt", message, details)
    title = _title(node)
    named = title or f"ID #{node_id}"
    message = f"Node '{named}' has no class_type. The workflow may be corrupted or a custom node is missing."
    extra = {"node_id": node_id, "class_type": None, "node_title": title}
    return _error("missing_node_type", message, details, extra)


def _title(node: Mapping[str, Any], default: Any = None) -> Any:
    meta = node.get("_meta")
    return meta.get("title", default) if isinstance(meta, Mapping) else default


def _output_ids(
    graph: Mapping[Any, Any], definitions: Definitions, targets: Collection[str] | None
) -> tuple[str, ...]:
    found = []
    for node_id, node in graph.items():
        class_type = node.get("class_type") if isinstance(node, Mapping) else None
        definition = definitions.get(class_type) if isinstance(class_type, str) else None
        wanted = targets is None or node_id in targets
        if isinstance(node_id, str) and definition is not None and definition.output_node and wanted:
            found.append(node_id)
    return tuple(found)


# --- node by node -------------------------------------------------------------------------------------------


class _StumblesError(Exception):
    """ComfyUI's own code would raise here; the node that links to this one gets the blame written down."""

    def __init__(self, exception_type: str, text: str) -> None:
        super().__init__(text)
        self.exception_type = exception_type
        self.text = text


_Result = tuple[bool, list[Reason]]
_Check = Generator[str, _Result | None, _Result]


class _Walk:
    """The depth-first walk from the outputs that ComfyUI does by recursion, on a stack of its own."""

    def __init__(
        self,
        graph: Mapping[Any, Any],
        definitions: Definitions,
        dialect: Dialect,
        input_file_exists: Callable[[str], bool] | None,
    ) -> None:
        self.validated: dict[str, _Result] = {}
        self._graph = graph
        self._definitions = definitions
        self._dialect = dialect
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

    def node_errors(self, outputs: Collection[str]) -> dict[str, Any]:
        """ComfyUI's `node_errors`."""
        return {
            node_id: {
                "errors": self.validated[node_id][1],
                "dependent_outputs": [output for output in dependents if output in outputs],
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
        found = [advice.cycle(path) for path in self._cycles]
        for node_id, (_, reasons) in self.validated.items():
            class_type = self._class_type(node_id)
            found += [advice.explain(node_id, class_type, reason) for reason in reasons]
            if len(found) >= MOST_PROBLEMS:
                break
        return (found + self._late)[:MOST_PROBLEMS]

    def _class_type(self, node_id: str) -> str | None:
        node = self._graph.get(node_id)
        class_type = node.get("class_type") if isinstance(node, Mapping) else None
        return class_type if isinstance(class_type, str) else None

    def _visit_one(self, root: str) -> None:
        if root in self.validated:
            return
        path: dict[str, _Check] = {root: self._check(root)}  # insertion order is the order of the links
        answer: _Result | None = None
        failure: _StumblesError | None = None
        while path:
            node_id = next(reversed(path))
            check = path[node_id]
            try:
                wanted = check.throw(failure) if failure is not None else check.send(answer)
            except StopIteration as stop:
                del path[node_id]
                answer, failure = stop.value, None
                self.validated[node_id] = stop.value
            except _StumblesError as exc:
                del path[node_id]
                answer, failure = None, exc
                self.validated[node_id] = (False, [self._stumbled(None, exc)])
            else:
                answer, failure = self._answer_or_descend(wanted, path)

    def _answer_or_descend(
        self, wanted: str, path: dict[str, _Check]
    ) -> tuple[_Result | None, _StumblesError | None]:
        if wanted in self.validated:
            return self.validated[wanted], None
        if wanted in path:
            if len(self._cycles) < MOST_PROBLEMS:
                ids = list(path)
                self._cycles.append((*ids[ids.index(wanted) :], wanted))
            # ComfyUI recurses until Python stops it; what stays of that is "invalid, for no reason given".
            return (False, []), None
        path[wanted] = self._check(wanted)
        return None, None

    def _stumbled(self, link: tuple[InputDef, Any] | None, exc: _StumblesError) -> Reason:
        """The reason written down for a node whose check raised; `link` is the input that led to it."""
        traceback = [f'  File "execution.py", in validate_inputs\n    {exc.exception_type}\n']
        if link is None:
            extra: Reason = {"exception_type": exc.exception_type, "traceback": traceback}
            return _error("exception_during_validation", "Exception when validating node", exc.text, extra)
        definition, value = link
        extra = {
            "input_name": definition.name,
            "input_config": _config(definition),
            "exception_message": exc.text,
            "exception_type": exc.exception_type,
            "traceback": traceback,
            "linked_node": value,
        }
        return _error(
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
            raise _StumblesError("KeyError", "'inputs'")
        inputs = node["inputs"]
        if not isinstance(inputs, Mapping):
            raise _StumblesError("TypeError", f"'inputs' is of type '{type(inputs).__name__}', not an object")
        reasons: list[Reason] = []
        valid = True
        for wanted in definition.inputs:
            if wanted.section is Section.HIDDEN:
                continue
            if wanted.name not in inputs:
                if wanted.section is Section.REQUIRED:
                    reasons.append(_missing(wanted))
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
            except _StumblesError as exc:
                self.validated[value[0]] = (False, [self._stumbled((wanted, value), exc)])
                valid = False
                continue
            valid = valid and result is not None and result[0]
        if self._input_file_exists is not None:
            reasons += _check_file(definition, inputs, self._input_file_exists)
        return valid and not reasons, reasons

    def _check_link(self, wanted: InputDef, value: Sequence[Any]) -> Reason | None:
        if len(value) != 2:
            message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
            extra = {"input_name": wanted.name, "input_config": _config(wanted), "received_value": value}
            return _error("bad_linked_input", message, wanted.name, extra)
        source = self._linked_definition(value[0])
        if source is None:
            return None
        received = _slot(source.outputs, value[1]).kind
        if types_fit(received, wanted.kind):
            return None
        details = f"{wanted.name}, received_type({received}) mismatch input_type({wanted.kind})"
        extra = {
            "input_name": wanted.name,
            "input_config": _config(wanted),
            "received_type": received,
            "linked_node": value,
        }
        return _error("return_type_mismatch", "Return type mismatch between linked nodes", details, extra)

    def _linked_definition(self, node_id: Any) -> NodeDef | None:
        """The definition of a linked node; None when its class is unknown (said already)."""
        if isinstance(node_id, list | dict):
            raise _StumblesError("TypeError", f"unhashable type: '{type(node_id).__name__}'")
        if node_id not in self._graph or not isinstance(node_id, str):
            raise _StumblesError("KeyError", repr(node_id))
        class_type = self._class_type(node_id)
        return self._definitions.get(class_type) if class_type is not None else None

    def _check_value(self, node_id: str, node: NodeDef, wanted: InputDef, value: Any) -> list[Reason]:
        if isinstance(value, Mapping) and "__value__" in value:
            value = value["__value__"]
        convert = _CONVERSIONS.get(wanted.kind)
        if convert is not None:
            try:
                value = convert(value)
            except (TypeError, ValueError, OverflowError) as exc:
                return [_not_convertible(wanted, value, str(exc))]
        self._converted.setdefault(node_id, {})[wanted.name] = value
        if _checks_itself(node, wanted):
            return []
        reason = _check_range(wanted, value) or _check_choice(wanted, value)
        if reason is None:
            self._note_if_not_finite(node_id, node, wanted, value)
            return []
        if reason["type"] == "value_not_in_list" and self._accepts_any_choice(wanted):
            self._late.append(advice.explain(node_id, node.class_type, reason))
            return []
        return [reason]

    def _accepts_any_choice(self, wanted: InputDef) -> bool:
        # Old servers look only at choices that are spelled as the type itself.
        late = self._input_file_exists is None and wanted.is_upload
        return late or (self._dialect is Dialect.V0_3_64 and not wanted.is_old_combo)

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


# --- value by value -----------------------------------------------------------------------------------------


def types_fit(received: str, wanted: str) -> bool:
    """Whether an output of type `received` may be linked to an input of type `wanted`.

    Either may be a list of types with commas; ``*`` fits everything.

    Source: ComfyUI ``comfy_execution/validation.py``.
    """
    if received == wanted:
        return True
    given = {part.strip() for part in received.split(",")}
    taken = {part.strip() for part in wanted.split(",")}
    return ANY_TYPE in given or ANY_TYPE in taken or bool(given & taken)


def _config(wanted: InputDef) -> list[Any]:
    """An input's definition as ComfyUI sends it back in an error: always type and options."""
    kind = list(wanted.choices or ()) if wanted.is_old_combo else wanted.kind
    return [kind, dict(wanted.options)]


def _slot(outputs: tuple[OutputDef, ...], index: Any) -> OutputDef:
    if not isinstance(index, int):
        raise _StumblesError(
            "TypeError", f"tuple indices must be integers or slices, not {type(index).__name__}"
        )
    try:
        return outputs[index]
    except IndexError:
        raise _StumblesError("IndexError", "tuple index out of range") from None


def _missing(wanted: InputDef) -> Reason:
    extra = {"input_name": wanted.name}
    return _error("required_input_missing", "Required input is missing", wanted.name, extra)


def _not_convertible(wanted: InputDef, value: Any, why: str) -> Reason:
    extra = {
        "input_name": wanted.name,
        "input_config": _config(wanted),
        "received_value": value,
        "exception_message": why,
    }
    message = f"Failed to convert an input value to a {wanted.kind} value"
    return _error("invalid_input_type", message, f"{wanted.name}, {value}, {why}", extra)


def _checks_itself(node: NodeDef, wanted: InputDef) -> bool:
    return _FILE_CHECKS.get(node.class_type, (None,))[0] == wanted.name


def _check_range(wanted: InputDef, value: Any) -> Reason | None:
    extra = {"input_name": wanted.name, "input_config": _config(wanted), "received_value": value}
    try:
        if wanted.minimum is not None and value < wanted.minimum:
            message = f"Value {value} smaller than min of {wanted.minimum}"
            return _error("value_smaller_than_min", message, wanted.name, extra)
        if wanted.maximum is not None and value > wanted.maximum:
            message = f"Value {value} bigger than max of {wanted.maximum}"
            return _error("value_bigger_than_max", message, wanted.name, extra)
    except TypeError as exc:
        raise _StumblesError("TypeError", str(exc)) from None
    return None


def _check_choice(wanted: InputDef, value: Any) -> Reason | None:
    if wanted.kind != COMBO_TYPE or wanted.choices is None or value in wanted.choices:
        return None
    too_long = len(wanted.choices) > LONGEST_LIST_SENT_BACK
    listed = f"(list of length {len(wanted.choices)})" if too_long else str(list(wanted.choices))
    extra = {
        "input_name": wanted.name,
        "input_config": None if too_long else _config(wanted),
        "received_value": value,
    }
    details = f"{wanted.name}: '{value}' not in {listed}"
    return _error("value_not_in_list", "Value not in list", details, extra)


def _check_file(node: NodeDef, inputs: Mapping[str, Any], exists: Callable[[str], bool]) -> list[Reason]:
    name, words = _FILE_CHECKS.get(node.class_type, ("", ""))
    value = inputs.get(name)
    if value is None or isinstance(value, list) or exists(str(value)):
        return []
    details = f"{name} - {words.format(value)}"
    message = "Custom validation failed for node"
    return [_error("custom_validation_failed", message, details, {"input_name": name})]
