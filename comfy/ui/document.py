"""A saved workflow as typed values: nodes, links, subgraphs; what the editor keeps for drawing is left out.

Source: ComfyUI's frontend, ``workflowSchema`` (versions 0.4 and 1): links are lists or objects, a
subgraph's own inputs and outputs are the nodes -10 and -20.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import count
from typing import Any, Final, NoReturn

from comfy.errors import GraphError, GraphProblem

INPUT_NODE: Final = "-10"
OUTPUT_NODE: Final = "-20"
_PACK: Final = ("cnr_id", "aux_id", "ver")  # the pack's name in the registry, or its repository; its version
_LONGEST_ID: Final = 16  # digits, as far as JavaScript counts
MOST_NODES: Final = 10_000  # notes and reroutes included; the largest public workflows have some hundreds


class Mode(IntEnum):
    """What the editor does with a node. Other numbers run as ALWAYS does."""

    ALWAYS = 0
    NEVER = 2  # muted
    BYPASS = 4  # as if its inputs were its outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One input or output of a node."""

    name: str
    kind: str  # "IMAGE", "*", …
    link: str | None = None  # of an input: the id of the link that ends here
    widget: str | None = None  # of an input: the widget that it replaces when linked
    label: str | None = None  # what the user calls it


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node as it was saved."""

    node_id: str
    class_type: str  # or the id of a subgraph's definition
    mode: int = Mode.ALWAYS
    title: str | None = None
    inputs: tuple[Slot, ...] = ()
    outputs: tuple[Slot, ...] = ()
    values: Any = None  # widgets_values: a list, or a mapping by name
    named: Mapping[str, Any] | None = None  # widgets_values_named, which newer editors save beside the list
    pack: Mapping[str, str] = field(default_factory=dict)  # where it comes from: cnr_id, aux_id, ver
    properties: Mapping[str, Any] = field(default_factory=dict)  # of the node that has them for its own use
    proxies: tuple[tuple[str, str], ...] = ()  # of a subgraph: (inner node or "-1", widget) shown on its face


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """One link."""

    link_id: str
    origin_id: str
    origin_slot: int
    target_id: str
    target_slot: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """Nodes and links of one level: the workflow's own, or a subgraph's."""

    nodes: Mapping[str, Node]
    wires: Mapping[str, Wire]
    name: str = ""
    inputs: tuple[Slot, ...] = ()  # of a subgraph
    outputs: tuple[Slot, ...] = ()
    sent: Any = None  # what the pack Use Everywhere noted of its links


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A whole workflow."""

    sheet: Sheet
    subgraphs: Mapping[str, Sheet] = field(default_factory=dict)  # by the id that nodes have as class
    group_nodes: Mapping[str, Any] = field(default_factory=dict)  # the older form of subgraphs, by name


def is_workflow(raw: Any) -> bool:
    """Whether this JSON is a workflow as the editor saves it."""
    return isinstance(raw, Mapping) and isinstance(raw.get("nodes"), list)


def read_document(raw: Mapping[str, Any]) -> Document:
    """Read a saved workflow.

    Raises:
        GraphError: it has too many nodes, or a node or a link that cannot be read.
    """
    subgraphs = _defined(raw)
    total = sum(len(_list(each.get("nodes"))) for each in (raw, *subgraphs))
    if total > MOST_NODES:
        fail("too_many_nodes", f"the workflow has {total} nodes, the limit is {MOST_NODES}")
    raw, *subgraphs = _with_ids_of_their_own([raw, *subgraphs])
    extra = raw.get("extra")
    groups = extra.get("groupNodes") if isinstance(extra, Mapping) else None
    return Document(
        sheet=_sheet(raw),
        subgraphs={str(each.get("id")): _sheet(each) for each in subgraphs},
        group_nodes=groups if isinstance(groups, Mapping) else {},
    )


