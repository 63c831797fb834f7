"""The levels of a workflow: its own sheet, and one level for each place where a subgraph is used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from comfy.ui.document import MOST_NODES, Document, Mode, Node, Sheet, fail

DEEPEST: Final = 32  # subgraphs within subgraphs; real ones nest three deep


@dataclass(slots=True, kw_only=True, eq=False)
class Scope:
    """One use of a sheet."""

    sheet: Sheet
    path: tuple[str, ...] = ()  # ids of the nodes that lead here
    parent: Scope | None = None
    instance: Node | None = None  # the node of `parent` that stands for this level
    children: dict[str, Scope] = field(default_factory=dict)

    def id_of(self, node: Node) -> str:
        """The id that a node of this level has in the graph that runs."""
        return ":".join((*self.path, node.node_id))

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
    root = Scope(sheet=document.sheet)
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
            child = Scope(sheet=sheet, path=(*scope.path, node.node_id), parent=scope, instance=node)
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
