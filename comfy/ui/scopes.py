"""The levels of a workflow: its own sheet, and one level for each place where a subgraph is used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from comfy.ui.document import INPUT_NODE, MOST_NODES, OUTPUT_NODE, Document, Mode, Node, Sheet, Slot, fail
from comfy.ui.everywhere import with_sent_links

LONGEST_NAME: Final = 200  # of a Set node, as far as names are compared
DEEPEST: Final = 32  # subgraphs within subgraphs; real ones nest three deep


@dataclass(kw_only=True, eq=False)
class Scope:
    """One use of a sheet. What is looked up for each link is worked out once: a sheet may have thousands."""

    sheet: Sheet
    path: tuple[str, ...] = ()  # ids of the nodes that lead here
    parent: Scope | None = None
    instance: Node | None = None  # the node of `parent` that stands for this level
    children: dict[str, Scope] = field(default_factory=dict)

    def id_of(self, node: Node) -> str:
        """The id that a node of this level has in the graph that runs."""
        return ":".join((*self.path, node.node_id))

    @cached_property
    def promoted(self) -> dict[int, tuple[str, str]]:
        """The widget inside that each of a subgraph's inputs shows on its face: node and name, by number."""
        found: dict[int, tuple[str, str]] = {}
        for wire in self.sheet.wires.values():
            widget = self._widget_at(wire.target_id, wire.target_slot)
            if wire.origin_id == INPUT_NODE and widget is not None:
                found.setdefault(wire.origin_slot, (wire.target_id, widget))
        return found

    @cached_property
    def face(self) -> tuple[str, ...]:
        """Names of a subgraph's inputs that lead to a widget inside, and so have one on its face."""
        return tuple(each.name for number, each in enumerate(self.sheet.inputs) if number in self.promoted)

    def _widget_at(self, node_id: str, slot: int) -> str | None:
        node = self.sheet.nodes.get(node_id)
        return node.inputs[slot].widget if node is not None and 0 <= slot < len(node.inputs) else None

    @cached_property
    def shown(self) -> dict[str, Any]:
        """The values on a subgraph's face, by the names of its inputs."""
        host = self.instance
        if host is None:
            return {}
        if host.named:
            return dict(host.named)
        values = host.values if isinstance(host.values, list | tuple) else ()
        # Newer files say on the subgraph's own node which of its inputs are widgets.
        told = tuple(each.name for each in host.inputs if each.widget is not None)
        names = told if len(told) == len(values) else self.face
        if len(values) not in (0, len(names)) and len(values) == len(host.proxies):
            names = tuple(widget if inner == "-1" else "" for inner, widget in host.proxies)
        return dict(zip(names, values, strict=False))

    @cached_property
    def given(self) -> dict[str, Slot]:
        """The inputs of a subgraph that its user linked, by name."""
        slots = self.instance.inputs if self.instance is not None else ()
        return {each.name: each for each in reversed(slots) if each.link is not None}

    @cached_property
    def results(self) -> dict[int, str]:
        """The links that a subgraph's outputs come from, by number."""
        wires = self.sheet.wires.values()
        return {
            each.target_slot: each.link_id for each in reversed(list(wires)) if each.target_id == OUTPUT_NODE
        }

    @cached_property
    def fed_by(self) -> dict[str, list[tuple[str, str]]]:
        """What each node of the level is linked into: node and input, by the node's id."""
        found: dict[str, list[tuple[str, str]]] = {}
        for node in self.sheet.nodes.values():
            for slot in node.inputs:
                wire = self.sheet.wires.get(slot.link) if slot.link is not None else None
                if wire is not None:
                    found.setdefault(wire.origin_id, []).append((self.id_of(node), slot.name))
        return found

    @cached_property
    def by_first_value(self) -> dict[tuple[str, str], Node]:
        """Nodes by class and the text of their first widget: how a Set node is found by its name."""
        return {
            (node.class_type, str(node.values[0])[:LONGEST_NAME]): node
            for node in reversed(list(self.sheet.nodes.values()))
            if isinstance(node.values, list) and node.values
        }

    def walk(self) -> Iterator[tuple[Scope, Node]]:
        """Every node of this level and below, in the order of the file."""
        levels = [(self, iter(self.sheet.nodes.values()))]
        while levels:
            scope, nodes = levels[-1]
            node = next(nodes, None)
            if node is None:
                levels.pop()
                continue
            yield scope, node
            child = scope.children.get(node.node_id)
            if child is not None:
                levels.append((child, iter(child.sheet.nodes.values())))


def open_scopes(document: Document) -> Scope:
    """The tree of levels; subgraphs that are muted or bypassed are not opened.

    Raises:
        GraphError: a subgraph contains itself, they nest too deeply, or there are too many nodes in all.
    """
    root = Scope(sheet=with_sent_links(document.sheet))
    sheets = {name: with_sent_links(sheet) for name, sheet in document.subgraphs.items()}
    waiting: list[tuple[Scope, frozenset[str]]] = [(root, frozenset())]
    count = 0
    while waiting:
        scope, within = waiting.pop()
        count += len(scope.sheet.nodes)
        if count > MOST_NODES:
            fail("too_many_nodes", f"with its subgraphs the workflow has over {MOST_NODES} nodes")
        for node in scope.sheet.nodes.values():
            sheet = document.subgraphs.get(node.class_type)
            if sheet is None or node.mode in (Mode.NEVER, Mode.BYPASS):
                continue
            _check_nesting(scope, node, sheet, within)
            child = Scope(
                sheet=sheets[node.class_type], path=(*scope.path, node.node_id), parent=scope, instance=node
            )
            scope.children[node.node_id] = child
            waiting.append((child, within | {node.class_type}))
    return root


def _check_nesting(scope: Scope, node: Node, sheet: Sheet, within: frozenset[str]) -> None:
    name = sheet.name or node.class_type
    if node.class_type in within:
        fail("recursive_subgraph", f'the subgraph "{name}" contains itself', node_id=scope.id_of(node))
    if len(within) >= DEEPEST:
        message = f"subgraphs are nested more than {DEEPEST} deep"
        fail("too_deep", message, node_id=scope.id_of(node))
