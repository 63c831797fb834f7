"""Graphs and values that were made to hurt: every entry answers them soon, clearly, in little memory."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, Final

Graph = dict[Any, Any]

# What JSON, Python and people put where something else belongs.
ODD: Final[tuple[Any, ...]] = (
    None,
    True,
    -1,
    10**4000,
    2**63,
    1e308,
    math.nan,
    math.inf,
    "",
    "\ud800",
    "\0",
    "x" * 100_000,
    "../x",
    "1",
    "http://[::1",
    [],
    [[]],
    ["1", 0],
    ["1", True],
    ["1", 1e9],
    [["1", 0]],
    {},
    {"": ""},
    {"__value__": [[]]},
    {"class_type": "KSampler"},
    b"bytes",
    object(),
    {1: 2},
    (1, 2),
    range(3),
)

_SAVE: Final = {"class_type": "SaveImage", "inputs": {"images": ["0", 0], "filename_prefix": "x"}}


def node(class_type: str = "ImageScaleBy", /, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def many_nodes(count: int = 100_000) -> Graph:
    return {str(number): node("EmptyImage", width=8) for number in range(count)}


def chain(length: int, class_type: str = "ImageScaleBy", name: str = "image") -> Graph:
    """A row in which each node draws on the next one, saved at its head."""
    graph: Graph = {str(n): node(class_type, **{name: [str(n + 1), 0]}) for n in range(length)}
    graph[str(length)] = node("EmptyImage", width=8)
    return graph | {"save": _SAVE}


def dense(layers: int, width: int) -> Graph:
    """Layers of nodes, each of which draws on all nodes of the layer behind it: paths without number."""
    graph: Graph = {
        f"{layer}-{n}": {
            "class_type": "ImageScaleBy",
            "inputs": {f"image{k}": [f"{layer + 1}-{k}", 0] for k in range(width)},
        }
        for layer in range(layers)
        for n in range(width)
    }
    graph |= {f"{layers}-{n}": node("EmptyImage", width=8) for n in range(width)}
    return graph | {"save": node("SaveImage", images=["0-0", 0], filename_prefix="x")}


def circle(length: int) -> Graph:
    graph = chain(length)
    graph[str(length)] = node(image=["0", 0])
    return graph


def samplers(count: int) -> Graph:
    """As many samplers in a row as a graph may hold, each with a model and a LoRA of its own."""
    graph: Graph = {}
    for n in range(count):
        graph[f"m{n}"] = node("UNETLoader", unet_name=f"wan2.2_t2v_high_noise_14B_{n}.safetensors")
        graph[f"l{n}"] = node(
            "LoraLoaderModelOnly", model=[f"m{n}", 0], lora_name="lightning_high.safetensors"
        )
        graph[f"s{n}"] = node(
            "KSamplerAdvanced", model=[f"l{n}", 0], latent_image=[f"s{n + 1}", 0], steps=4, cfg=7
        )
    graph[f"s{count}"] = node("EmptyHunyuanLatentVideo", width=832, height=480, length=80)
    graph["d"] = node("VAEDecode", samples=["s0", 0])
    return graph | {"save": node("SaveImage", images=["d", 0], filename_prefix="x")}


def switches(count: int) -> Graph:
    """Switches whose positions hang on other switches."""
    graph: Graph = {
        str(n): node(
            "ComfySwitchNode", switch=[str(n + 1), 0], on_true=[str(n + 1), 0], on_false=[str(n + 1), 0]
        )
        for n in range(count)
    }
    graph[str(count)] = node("PrimitiveBoolean", value=True)
    return graph | {"save": _SAVE}


def formulas(count: int) -> Graph:
    """Calculations on calculations, with a power tower in each."""
    graph: Graph = {
        str(n): node("ComfyMathExpression", expression="9**9**9**9+a", **{"values.a": [str(n + 1), 0]})
        for n in range(count)
    }
    graph[str(count)] = node("PrimitiveInt", value=9)
    graph["clip"] = node("EmptyHunyuanLatentVideo", width=["0", 1], height=["0", 1], length=["0", 1])
    return graph | {"save": node("SaveImage", images=["clip", 0], filename_prefix="x")}


def deep(levels: int) -> Graph:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return {"1": node(width=value)} | {"save": _SAVE}


def _with(value: Any, class_type: str = "LoadImage", name: str = "image") -> Graph:
    return {"0": node(class_type, **{name: value}), "save": _SAVE}


def _inputs(count: int, value: Any) -> Graph:
    inputs = {f"i{n}": value for n in range(count)}
    return {"0": {"class_type": "ImageScaleBy", "inputs": inputs}, "save": _SAVE}


# What hurts -> the graph, and whether it is to be refused.
GRAPHS: Final[dict[str, tuple[Callable[[], Any], bool]]] = {
    "100,000 nodes": (many_nodes, True),
    "100,000 nodes as text": (lambda: json.dumps(many_nodes()).encode(), True),
    "1,900 nodes in a row": (lambda: chain(1_900), False),
    "1,900 LoRAs in a row": (lambda: chain(1_900, "LoraLoaderModelOnly", "model"), False),
    "a circle of 1,900 nodes": (lambda: circle(1_900), True),
    "a circle of one": (lambda: {"1": node(image=["1", 0]), "save": _SAVE}, True),
    "27 layers of 27 nodes": (lambda: dense(27, 27), False),
    "40 layers of 40 nodes": (lambda: dense(40, 40), True),
    "600 samplers": (lambda: samplers(600), False),
    "1,900 switches": (lambda: switches(1_900), False),
    "1,900 formulas": (lambda: formulas(1_900), False),
    "a text of 64 MiB": (lambda: _with("x" * (64 * 2**20), "CLIPTextEncode", "text"), True),
    "a class name of 3 MiB": (lambda: {"1": node("S" * (3 * 2**20))}, True),
    "a node id of 3 MiB": (lambda: {"i" * (3 * 2**20): node("SaveImage")}, True),
    "an input name of 3 MiB": (lambda: _with(1, name="n" * (3 * 2**20)), True),
    "a link to a node id of 3 MiB": (lambda: _with(["i" * (3 * 2**20), 0]), True),
    "100,000 inputs": (lambda: _inputs(100_000, 1), True),
    "19,000 inputs": (lambda: _inputs(19_000, 1), False),
    "19,000 bad links": (lambda: _inputs(19_000, ["gone", 0]), True),
    "100,000 bad links": (lambda: _inputs(100_000, ["gone", 0]), True),
    "a value 10,000 deep": (lambda: deep(10_000), True),
    "text 100,000 deep": (lambda: b"[" * 100_000, True),
    "ids that are numbers": (lambda: {1: node(), "save": _SAVE}, True),
    "names that are numbers": (lambda: {"0": {"class_type": "A", "inputs": {1: 2}}, "save": _SAVE}, True),
    "NaN": (lambda: _with(float("nan"), "KSampler", "cfg"), True),
    "NaN as text": (lambda: b'{"1": {"class_type": "A", "inputs": {"cfg": NaN}}}', True),
    "a number of 5,000 digits": (
        lambda: b'{"1": {"class_type": "A", "inputs": {"n": ' + b"9" * 5_000 + b"}}}",
        True,
    ),
    "half a surrogate pair": (lambda: _with("\ud800"), True),
    "NUL": (lambda: _with("a\0.png"), True),
    "no object": (lambda: [1, 2], True),
    "nodes that are no objects": (lambda: dict.fromkeys(map(str, range(1_500)), "x"), True),
    "an empty graph": (dict, True),
}

# File names that lead out of their folder, for inputs that name files.
PATHS: Final = (
    "../../etc/passwd",
    "a/../../b.png",
    "/etc/passwd",
    "~/x.png",
    "C:/x.png",
    "..\\x.png",
    "C:\\x.png",
    "\\\\server\\share\\x.png",
    "x.png [output]",
    "x.png [temp]",
    "x.png [input] ",
)
