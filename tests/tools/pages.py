"""Editor files out of graphs: what ComfyUI's editor would save of a graph that runs, and ways to change it.

Two forms, as editors of two times write them: the older one names only the widgets that were made sockets,
the newer one has a socket for each widget and says from which pack a node comes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Final

from comfy.graphs.links import is_link
from comfy.node_defs.definitions import Definitions, InputDef, NodeDef, Section
from comfy.node_defs.dynamic_inputs import DYNAMIC_COMBO, inputs_for, option_inputs, option_keys
from comfy.ui.widgets import is_widget

_BY_NAME: Final = "VHS_VideoCombine"
_SEEDS: Final = frozenset({"seed", "noise_seed"})


class Page:
    """An editor's file that is being made."""

    def __init__(self, definitions: Definitions, *, newer: bool) -> None:
        self.definitions = definitions
        self.newer = newer
        self.nodes: list[dict[str, Any]] = []
        self.links: list[list[Any]] = []
        self.subgraphs: list[dict[str, Any]] = []
        self.extra: dict[str, Any] = {}
        self.control = "fixed"

    def draw(self, graph: Mapping[str, Any]) -> Page:
        """Add the nodes of a graph; their ids stay."""
        for node_id, node in graph.items():
            self.add(int(node_id), node["class_type"], node["inputs"])
        for node_id, node in graph.items():
            for name, value in node["inputs"].items():
                if is_link(value):
                    self.link(int(value[0]), value[1], int(node_id), name)
        return self

    def add(self, node_id: int, class_type: str, given: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """A node with these values; links are made later."""
        known = self.definitions[class_type]
        found = inputs_for(known, given)
        sockets = [each for each in found if each.section is not Section.HIDDEN and not is_widget(each)]
        named = {each.name: each for each in found}
        widgets = [named[name] for name in self._names(known, given) if name in named]
        inputs = [{"name": each.name, "type": each.kind, "link": None} for each in sockets]
        if self.newer:
            inputs += [_widget_slot(each.name, each.kind) for each in widgets]
        node = {
            "id": node_id,
            "type": class_type,
            "pos": [40 * len(self.nodes), 30 * len(self.nodes)],
            "size": [200, 100],
            "flags": {},
            "order": len(self.nodes),
            "mode": 0,
            "inputs": inputs,
            "outputs": [{"name": each.name, "type": each.kind, "links": []} for each in known.outputs],
            "properties": self._properties(known),
            "widgets_values": self._values(known, given),
            **more,
        }
        self.nodes.append(node)
        return node

    def virtual(self, node_id: int, kind: str, inputs: str, outputs: str, *values: Any, **more: Any) -> None:
        """A node of the editor alone; `inputs` and `outputs` are types, split by blanks."""
        self.nodes.append(
            {
                "id": node_id,
                "type": kind,
                "pos": [40 * len(self.nodes), 30 * len(self.nodes)],
                "size": [75, 26],
                "flags": {},
                "order": len(self.nodes),
                "mode": 0,
                "inputs": [{"name": "", "type": each, "link": None} for each in inputs.split()],
                "outputs": [{"name": each, "type": each, "links": []} for each in outputs.split()],
                "properties": {},
                **({"widgets_values": list(values)} if values else {}),
                **more,
            }
        )

    def node(self, node_id: int) -> dict[str, Any]:
        """A node by its id."""
        return next(node for node in self.nodes if node["id"] == node_id)

    def link(self, origin: int, slot: int, target: int, name: str | int) -> None:
        """Connect an output to an input, by its name or number; what was linked there is cut."""
        inputs = self.node(target)["inputs"]
        number = name if isinstance(name, int) else self._socket(target, name)
        if inputs[number]["link"] is not None:
            self.cut(target, number)
        link_id = max((link[0] for link in self.links), default=0) + 1
        kind = self.node(origin)["outputs"][slot]["type"]
        self.links.append([link_id, origin, slot, target, number, kind])
        inputs[number]["link"] = link_id
        self.node(origin)["outputs"][slot]["links"].append(link_id)

    def cut(self, target: int, name: str | int) -> tuple[int, int]:
        """Take a link away; returns where it came from."""
        number = name if isinstance(name, int) else self._socket(target, name)
        link_id = self.node(target)["inputs"][number]["link"]
        link = next(each for each in self.links if each[0] == link_id)
        self.links.remove(link)
        self.node(target)["inputs"][number]["link"] = None
        self.node(link[1])["outputs"][link[2]]["links"].remove(link_id)
        return link[1], link[2]

    def through(self, target: int, name: str, *node_ids: int) -> None:
        """Send what reaches an input through nodes of one input and one output."""
        origin, slot = self.cut(target, name)
        for each in node_ids:
            self.link(origin, slot, each, 0)
            origin, slot = each, 0
        self.link(origin, slot, target, name)

    def value(self, node_id: int, name: str, value: Any) -> None:
        """Set a widget to whatever value, without a cast."""
        node = self.node(node_id)
        known = self.definitions[node["type"]]
        if isinstance(node["widgets_values"], dict):
            node["widgets_values"][name] = value
        else:
            node["widgets_values"][self._names(known, {}).index(name)] = value

    def saved(self) -> dict[str, Any]:
        """The file."""
        nodes = copy.deepcopy(self.nodes)
        return {
            "last_node_id": max(int(node["id"]) for node in nodes),
            "last_link_id": max((link[0] for link in self.links), default=0),
            "nodes": nodes,
            "links": self.links,
            "groups": [],
            "config": {},
            "extra": self.extra,
            "version": 0.4,
            **({"definitions": {"subgraphs": self.subgraphs}} if self.subgraphs else {}),
        }

    def _socket(self, node_id: int, name: str) -> int:
        inputs = self.node(node_id)["inputs"]
        for number, each in enumerate(inputs):
            if each["name"] == name:
                return number
        known = self.definitions[self.node(node_id)["type"]].input(name)
        inputs.append(_widget_slot(name, known.kind if known is not None else "*"))
        return len(inputs) - 1

    def _properties(self, known: NodeDef) -> dict[str, Any]:
        properties: dict[str, Any] = {"Node name for S&R": known.class_type}
        if self.newer:
            module = str(known.facts.get("python_module", "nodes"))
            pack = module.removeprefix("custom_nodes.").lower() if "custom_nodes" in module else "comfy-core"
            properties |= {"cnr_id": pack, "ver": "0.33.0" if pack == "comfy-core" else "1.2.3"}
        return properties

    def _names(self, known: NodeDef, given: Mapping[str, Any]) -> list[str]:
        """The widgets in the editor's order, controls of seeds as ""."""
        return [name for name, _ in self._widgets(known, given)]

    def _widgets(self, known: NodeDef, given: Mapping[str, Any]) -> Iterator[tuple[str, InputDef | None]]:
        for section in (Section.REQUIRED, Section.OPTIONAL):
            for each in known.of(section):
                yield from self._of(each, given, "")

    def _of(
        self, wanted: InputDef, given: Mapping[str, Any], prefix: str
    ) -> Iterator[tuple[str, InputDef | None]]:
        if not is_widget(wanted) or wanted.options.get("socketless"):
            return
        name = prefix + wanted.name
        yield name, wanted
        if wanted.options.get("control_after_generate") or (wanted.kind == "INT" and wanted.name in _SEEDS):
            yield "", None
        if wanted.kind == DYNAMIC_COMBO:
            chosen = given.get(name, next(iter(option_keys(wanted)), None))
            for more in option_inputs(wanted, chosen):
                yield from self._of(more, given, f"{name}.")

    def _values(self, known: NodeDef, given: Mapping[str, Any]) -> list[Any] | dict[str, Any]:
        if known.class_type == _BY_NAME:
            return {name: value for name, value in given.items() if not is_link(value)} | {"videopreview": {}}
        values: list[Any] = []
        for name, wanted in self._widgets(known, given):
            value = given.get(name) if name else self.control
            if value is None or is_link(value):
                value = _new(wanted)
            values.append(value)
        return values + (["image"] if any(each.is_upload for each in known.inputs) else [])


def _new(wanted: InputDef | None) -> Any:
    if wanted is None:
        return ""
    if wanted.kind == DYNAMIC_COMBO:
        return next(iter(option_keys(wanted)), "")
    if wanted.default is not None:
        return wanted.default
    empty = {"INT": 0, "FLOAT": 0.0, "BOOLEAN": False, "STRING": ""}
    return wanted.choices[0] if wanted.choices else empty.get(wanted.kind, "")


def _widget_slot(name: str, kind: str) -> dict[str, Any]:
    return {"name": name, "type": kind, "widget": {"name": name}, "link": None}
