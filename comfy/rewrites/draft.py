"""A graph while one rewrite works on it: every write is held against the installed nodes, and noted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

from comfy.graphs.links import class_of, inputs_of, is_link
from comfy.graphs.required import running_nodes
from comfy.graphs.values import literal
from comfy.node_defs.definitions import InputDef, NodeDef, Section
from comfy.node_defs.node_classes import base_class
from comfy.rewrites.change import Change, ChangeKind
from comfy.rewrites.offers import fault_of, offered_input
from comfy.rewrites.options import RewriteOptions
from comfy.rewrites.room import NotKnown, Room, room_for
from comfy.rewrites.site import Site

CLASS: str = "class_type"


class GaveUp(Exception):
    """A rewrite stops in the middle: what it wrote does not count; the text says why."""


class Draft:
    """A copy that grows with what is written: the graph it was made of stays as it is.

    `changes` says what was written, `notes` what could not be, `suggestions` what a person should think of.
    """

    def __init__(
        self,
        graph: Mapping[str, Any],
        *,
        site: Site,
        options: RewriteOptions,
        kind: ChangeKind,
        rewrite: str,
        reading: Reading | None = None,
    ) -> None:
        """Begin with the graph as it is.

        Args:
            reading: what somebody has found out of it already.
        """
        self.reading = reading or Reading(graph, site)
        self.site = site
        self.options = options
        self.changes: list[Change] = []
        self.notes: list[str] = []
        self.suggestions: list[str] = []
        self._graph: dict[str, Any] = dict(graph)
        self._owned: set[str] = set()  # nodes that are ours to write to
        self._runs = (0, self.reading.runs)  # changes by then, and what ran
        self._kind = kind
        self._rewrite = rewrite

    @property
    def graph(self) -> Mapping[str, Any]:
        """As it is by now."""
        return self._graph

    def running(self, *classes: str) -> Iterator[str]:
        """Ids of the nodes that feed an output, in the graph's order.

        Args:
            classes: only of these, whatever suffix MultiGPU gives them; none: all.
        """
        if self._runs[0] != len(self.changes):
            self._runs = len(self.changes), running_nodes(self._graph, self.site.definitions)
        runs = self._runs[1]
        for node_id in tuple(self._graph):
            if node_id in runs and (not classes or base_class(self.class_of(node_id)) in classes):
                yield node_id

    def class_of(self, node_id: str) -> str:
        """A node's class."""
        return class_of(self._graph, node_id) or ""

    def inputs(self, node_id: str) -> Mapping[str, Any]:
        """A node's inputs."""
        return inputs_of(self._graph, node_id)

    def value(self, node_id: str, input_name: str) -> Any:
        """What an input gets, through links to nodes that only hold or calculate a value; None: not known."""
        return literal(self._graph, node_id, input_name)

    def has_input(self, node_id: str, input_name: str) -> bool:
        """Whether the installed node has this input."""
        return self._offered(node_id, input_name) is not None

    def consumers(self, node_id: str, slot: int | None = None) -> list[tuple[str, str]]:
        """Node and input of all that draws on a node, or on one of its outputs."""
        return [
            (other, name)
            for other in self._graph
            for name, value in inputs_of(self._graph, other).items()
            if is_link(value) and value[0] == node_id and slot in (None, value[1])
        ]

    def set(self, node_id: str, input_name: str, value: Any, why: str) -> bool:
        """Write a literal or a link; False, with a note, where the installed node would not take it.

        A value that stands there already, or behind a link, is no change.
        """
        if self.inputs(node_id).get(input_name) == value or self._stands(node_id, input_name, value):
            return True
        fault = self._fault(node_id, input_name, value)
        if fault is not None:
            self.notes.append(f"node {node_id} ({self.class_of(node_id)}): {fault}")
            return False
        self._write(node_id, input_name, value, why)
        return True

    def set_by_definitions(
        self, values: Callable[[NodeDef, Mapping[str, Any]], Mapping[str, Any]], why: str
    ) -> None:
        """Set what is to be otherwise at each node of a class that is known here.

        Nodes that do not run too: ComfyUI checks the branch that a switch leaves out.

        Args:
            values: given a node's definition and inputs: the inputs to set.
        """
        for node_id in tuple(self._graph):
            node = self._definition(self.class_of(node_id))
            for name, value in values(node, self.inputs(node_id)).items() if node is not None else ():
                self.set(node_id, name, value, why)

    def take_away(self, node_id: str, input_name: str, why: str) -> None:
        """Remove an input, if it is there."""
        if input_name in self.inputs(node_id):
            old = self._own(node_id).pop(input_name)
            self._note(node_id, input_name, old, None, why)

    def add(self, class_type: str, inputs: Mapping[str, Any], title: str, why: str) -> str | None:
        """Add a node; its id, or None with a note where the installed class would not take these inputs.

        Inputs that it requires and that are not given take their defaults.
        """
        filled = self._filled(class_type, inputs)
        if filled is None:
            return None
        node_id = self._free_id()
        self._graph[node_id] = {CLASS: class_type, "inputs": filled, "_meta": {"title": title}}
        self._owned.add(node_id)
        self._note(node_id, CLASS, None, class_type, why)
        for name, value in filled.items():
            self._note(node_id, name, None, value, why)
        return node_id

    def become(self, node_id: str, class_type: str, inputs: Mapping[str, Any], why: str) -> bool:
        """Turn a node into one of another class with these inputs; False as `add`."""
        filled = self._filled(class_type, inputs)
        if filled is None:
            return False
        old = self._graph[node_id]
        self._note(node_id, CLASS, old[CLASS], class_type, why)
        for name in old["inputs"]:
            if name not in filled:
                self._note(node_id, name, old["inputs"][name], None, why)
        for name, value in filled.items():
            if name not in old["inputs"] or old["inputs"][name] != value:
                self._note(node_id, name, old["inputs"].get(name), value, why)
        self._graph[node_id] = {**old, CLASS: class_type, "inputs": filled}
        self._owned.add(node_id)
        return True

    def drop(self, node_id: str, why: str) -> None:
        """Remove a node on which nothing draws (any more)."""
        old = self._graph.pop(node_id)
        self._note(node_id, CLASS, old[CLASS], None, why)

    def relink(self, node_id: str, slot: int, source: list[Any], why: str, *, but: str = "") -> None:
        """Have all that draws on an output draw on `source` instead.

        Args:
            but: the id of a node that goes on drawing on it.
        """
        for other, name in self.consumers(node_id, slot):
            if other != but:
                self._write(other, name, list(source), why)

    def suggest(self, text: str) -> None:
        """Say what a person should think of; nothing is done about it."""
        self.suggestions.append(text)

    def note(self, node_id: str, text: str) -> None:
        """Say of a node why it stays as it is."""
        self.notes.append(f"node {node_id} ({self.class_of(node_id)}): {text}")

    def _stands(self, node_id: str, input_name: str, value: Any) -> bool:
        if isinstance(value, list) or not is_link(self.inputs(node_id).get(input_name)):
            return False
        return bool(self.value(node_id, input_name) == value)

    def _definition(self, class_type: str) -> NodeDef | None:
        return self.site.definitions.get(class_type)

    def _offered(self, node_id: str, input_name: str) -> InputDef | None:
        definition = self._definition(self.class_of(node_id))
        return None if definition is None else offered_input(definition, self.inputs(node_id), input_name)

    def _fault(self, node_id: str, input_name: str, value: Any) -> str | None:
        class_type = self.class_of(node_id)
        definition = self._definition(class_type)
        if definition is None:
            return "this class is not known here"
        wanted = self._offered(node_id, input_name)
        if wanted is None:
            return f"the installed node has no input {input_name}"
        return None if is_link(value) else fault_of(wanted, value)

    def _filled(self, class_type: str, inputs: Mapping[str, Any]) -> dict[str, Any] | None:
        definition = self._definition(class_type)
        if definition is None:
            self.notes.append(f"{class_type} is not installed")
            return None
        filled = dict(inputs)
        for wanted in definition.of(Section.REQUIRED):
            if wanted.name in filled:
                continue
            default = wanted.default if wanted.default is not None else next(iter(wanted.choices or ()), None)
            if default is None:
                self.notes.append(f"{class_type} as it is installed wants an input {wanted.name}")
                return None
            filled[wanted.name] = default
        for name, value in filled.items():
            offered = offered_input(definition, filled, name)
            fault = f"has no input {name}" if offered is None else None
            if offered is not None and not is_link(value):
                fault = fault_of(offered, value)
            if fault is not None:
                self.notes.append(f"{class_type} as it is installed: {fault}")
                return None
        return filled

    def _write(self, node_id: str, input_name: str, value: Any, why: str) -> None:
        inputs = self._own(node_id)
        old = inputs.get(input_name)
        inputs[input_name] = value
        self._note(node_id, input_name, old, value, why)

    def _own(self, node_id: str) -> dict[str, Any]:
        """The node's inputs, ours to write to."""
        if node_id not in self._owned:
            node = self._graph[node_id]
            self._graph[node_id] = {**node, "inputs": dict(node["inputs"])}
            self._owned.add(node_id)
        inputs: dict[str, Any] = self._graph[node_id]["inputs"]
        return inputs

    def _note(self, node_id: str, input_name: str, old: Any, new: Any, why: str) -> None:
        self.changes.append(
            Change(
                node_id=node_id,
                input_name=input_name,
                old=old,
                new=new,
                why=why,
                kind=self._kind,
                rewrite=self._rewrite,
            )
        )

    def _free_id(self) -> str:
        """An id that depends on the graph alone, so that a warm ComfyUI finds its results again."""
        number = max((int(node_id) for node_id in self._graph if node_id.isdecimal()), default=0)
        while str(number) in self._graph:
            number += 1
        return str(number)


class Reading:
    """What is found out of one graph, once for all rewrites that find it as it is."""

    def __init__(self, graph: Mapping[str, Any], site: Site) -> None:
        self._graph = graph
        self._site = site
        self._room: Room | NotKnown | None = None

    @cached_property
    def runs(self) -> set[str]:
        """The ids of the nodes that run."""
        return running_nodes(self._graph, self._site.definitions)

    def room(self) -> Room:
        """How the models lie on the card.

        Raises:
            NotKnown: the card, a model's size or the clip's size is not known.
        """
        if self._room is None:
            try:
                self._room = room_for(self._graph, self._site)
            except NotKnown as exc:
                self._room = exc
        if isinstance(self._room, NotKnown):
            raise self._room
        return self._room
