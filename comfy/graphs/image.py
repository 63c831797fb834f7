"""A graph's content as bytes, to remember by it: equal graphs give equal bytes, and can be had back."""

from __future__ import annotations

import marshal
from collections.abc import Callable, Mapping
from typing import Any, Final

_VERSION: Final = 2  # of marshal's format; from 3 on, equal graphs may give different bytes
_MOST_BYTES: Final = 256 * 1024  # a larger graph is not remembered: it must not fill the memory

Bare = Callable[[Mapping[str, Any]], tuple[str, dict[str, Any]]]


def image_of(content: Any) -> bytes | None:
    """The content as bytes; None when it is too large, or holds what JSON cannot say (an enum's member)."""
    try:
        image = marshal.dumps(content, _VERSION)
    except ValueError:
        return None
    return image if is_small(image) else None


def content_of(image: bytes) -> Any:
    """What `image_of` was given."""
    return marshal.loads(image)  # noqa: S302  # written by `image_of`


def image_of_graph(graph: Mapping[str, Any], bare: Bare) -> bytes | None:
    """A graph as bytes; `bare` gives a node's class, and its inputs without what makes no difference."""
    return image_of([(node_id, *bare(node)) for node_id, node in graph.items()])


def graph_of(image: bytes) -> dict[str, Any]:
    """The graph of which `image_of_graph` made this, without titles."""
    return {
        node_id: {"class_type": class_type, "inputs": inputs, "_meta": {}}
        for node_id, class_type, inputs in content_of(image)
    }


def is_small(content: bytes) -> bool:
    """Whether so much may be remembered."""
    return len(content) <= _MOST_BYTES
