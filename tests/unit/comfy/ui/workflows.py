"""Small workflows as the editor saves them, built for tests."""

from __future__ import annotations

from typing import Any


class Sheet:
    """Nodes and links of one level; links get their numbers in the order in which they are made."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.links: list[list[Any]] = []

    def node(
        self,
        node_id: int,
        class_type: str,
        *values: Any,
        inputs: tuple[str, ...] = (),
        outputs: tuple[str, ...] = (),
        mode: int = 0,
        **more: Any,
    ) -> None:
        """Add a node; inputs are "name:TYPE" or, for one that replaces a widget, "name:TYPE:w"."""
        self.nodes.append(
            {
                "id": node_id,
                "type": class_type,
                "mode": mode,
                "inputs": [_slot(text) for text in inputs],
                "outputs": [{"name": kind, "type": kind, "links": []} for kind in outputs],
                "widgets_values": list(values),
                **more,
            }
        )

    def link(self, origin: int, slot: int, target: int, target_slot: int) -> None:
        """Connect an output to an input."""
        number = len(self.links) + 1
        self.links.append([number, origin, slot, target, target_slot, "*"])
        for node in self.nodes:
            if node["id"] == target:
                node["inputs"][target_slot]["link"] = number

    def saved(self, *subgraphs: dict[str, Any], **extra: Any) -> dict[str, Any]:
        """The file."""
        return {
            "last_node_id": len(self.nodes),
            "nodes": self.nodes,
            "links": self.links,
            "groups": [{"title": "a group", "bounding": [0, 0, 9, 9]}],
            "extra": extra,
            "version": 0.4,
            **({"definitions": {"subgraphs": list(subgraphs)}} if subgraphs else {}),
        }

    def subgraph(self, name: str, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> dict[str, Any]:
        """The level as a subgraph's definition; its links are objects, as newer editors write them."""
        keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
        return {
            "id": name,
            "name": name,
            "nodes": self.nodes,
            "links": [dict(zip(keys, link, strict=True)) for link in self.links],
            "inputs": [{"name": each.split(":")[0], "type": each.split(":")[1]} for each in inputs],
            "outputs": [{"name": each, "type": each} for each in outputs],
        }


def _slot(text: str) -> dict[str, Any]:
    name, kind, *widget = text.split(":")
    slot: dict[str, Any] = {"name": name, "type": kind, "link": None}
    return {**slot, "widget": {"name": name}} if widget else slot


def picture(sheet: Sheet, *, colour: int = 7) -> None:
    """Nodes 1 and 9: a picture and a node that saves it, not linked yet."""
    sheet.node(1, "EmptyImage", 64, 48, 1, colour, outputs=("IMAGE",))
    sheet.node(9, "SaveImage", "clip", inputs=("images:IMAGE", "filename_prefix:STRING:w"))
