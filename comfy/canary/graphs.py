"""The graphs of the canary: nodes that every ComfyUI has, and that need neither a model nor a GPU."""

from __future__ import annotations

import random
import struct
from typing import Any, Final

Graph = dict[str, dict[str, Any]]

FOLDER: Final = "farm-canary"  # of its files, in the server's output folder
WIDTH, HEIGHT = 64, 48
SAVES, PREVIEWS = "2", "3"  # nodes of the picture's graph

# Scaling by Lanczos runs on the CPU in every generation and takes some milliseconds; between two nodes the
# server looks whether it is to stop. A chain that was over too soon is tried again as a longer one. A graph
# is checked by recursion, which ends below a thousand nodes.
CHAINS: Final = (64, 192, 576)
_SIDES: Final = (768, 760)
_LAST_COLOUR: Final = 0xFFFFFF


def picture(prefix: str) -> Graph:
    """One picture, saved and previewed. Its colour is drawn, so that no server has it in its cache."""
    return {
        "1": _empty_image(WIDTH, HEIGHT),
        SAVES: _node("SaveImage", images=["1", 0], filename_prefix=prefix),
        PREVIEWS: _node("PreviewImage", images=["1", 0]),
    }


def chain(length: int, prefix: str) -> Graph:
    """A picture that is scaled so many times before it is saved."""
    graph = {"0": _empty_image(_SIDES[1], _SIDES[1])}
    for number in range(1, length + 1):
        # From one size to the other: a picture that has its size already is only copied.
        side = _SIDES[(number - 1) % 2]
        graph[str(number)] = _node(
            "ImageScale",
            image=[str(number - 1), 0],
            upscale_method="lanczos",
            width=side,
            height=side,
            crop="disabled",
        )
    graph["save"] = _node("SaveImage", images=[str(length), 0], filename_prefix=prefix)
    return graph


def inputs_in_use() -> dict[str, set[str]]:
    """The node classes that the canary needs, each with the inputs that it sets."""
    used: dict[str, set[str]] = {}
    for node in (*picture("").values(), *chain(1, "").values()):
        used.setdefault(node["class_type"], set()).update(node["inputs"])
    return used


def png_size(content: bytes) -> tuple[int, int] | None:
    """Width and height; None when it is no PNG."""
    if not content.startswith(b"\x89PNG\r\n\x1a\n") or len(content) < 24:
        return None
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def _empty_image(width: int, height: int) -> dict[str, Any]:
    colour = random.randint(0, _LAST_COLOUR)  # noqa: S311 - it need not be a secret
    return _node("EmptyImage", width=width, height=height, batch_size=1, color=colour)


def _node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs, "_meta": {"title": "farm canary"}}