def _defined(raw: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    definitions = raw.get("definitions")
    listed = definitions.get("subgraphs") if isinstance(definitions, Mapping) else None
    return [each for each in _list(listed) if isinstance(each, Mapping)]


def _with_ids_of_their_own(levels: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The levels with another id for each node of a subgraph whose id occurs before, as the editor gives it.

    Source: ComfyUI's frontend, ``deduplicateClonedSubgraphNodeIds``.
    """
    taken: set[str] = set()
    last = levels[0].get("last_node_id")
    last = last if isinstance(last, int) else 0
    renamed: dict[str, dict[str, int]] = {}
    for rank, level in enumerate(levels):
        own: dict[str, int] = {}
        for node_id in dict.fromkeys(str(each.get("id")) for each in _nodes(level)):
            if rank and node_id in taken:
                last = next(number for number in count(last + 1) if str(number) not in taken)
                own[node_id] = last
            elif node_id.isdecimal() and len(node_id) < _LONGEST_ID:
                last = max(last, int(node_id))
            taken.add(str(own.get(node_id, node_id)))
        renamed[str(level.get("id"))] = own
    if not any(renamed.values()):
        return list(levels)
    return [_renumbered(level, renamed[str(level.get("id"))], renamed) for level in levels]


def _renumbered(
    level: Mapping[str, Any], own: Mapping[str, int], of: Mapping[str, Mapping[str, int]]
) -> Mapping[str, Any]:
    def now(node_id: Any) -> Any:
        return own.get(str(node_id), node_id)

    nodes = [
        {**each, "id": now(each.get("id")), **_proxied(each, of.get(str(each.get("type")), {}))}
        if isinstance(each, Mapping)
        else each
        for each in _list(level.get("nodes"))
    ]
    links = [
        {**each, "origin_id": now(each.get("origin_id")), "target_id": now(each.get("target_id"))}
        if isinstance(each, Mapping)
        else each
        for each in _list(level.get("links"))
    ]
    return {**level, "nodes": nodes, "links": links}


def _proxied(node: Mapping[str, Any], within: Mapping[str, int]) -> dict[str, Any]:
    """What a subgraph's own node says of widgets inside, by the ids that these have now."""
    properties = node.get("properties")
    if not within or not isinstance(properties, Mapping):
        return {}
    proxies = [
        [str(within.get(str(each[0]), each[0])), *each[1:]] if isinstance(each, list) and each else each
        for each in _list(properties.get("proxyWidgets"))
    ]
    return {"properties": {**properties, "proxyWidgets": proxies}}


def _nodes(level: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [each for each in _list(level.get("nodes")) if isinstance(each, Mapping)]


def fail(kind: str, message: str, *, node_id: str | None = None, class_type: str | None = None) -> NoReturn:
    """Refuse the workflow for one reason."""
    raise GraphError([GraphProblem(kind=kind, message=message, node_id=node_id, class_type=class_type)])


def _sheet(raw: Mapping[str, Any]) -> Sheet:
    nodes = [read_node(each) for each in _list(raw.get("nodes"))]
    _check_ids(nodes)
    wires = [_wire(each) for each in _list(raw.get("links")) if each is not None]
    extra = raw.get("extra")
    return Sheet(
        nodes={node.node_id: node for node in nodes},
        wires={wire.link_id: wire for wire in wires},
        name=str(raw.get("name", "")),
        inputs=tuple(_slots(raw.get("inputs"))),
        outputs=tuple(_slots(raw.get("outputs"))),
        sent=extra.get("ue_links") if isinstance(extra, Mapping) else None,
    )


def _check_ids(nodes: Sequence[Node]) -> None:
    """Links name nodes by their ids: with two of one id nobody can say where they lead."""
    first: dict[str, Node] = {}
    for node in nodes:
        if (other := first.setdefault(node.node_id, node)) is not node:
            fail(
                "duplicate_id",
                f"two nodes have this id, {other.class_type} and {node.class_type}: open the file in "
                "ComfyUI, which gives one of them another, check its links and save it anew",
                node_id=node.node_id,
                class_type=node.class_type,
            )


def read_node(raw: Any) -> Node:
    """Read one node of a file.

    Raises:
        GraphError: it is none.
    """
    if not isinstance(raw, Mapping):
        fail("node_not_object", f"a node of the workflow is an object, this is {raw!r:.60}")
    node_id = _id(raw.get("id"), "a node")
    class_type = raw.get("type")
    if not isinstance(class_type, str) or not class_type:
        fail("missing_class_type", "the node has no type: it says nothing about what to run", node_id=node_id)
    given = raw.get("properties")
    properties = given if isinstance(given, Mapping) else {}
    mode, title, named = raw.get("mode"), raw.get("title"), raw.get("widgets_values_named")
    return Node(
        node_id=node_id,
        class_type=class_type,
        mode=mode if isinstance(mode, int) else Mode.ALWAYS,
        title=title if isinstance(title, str) else None,
        inputs=tuple(_slots(raw.get("inputs"))),
        outputs=tuple(_slots(raw.get("outputs"))),
        values=raw.get("widgets_values"),
        named=named if isinstance(named, Mapping) else None,
        pack={key: str(properties[key]) for key in _PACK if properties.get(key)},
        properties=properties,
        proxies=tuple(_proxies(properties)),
    )


def _slots(raw: Any) -> Iterator[Slot]:
    for each in _list(raw):
        given = each if isinstance(each, Mapping) else {}
        widget, link, label = given.get("widget"), given.get("link"), given.get("label")
        name = widget.get("name") if isinstance(widget, Mapping) else None
        yield Slot(
            name=str(given.get("name", "")),
            kind=str(given.get("type", "*")),
            link=str(link) if isinstance(link, int | str) else None,
            widget=name if isinstance(name, str) else None,
            label=label if isinstance(label, str) and label else None,
        )


def _wire(raw: Any) -> Wire:
    if isinstance(raw, Mapping):
        parts = [raw.get(name) for name in ("id", "origin_id", "origin_slot", "target_id", "target_slot")]
    else:
        parts = list(raw[:5]) if isinstance(raw, list | tuple) else []
    if len(parts) < 5 or not isinstance(parts[2], int) or not isinstance(parts[4], int):
        fail("bad_link", f"a link of the workflow cannot be read: {raw!r:.80}")
    return Wire(
        link_id=_id(parts[0], "a link"),
        origin_id=_id(parts[1], "the node at a link's start"),
        origin_slot=parts[2],
        target_id=_id(parts[3], "the node at a link's end"),
        target_slot=parts[4],
    )


def _id(raw: Any, what: str) -> str:
    if isinstance(raw, bool) or not isinstance(raw, int | str) or raw == "":
        fail("bad_id", f"the id of {what} is a number or a text, this is {raw!r:.60}")
    return str(raw)


def _proxies(properties: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for each in _list(properties.get("proxyWidgets")):
        if isinstance(each, list | tuple) and len(each) >= 2:
            yield str(each[0]), str(each[1])


def _list(raw: Any) -> list[Any]:
    return list(raw) if isinstance(raw, list | tuple) else []
