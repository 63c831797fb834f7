"""Group nodes, the older form of subgraphs: each is replaced by the nodes that it stands for.

What a group shows on its face follows from the definitions of its nodes: their widgets one after the other,
the inputs and outputs that are not linked within.

Source: ComfyUI's frontend, ``extensions/core/groupNode.ts`` (``GroupNodeConfig``, ``convertToNodes``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from comfy.node_defs.definitions import Definitions, InputDef, NodeDef, Section
from comfy.ui.document import MOST_NODES, Document, Mode, Node, Sheet, Slot, Wire, fail, read_node
from comfy.ui.widgets import Saved, ShiftedValuesError, is_widget, read_widgets

PREFIXES: Final = ("workflow>", "workflow/")


def with_groups_opened(document: Document, definitions: Definitions) -> Document:
    """The document without the group nodes whose nodes are all known; these get ids like "5:0".

    Raises:
        GraphError: a group's values cannot be those of its nodes, or there are too many nodes in all.
    """
    if not document.group_nodes:
        return document
    _check_count(document)
    return replace(
        document,
        sheet=_opened(document.sheet, document.group_nodes, definitions),
        subgraphs={
            name: _opened(sheet, document.group_nodes, definitions)
            for name, sheet in document.subgraphs.items()
        },
    )


def _opened(sheet: Sheet, groups: Mapping[str, Any], definitions: Definitions) -> Sheet:
    nodes: dict[str, Node] = {}
    wires = dict(sheet.wires)
    leaving: dict[str, list[Wire]] = {}
    for wire in sheet.wires.values():
        leaving.setdefault(wire.origin_id, []).append(wire)
    for node in sheet.nodes.values():
        group = _group_of(node, groups, definitions)
        if group is None:
            nodes[node.node_id] = node
            continue
        try:
            nodes.update((each.node_id, each) for each in group.nodes())
        except ShiftedValuesError as exc:
            fail("shifted_values", str(exc), node_id=node.node_id, class_type=node.class_type)
        wires.update((each.link_id, each) for each in group.wires(leaving.get(node.node_id, ())))
    return replace(sheet, nodes=nodes, wires=wires)


def _check_count(document: Document) -> None:
    """Refuse what would become too many nodes, before any of them is made."""
    count = 0
    for sheet in (document.sheet, *document.subgraphs.values()):
        for node in sheet.nodes.values():
            data = document.group_nodes.get(_name_of(node) or "")
            listed = data.get("nodes") if isinstance(data, Mapping) else None
            count += len(listed) if isinstance(listed, list) else 1
    if count > MOST_NODES:
        fail("too_many_nodes", f"with its group nodes the workflow has over {MOST_NODES} nodes")


def _name_of(node: Node) -> str | None:
    """The name of the group that a node stands for; None: it is no group node."""
    named = (node.class_type.removeprefix(each) for each in PREFIXES if node.class_type.startswith(each))
    return next(named, None)


def _group_of(node: Node, groups: Mapping[str, Any], definitions: Definitions) -> _Group | None:
    name = _name_of(node)
    data = groups.get(name) if name is not None else None
    listed = data.get("nodes") if isinstance(data, Mapping) else None
    # One that is switched off stands for nothing that runs: it is left out, or handed past, as any node.
    if not isinstance(data, Mapping) or not isinstance(listed, list) or node.mode != Mode.ALWAYS:
        return None
    inner = [
        read_node({**each, "id": number}) for number, each in enumerate(listed) if isinstance(each, Mapping)
    ]
    known = [definitions.get(each.class_type) for each in inner]
    if len(inner) != len(listed) or any(each is None for each in known):
        return None
    return _Group(host=node, inner=inner, known=[each for each in known if each is not None], data=data)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """One group node, and what it stands for."""

    host: Node
    inner: list[Node]  # their ids are their numbers
    known: list[NodeDef]
    data: Mapping[str, Any]  # as the file has it

    def nodes(self) -> Iterator[Node]:
        """The nodes that it stands for."""
        values = self._values()
        given = self._links_from_outside()
        within = {(target, slot): number for number, (_, _, target, slot) in enumerate(self._links())}
        for number, node in enumerate(self.inner):
            names = [slot.name for slot in node.inputs]
            more = [Slot(name=name, kind="*") for at, name in given if at == number and name not in names]
            slots = [
                replace(slot, link=self._link_id(within[number, place]))
                if (number, place) in within
                else replace(slot, link=given.get((number, slot.name)))
                for place, slot in enumerate((*node.inputs, *more))
            ]
            yield replace(
                node,
                node_id=self._id(number),
                inputs=tuple(slots),
                values=values[number],
                named=None,
            )

    def wires(self, leaving: Iterable[Wire]) -> Iterator[Wire]:
        """The links within, and those that began at the group."""
        for number, (source, slot, target, target_slot) in enumerate(self._links()):
            yield Wire(
                link_id=self._link_id(number),
                origin_id=self._id(source),
                origin_slot=slot,
                target_id=self._id(target),
                target_slot=target_slot,
            )
        shown = list(self._outputs())
        for wire in leaving:
            if 0 <= wire.origin_slot < len(shown):
                number, slot = shown[wire.origin_slot]
                yield replace(wire, origin_id=self._id(number), origin_slot=slot)

    def _id(self, number: int) -> str:
        return f"{self.host.node_id}:{number}"

    def _link_id(self, number: int) -> str:
        return f"group:{self.host.node_id}:{number}"

    def _links(self) -> list[tuple[int, int, int, int]]:
        """The links within: number and slot of where they begin, and of where they end."""
        count = len(self.inner)
        return [
            (each[0], each[1], each[2], each[3])
            for each in self.data.get("links") or ()
            if isinstance(each, list)
            and len(each) >= 4
            and all(isinstance(part, int) for part in each[:4])
            and 0 <= each[0] < count
            and 0 <= each[2] < count
        ]

    def _config(self, number: int) -> Mapping[str, Any]:
        config = self.data.get("config")
        own = config.get(str(number)) if isinstance(config, Mapping) else None
        return own if isinstance(own, Mapping) else {}

    def _converted(self, number: int) -> set[str]:
        """Widgets of an inner node that are sockets of the group."""
        return {slot.name for slot in self.inner[number].inputs if slot.widget == slot.name}

    def _values(self) -> list[dict[str, Any]]:
        """Of each inner node its widgets by name: as they stand on the face, else as the group keeps them."""
        found = [
            read_widgets(known, Saved(values=node.values)).values
            for node, known in zip(self.inner, self.known, strict=True)
        ]
        shown: list[InputDef] = []
        for number, known in enumerate(self.known):
            for section in (Section.REQUIRED, Section.OPTIONAL):
                shown += [
                    # Its control goes by the name, which is another one here.
                    replace(
                        each,
                        name=f"{number}:{each.name}",
                        section=Section.REQUIRED,
                        options={**each.options, **_control(each)},
                    )
                    for each in known.of(section)
                    if is_widget(each) and each.name not in self._converted(number)
                ]
        face = NodeDef(class_type=self.host.class_type, inputs=tuple(shown), outputs=())
        on_face = self.host.values
        if on_face:
            for name, value in read_widgets(face, Saved(values=on_face)).values.items():
                rank, _, own = name.partition(":")
                found[int(rank)][own] = value
        return found

    def _links_from_outside(self) -> dict[tuple[int, str], str | None]:
        """Inner node and input -> the link that reaches it by the group's own inputs."""
        taken = {(target, slot) for _, _, target, slot in self._links()}
        sockets: list[tuple[int, str]] = []
        converted: list[tuple[int, str]] = []
        for number, known in enumerate(self.known):
            places = {slot.name: place for place, slot in enumerate(self.inner[number].inputs)}
            hidden = self._config(number).get("input")
            for each in (*known.of(Section.REQUIRED), *known.of(Section.OPTIONAL)):
                if (number, places.get(each.name, -1)) in taken:
                    continue
                if is_widget(each):
                    if each.name in self._converted(number):
                        converted.append((number, each.name))
                elif not (isinstance(hidden, Mapping) and _is_hidden(hidden.get(each.name))):
                    sockets.append((number, each.name))
        own = [slot for slot in self.host.inputs if slot.widget is None]
        widgets = [slot for slot in self.host.inputs if slot.widget is not None and slot.link is not None]
        return {
            **dict(zip(sockets, (slot.link for slot in own), strict=False)),
            **dict(zip(converted, (slot.link for slot in (*own[len(sockets) :], *widgets)), strict=False)),
        }

    def _outputs(self) -> Iterator[tuple[int, int]]:
        """The outputs that the group shows: inner node and slot."""
        linked = {(source, slot) for source, slot, _, _ in self._links()}
        external = {
            (each[0], each[1])
            for each in self.data.get("external") or ()
            if isinstance(each, list) and len(each) >= 2
        }
        for number, known in enumerate(self.known):
            config = self._config(number).get("output")
            for slot in range(len(known.outputs)):
                own = config.get(str(slot)) if isinstance(config, Mapping) else None
                visible = own.get("visible") if isinstance(own, Mapping) else None
                hidden = (number, slot) in linked and (number, slot) not in external
                if visible if isinstance(visible, bool) else not hidden:
                    yield number, slot


def _control(wanted: InputDef) -> dict[str, Any]:
    seed = wanted.kind == "INT" and wanted.name in ("seed", "noise_seed")
    return {"control_after_generate": True} if seed else {}


def _is_hidden(config: Any) -> bool:
    return isinstance(config, Mapping) and config.get("visible") is False
