"""Writes `tests/data/corpus`: files as people save them, each kind at least twice, made from plain graphs.

    python -m tests.tools.corpus                       the files, and what is known of each (`facts.json`)
    python -m tests.tools.corpus --front-end FOLDER    … and what ComfyUI's own front end exports of them, and
                                                       the shapes of what it exports of the official workflows
    python -m tests.tools.corpus --front-end FOLDER --files OTHERS
                                                       what it exports of somebody's files, beside these

FOLDER is ``static`` of the package ``comfyui-frontend-package`` of PyPI; `--pack NAME=FOLDER` (several times)
what runs in the editor of a node pack. What is kept was exported by version 1.58.1 with the packs KJNodes,
rgthree-comfy, cg-use-everywhere, mxToolkit, VideoHelperSuite, Custom-Scripts and essentials. Needs a
Chromium.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.files_of_folder import TRUTH, definitions_beside, files_in
from comfy.node_defs.definitions import Definitions, parse_definitions, shipped_definitions
from comfy.ui.widgets import is_widget
from tests.support.corpus import shape_of
from tests.support.official_workflows import wan_workflows
from tests.tools.front_end import Pack, front_end
from tests.tools.pages import Page

_DATA: Final = Path(__file__).parents[1] / "data"
FOLDER: Final = _DATA / "corpus"
# Classes that no facts tell of: the front end must know them, the farm need not.
UNKNOWN: Final[Mapping[str, Any]] = {
    "SomebodysGrade": {
        "input": {
            "required": {
                "images": ["IMAGE"],
                "strength": ["FLOAT", {"default": 1.0}],
                "seed": ["INT", {"default": 0}],
                "look": [["film", "plain"], {}],
                "keep": ["BOOLEAN", {"default": True}],
            }
        },
        "output": ["IMAGE"],
        "output_name": ["IMAGE"],
        "name": "SomebodysGrade",
        "python_module": "custom_nodes.somebodys-grade",
    },
    "SomebodysPrompt": {
        "input": {
            "required": {"text": ["STRING", {"multiline": True}], "style": ["STRING", {"default": ""}]}
        },
        "output": ["STRING"],
        "output_name": ["text"],
        "name": "SomebodysPrompt",
        "python_module": "custom_nodes.somebodys-grade",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One file of the corpus."""

    name: str
    kind: str
    content: Any  # JSON
    text: Callable[[str], bytes] = str.encode  # how it is written
    facts: Mapping[str, Any] = field(default_factory=dict)
    is_base: bool = (
        False  # the graph of `facts["base"]` is what is right of it, whatever an editor makes of it
    )


_T: Final[Mapping[str, Any]] = {
    "base": "core_t2v_a14b",
    "width": 832,
    "height": 480,
    "frames": 81,
    "fps": 16.0,
    "steps": [10, 10],
}
_I: Final[Mapping[str, Any]] = {
    "base": "core_i2v_a14b_lightning", "width": 640, "height": 640, "frames": 81, "fps": 16.0,
    "steps": [2, 2],
}  # fmt: skip
_V: Final[Mapping[str, Any]] = {
    "base": "core_ti2v_5b",
    "width": 1280,
    "height": 704,
    "frames": 121,
    "fps": 24.0,
    "steps": [20],
}
_W: Final[Mapping[str, Any]] = {
    "base": "wrapper_i2v_a14b_context_windows", "width": 480, "height": 832, "frames": 241, "fps": 16,
    "steps": [4, 4],
}  # fmt: skip
_BASES: Final[tuple[Mapping[str, Any], ...]] = (_T, _I, _V, _W)
_OTHERS: Final = (
    "core_flf2v_lightning",
    "core_i2v_wan21_clip_vision",
    "core_vace_reference",
    "gguf_rife_script",
)

_KNOWN: Final = shipped_definitions()


def base(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The graph that a file is made from."""
    found: dict[str, Any] = json.loads((_DATA / "graphs" / f"{facts['base']}.json").read_bytes())
    return found


def page(facts: Mapping[str, Any], *, newer: bool = True, definitions: Definitions = _KNOWN) -> Page:
    """Its editor's file."""
    return Page(definitions, newer=newer).draw(base(facts))


def corpus() -> list[Made]:
    """Every file."""
    makers = (
        _plain, _casts, _unknown_packs, _everywhere, _subgraphs, _groups, _switched_off, _reroutes,
        _set_and_get, _constants, _controls, _lora_rows, _samplers, _sizes, _wrapped, _marks,
    )  # fmt: skip
    return [made for maker in makers for made in maker()]


def _plain() -> Iterator[Made]:
    for facts in (*_BASES, *({"base": name} for name in _OTHERS)):
        for newer in (False, True):
            name = f"plain_{'newer' if newer else 'older'}_{facts['base']}"
            yield Made(name=name, kind="plain", content=page(facts, newer=newer).saved(), facts=facts)


def _casts() -> Iterator[Made]:
    for newer in (False, True):
        form = "newer" if newer else "older"
        given = page(_W, newer=newer)
        given.value(34, "batched_cfg", "")
        given.value(35, "force_offload", "True")
        yield Made(name=f"cast_switches_{form}", kind="cast", content=given.saved(), facts=_W)
        given = page(_T, newer=newer)
        given.value(59, "width", "832")
        given.value(57, "cfg", "3.5")
        given.value(59, "length", 81.0)
        yield Made(name=f"cast_numbers_{form}", kind="cast", content=given.saved(), facts=_T)


def _unknown_packs() -> Iterator[Made]:
    known = {**_KNOWN, **parse_definitions(UNKNOWN)}
    given = page(_T, definitions=known)
    given.add(900, "SomebodysGrade", {"strength": 0.4, "seed": 3, "look": "film", "keep": False})
    given.link(8, 0, 900, "images")
    given.link(900, 0, 60, "images")
    yield Made(name="unknown_between", kind="unknown_pack", content=given.saved(), facts=_T)
    given = page(_V, definitions=known)
    given.add(900, "SomebodysPrompt", {"text": "a fox in the snow", "style": "film"})
    given.link(900, 0, 6, "text")
    yield Made(name="unknown_prompt", kind="unknown_pack", content=given.saved(), facts=_V)


def _everywhere() -> Iterator[Made]:
    given = page(_T)
    for target in (6, 7):
        origin, slot = given.cut(target, "clip")
    given.virtual(900, "Anything Everywhere", "*", "")
    given.node(900)["inputs"][0]["name"] = "anything"
    given.link(origin, slot, 900, 0)
    yield Made(name="everywhere_clip", kind="everywhere", content=given.saved(), facts=_T)

    given = page(_I)
    for target in (63, 8):
        origin, slot = given.cut(target, "vae")
    given.virtual(900, "Anything Everywhere", "*", "")
    given.node(900)["inputs"][0]["name"] = "anything"
    given.link(origin, slot, 900, 0)
    yield Made(name="everywhere_vae", kind="everywhere", content=given.saved(), facts=_I)

    given = page(_T)
    for number, (title, target) in enumerate((("High", 54), ("Low", 55))):
        origin, slot = given.cut(target, "model")
        given.node(target)["title"] = f"{title} noise shift"
        rules = {"version": "7.8", "title_regex": title, "widget_ue_connectable": {}}
        sender = 900 + number
        given.virtual(sender, "Anything Everywhere", "*", "", properties={"ue_properties": rules})
        given.node(sender)["inputs"][0]["name"] = "anything"
        given.link(origin, slot, sender, 0)
    yield Made(name="everywhere_by_title", kind="everywhere", content=given.saved(), facts=_T)

    given = page(_T)
    for sampler in (57, 58):
        given.cut(sampler, "positive")
        given.cut(sampler, "negative")
    given.virtual(900, "Prompts Everywhere", "* *", "")
    for slot, name in zip(given.node(900)["inputs"], ("positive", "negative"), strict=True):
        slot["name"] = name
    given.link(6, 0, 900, 0)
    given.link(7, 0, 900, 1)
    # Use Everywhere 7.8 renames the two sockets in this front end and then finds no input for them.
    yield Made(name="everywhere_prompts", kind="everywhere", content=given.saved(), facts=_T, is_base=True)


def _within(
    facts: Mapping[str, Any], name: str, ids: tuple[int, ...], face: Mapping[tuple[int, str], Any]
) -> Page:
    """A page whose nodes `ids` lie in a subgraph; `face`: widgets inside with the values shown outside."""
    outer = page(facts)
    inner_nodes = [node for node in outer.nodes if node["id"] in ids]
    kept: list[list[Any]] = []
    crossing_in: list[list[Any]] = []
    crossing_out: list[list[Any]] = []
    within: list[list[Any]] = []
    for link in outer.links:
        _, origin, _, target, _, _ = link
        place = (origin in ids, target in ids)
        {(True, True): within, (False, True): crossing_in, (True, False): crossing_out, (False, False): kept}[
            place
        ].append(link)
    outer.nodes = [node for node in outer.nodes if node["id"] not in ids]
    host: dict[str, Any] = {
        "id": 800, "type": name, "pos": [0, 0], "size": [200, 200], "flags": {}, "order": 99, "mode": 0,
        "inputs": [], "outputs": [], "properties": {"proxyWidgets": []}, "widgets_values": [],
    }  # fmt: skip
    inputs: list[dict[str, Any]] = []
    outputs: list[dict[str, Any]] = []
    links = [dict(zip(_LINK, link, strict=True)) for link in within]
    last = max(link[0] for link in outer.links)
    sources: dict[tuple[int, int], int] = {}
    for link in crossing_in:
        link_id, origin, slot, target, socket, kind = link
        if (origin, slot) not in sources:
            sources[origin, slot] = len(inputs)
            inputs.append(
                {"id": f"in{len(inputs)}", "name": f"{kind}_{len(inputs)}", "type": kind, "linkIds": []}
            )
            last += 1
            host["inputs"].append({"name": inputs[-1]["name"], "type": kind, "link": last})
            kept.append([last, origin, slot, 800, len(host["inputs"]) - 1, kind])
        number = sources[origin, slot]
        inputs[number]["linkIds"].append(link_id)
        links.append(dict(zip(_LINK, (link_id, -10, number, target, socket, kind), strict=True)))
    for (node_id, widget), value in face.items():
        node = next(node for node in inner_nodes if node["id"] == node_id)
        socket = next(number for number, each in enumerate(node["inputs"]) if each["name"] == widget)
        kind = node["inputs"][socket]["type"]
        last += 1
        shown = f"{widget}_{node_id}"
        inputs.append({"id": f"in{len(inputs)}", "name": shown, "type": kind, "linkIds": [last]})
        links.append(dict(zip(_LINK, (last, -10, len(inputs) - 1, node_id, socket, kind), strict=True)))
        node["inputs"][socket]["link"] = last
        host["inputs"].append({"name": shown, "type": kind, "widget": {"name": shown}, "link": None})
        host["properties"]["proxyWidgets"].append(["-1", shown])
        host["widgets_values"].append(value)
    results: dict[tuple[int, int], int] = {}
    for link in crossing_out:
        link_id, origin, slot, target, socket, kind = link
        if (origin, slot) not in results:
            results[origin, slot] = len(outputs)
            last += 1
            outputs.append({"id": f"out{len(outputs)}", "name": kind, "type": kind, "linkIds": [last]})
            links.append(dict(zip(_LINK, (last, origin, slot, -20, len(outputs) - 1, kind), strict=True)))
            host["outputs"].append({"name": kind, "type": kind, "links": []})
        host["outputs"][results[origin, slot]]["links"].append(link_id)
        kept.append([link_id, 800, results[origin, slot], target, socket, kind])
    outer.nodes.append(host)
    outer.links = kept
    outer.subgraphs.append(
        {
            "id": name,
            "version": 1,
            "name": "Sampling",
            "revision": 0,
            "config": {},
            "groups": [],
            "state": {"lastGroupId": 0, "lastNodeId": 900, "lastLinkId": last, "lastRerouteId": 0},
            "inputNode": {"id": -10, "bounding": [0, 0, 120, 100]},
            "outputNode": {"id": -20, "bounding": [900, 0, 120, 100]},
            "inputs": inputs,
            "outputs": outputs,
            "widgets": [],
            "nodes": inner_nodes,
            "links": links,
            "extra": {},
        }
    )
    return outer


_LINK: Final = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
_INNER: Final = "84e2cf3f-de93-40ef-ab22-b9375296917b"


def _subgraphs() -> Iterator[Made]:
    samplers = (54, 55, 57, 58)
    face = {(57, "noise_seed"): 9, (57, "cfg"): 2.5, (58, "cfg"): 3.0}
    given = _within(_T, _INNER, samplers, face)
    yield Made(name="subgraph_promoted", kind="subgraph", content=given.saved(), facts=_T)
    given = _within(_I, _INNER, samplers, {})
    yield Made(name="subgraph_plain", kind="subgraph", content=given.saved(), facts=_I)
    given = _within(_T, _INNER, (59,), {(59, "width"): 640, (59, "height"): 368})
    facts = {**_T, "width": 640, "height": 368}
    yield Made(name="subgraph_size_on_its_face", kind="subgraph", content=given.saved(), facts=facts)
    given = _within(_I, _INNER, (101,), {(101, "strength_model"): 0.5})
    given.node(800)["mode"] = 4
    yield Made(name="subgraph_bypassed", kind="switched_off", content=given.saved(), facts=_I)


def _grouped(facts: Mapping[str, Any], ids: tuple[int, ...]) -> Page:
    """A page whose nodes `ids` are one group node, as editors wrote it before there were subgraphs."""
    outer = page(facts, newer=False)
    inner = [node for node in outer.nodes if node["id"] in ids]
    rank = {node["id"]: number for number, node in enumerate(inner)}
    within = [link for link in outer.links if link[1] in ids and link[3] in ids]
    entering = {link[0]: link for link in outer.links if link[1] not in ids and link[3] in ids}
    leaving = [link for link in outer.links if link[1] in ids and link[3] not in ids]
    kept = [link for link in outer.links if link[1] not in ids and link[3] not in ids]
    inputs: list[dict[str, Any]] = []
    outputs: list[dict[str, Any]] = []
    for name, socket in _shown_sockets(inner, {link[0] for link in within}):
        inputs.append({"name": name, "type": socket["type"], "link": socket["link"]})
        link_id, origin, slot, _, _, kind = entering[socket["link"]]
        kept.append([link_id, origin, slot, 800, len(inputs) - 1, kind])
    for node_id, slot in dict.fromkeys((link[1], link[2]) for link in leaving):
        links = [link for link in leaving if (link[1], link[2]) == (node_id, slot)]
        kind = links[0][5]
        kept += [[link[0], 800, len(outputs), *link[3:]] for link in links]
        outputs.append({"name": kind, "type": kind, "links": [link[0] for link in links]})
    host = {
        "id": 800, "type": "workflow>Sampling", "pos": [0, 0], "size": [200, 200], "flags": {}, "order": 99,
        "mode": 0, "inputs": inputs, "outputs": outputs,
        "properties": {"Node name for S&R": "workflow>Sampling"},
        "widgets_values": [value for node in inner for value in node["widgets_values"]],
    }  # fmt: skip
    outer.nodes = [*(node for node in outer.nodes if node["id"] not in ids), host]
    outer.links = kept
    outer.extra["groupNodes"] = {
        "Sampling": {
            "nodes": [
                {**node, "inputs": [{**each, "link": None} for each in node["inputs"]]} for node in inner
            ],
            "links": [[rank[link[1]], link[2], rank[link[3]], link[4], link[1], link[5]] for link in within],
            "external": [[rank[link[1]], link[2], link[5]] for link in leaving],
        }
    }
    return outer


def _shown_sockets(inner: list[dict[str, Any]], within: set[int]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The sockets of a group under the names that the editor gives them: their own, but for repeated ones.

    Source: ComfyUI's frontend, ``groupNode.ts``, ``getInputConfig``.
    """
    seen: dict[str, int] = {}
    for node in inner:
        widgets = [each.name for each in _KNOWN[node["type"]].inputs if is_widget(each)]
        sockets = {each["name"]: each for each in node["inputs"] if each["link"] not in within}
        for own in (*widgets, *sockets):
            key = name = own
            if name in seen:
                prefix = f"{node.get('title', node['type'])} "
                key = name = f"{prefix}{own}"
                if name in seen:
                    name = f"{prefix}{seen[name]} {own}"
            seen[key] = seen.get(key, 1) + 1
            if own in sockets:
                yield name, sockets[own]


def _groups() -> Iterator[Made]:
    for facts, ids in ((_T, (57, 58)), (_I, (54, 55, 57, 58)), (_T, (38, 6, 7))):
        name = f"group_of_{len(ids)}_{facts['base']}"
        yield Made(name=name, kind="group", content=_grouped(facts, ids).saved(), facts=facts)


def _switched_off() -> Iterator[Made]:
    for newer in (False, True):
        form = "newer" if newer else "older"
        given = page(_I, newer=newer)
        given.node(101)["mode"] = 4
        given.node(102)["mode"] = 4
        yield Made(name=f"bypassed_loras_{form}", kind="switched_off", content=given.saved(), facts=_I)
        given = page(_T, newer=newer)
        given.node(58)["mode"] = 4
        facts = {**_T, "steps": [10]}
        yield Made(name=f"bypassed_sampler_{form}", kind="switched_off", content=given.saved(), facts=facts)
        given = page(_I, newer=newer)
        given.node(62)["mode"] = 2
        yield Made(name=f"muted_image_{form}", kind="switched_off", content=given.saved(), facts=_I)
    given = page(_I)
    given.node(62)["mode"] = 4
    yield Made(name="bypassed_image", kind="switched_off", content=given.saved(), facts=_I)
    given = page(_W)
    for muted in (37, 30):
        given.node(muted)["mode"] = 2
    yield Made(name="muted_branch_and_option", kind="switched_off", content=given.saved(), facts=_W)
    given = page(_W)
    given.node(27)["mode"] = 4
    yield Made(name="bypassed_resize", kind="switched_off", content=given.saved(), facts=_W)


def _reroutes() -> Iterator[Made]:
    kinds = {"Reroute": "core", "Reroute (rgthree)": "rgthree", "mxReroute": "mx"}
    for kind, pack in kinds.items():
        for facts, target, name, of in ((_T, 8, "samples", "LATENT"), (_I, 54, "model", "MODEL")):
            given = page(facts)
            for number in (900, 901):
                given.virtual(number, kind, "*", "*" if kind != "Reroute" else of)
            given.through(target, name, 900, 901)
            yield Made(
                name=f"reroute_{pack}_{of.lower()}", kind="reroute", content=given.saved(), facts=facts
            )


def _set_and_get() -> Iterator[Made]:
    for facts, target, name, of in ((_T, 57, "model", "MODEL"), (_W, 36, "vae", "WANVAE")):
        given = page(facts)
        origin, slot = given.cut(target, name)
        given.virtual(900, "SetNode", of, "*", "shared", properties={"previousName": "shared"})
        given.virtual(901, "GetNode", "", of, "shared")
        given.node(900)["inputs"][0]["name"] = of
        given.link(origin, slot, 900, 0)
        given.link(901, 0, target, name)
        yield Made(name=f"set_get_{of.lower()}", kind="set_get", content=given.saved(), facts=facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Constant:
    class_type: str
    values: Mapping[str, Any]
    feeds: tuple[tuple[int, str, int], ...]  # node, input, output of the constant
    properties: Mapping[str, Any] = field(default_factory=dict)


# On `_T`: what stands at a literal there comes from a node of a pack.
_CONSTANTS: Final[Mapping[str, _Constant]] = {
    "core_int": _Constant(class_type="PrimitiveInt", values={"value": 832}, feeds=((59, "width", 0),)),
    "core_float": _Constant(class_type="PrimitiveFloat", values={"value": 16.0}, feeds=((60, "fps", 0),)),
    "core_text": _Constant(
        class_type="PrimitiveStringMultiline", values={"value": "a fox"}, feeds=((6, "text", 0),)
    ),
    "kj_int": _Constant(class_type="INTConstant", values={"value": 81}, feeds=((59, "length", 0),)),
    "kj_float": _Constant(
        class_type="FloatConstant", values={"value": 3.5}, feeds=((57, "cfg", 0), (58, "cfg", 0))
    ),
    "kj_text": _Constant(
        class_type="StringConstantMultiline",
        values={"string": "a fox", "strip_newlines": True},
        feeds=((6, "text", 0),),
    ),
    "easy_int": _Constant(class_type="easy int", values={"value": 480}, feeds=((59, "height", 0),)),
    "easy_float": _Constant(class_type="easy float", values={"value": 16.0}, feeds=((60, "fps", 0),)),
    "easy_text": _Constant(class_type="easy string", values={"value": "a fox"}, feeds=((6, "text", 0),)),
    "easy_seed": _Constant(class_type="easy seed", values={"seed": 71}, feeds=((57, "noise_seed", 0),)),
    "mx_slider": _Constant(
        class_type="mxSlider",
        values={"Xi": 81, "Xf": 81.0, "isfloatX": 0},
        feeds=((59, "length", 0),),
        properties={"value": 81, "min": 1, "max": 200, "step": 4, "decimals": 0, "snap": True},
    ),
    "mx_slider_2d": _Constant(
        class_type="mxSlider2D",
        values={"Xi": 832, "Xf": 832.0, "Yi": 480, "Yf": 480.0, "isfloatX": 0, "isfloatY": 0},
        feeds=((59, "width", 0), (59, "height", 1)),
        properties={
            "valueX": 832, "valueY": 480, "minX": 0, "minY": 0, "maxX": 1024, "maxY": 1024, "stepX": 16,
            "stepY": 16, "decimalsX": 0, "decimalsY": 0, "snap": True,
        },
    ),
    "mx_seed": _Constant(class_type="mxSeed", values={"X": 71}, feeds=((57, "noise_seed", 0),)),
    "rgthree_seed": _Constant(
        class_type="Seed (rgthree)", values={"seed": 71}, feeds=((57, "noise_seed", 0),)
    ),
    "essentials_math": _Constant(
        class_type="SimpleMath+", values={"value": "16*5+1"}, feeds=((59, "length", 0),)
    ),
    "essentials_int": _Constant(
        class_type="SimpleMathInt+", values={"value": 832}, feeds=((59, "width", 0),)
    ),
    "pysssss_math": _Constant(
        class_type="MathExpression|pysssss", values={"expression": "800+32"}, feeds=((59, "width", 0),)
    ),
    "jps_multiply": _Constant(
        class_type="Multiply Int Int (JPS)", values={"int_a": 104, "int_b": 8}, feeds=((59, "width", 0),)
    ),
    "jps_text": _Constant(class_type="Text Prompt (JPS)", values={"text": "a fox"}, feeds=((6, "text", 0),)),
}  # fmt: skip


def _constants() -> Iterator[Made]:
    for name, each in _CONSTANTS.items():
        given = page(_T)
        node = given.add(900, each.class_type, each.values)
        node["properties"].update(each.properties)
        for target, socket, slot in each.feeds:
            given.link(900, slot, target, socket)
        yield Made(name=f"constant_{name}", kind="constant", content=given.saved(), facts=_T)
    for newer in (False, True):
        given = page(_T, newer=newer)
        given.virtual(900, "PrimitiveNode", "", "INT", 832, "fixed", title="width")
        given.node(900)["outputs"][0]["widget"] = {"name": "width"}
        given.link(900, 0, 59, "width")
        form = "newer" if newer else "older"
        yield Made(name=f"constant_primitive_{form}", kind="constant", content=given.saved(), facts=_T)


def _controls() -> Iterator[Made]:
    for control in ("randomize", "increment", "decrement"):
        given = Page(_KNOWN, newer=True)
        given.control = control
        yield Made(name=f"control_{control}", kind="control", content=given.draw(base(_V)).saved(), facts=_V)


def _lora_rows() -> Iterator[Made]:
    rows = (
        ("101", [(True, "fog_high.safetensors", 1.0), (True, "harbour_high.safetensors", 0.6)]),
        ("102", [(True, "fog_low.safetensors", 1.0), (False, "harbour_low.safetensors", 0.6)]),
    )
    given = page(_I)
    for node_id, loras in rows:
        old = given.node(int(node_id))
        old["type"] = "Power Lora Loader (rgthree)"
        old["properties"] = {"Show Strengths": "Single Strength", "cnr_id": "rgthree-comfy"}
        old["inputs"] = [*old["inputs"][:1], {"name": "clip", "type": "CLIP", "link": None}]
        old["outputs"] = [*old["outputs"], {"name": "CLIP", "type": "CLIP", "links": []}]
        old["widgets_values"] = [
            {},
            {"type": "PowerLoraLoaderHeaderWidget"},
            *(
                {"on": on, "lora": lora, "strength": strength, "strengthTwo": None}
                for on, lora, strength in loras
            ),
            {},
            "",
        ]
    expected = {
        "high": {"fog_high.safetensors": 1.0, "harbour_high.safetensors": 0.6},
        "low": {"fog_low.safetensors": 1.0},
    }
    yield Made(name="loras_in_rows", kind="loras", content=given.saved(), facts={**_I, "loras": expected})
    given = page(_W)
    given.value(14, "lora_1", "mist_high.safetensors")
    given.value(14, "strength_1", 0.0)
    expected = {
        "high": {"harbour_fog_high.safetensors": 1, "mist_high.safetensors": 0.0},
        "low": {"harbour_fog_low.safetensors": 1},
    }
    yield Made(
        name="loras_of_strength_zero", kind="loras", content=given.saved(), facts={**_W, "loras": expected}
    )


def _samplers() -> Iterator[Made]:
    for newer in (False, True):
        graph = base(_T)
        del graph["54"], graph["55"], graph["58"]
        graph["57"] = {
            "class_type": "WanMoeKSampler",
            "inputs": {
                "model_high_noise": ["37", 0], "model_low_noise": ["56", 0], "boundary": 0.875,
                "add_noise": "enable", "noise_seed": 71, "steps": 8, "cfg_high_noise": 3.5,
                "cfg_low_noise": 1.0,
                "sampler_name": "euler", "scheduler": "simple", "sigma_shift": 5.0, "positive": ["6", 0],
                "negative": ["7", 0], "latent_image": ["59", 0], "start_at_step": 0, "end_at_step": 10000,
                "return_with_leftover_noise": "disable",
            },
        }  # fmt: skip
        graph["8"]["inputs"]["samples"] = ["57", 0]
        facts = {**_T, "steps": [8]}
        name = f"sampler_of_both_experts_{'newer' if newer else 'older'}"
        content = Page(_KNOWN, newer=newer).draw(graph).saved()
        yield Made(name=name, kind="sampler", content=content, facts=facts)
    graph = base(_T)
    middle = {**graph["57"]["inputs"], "start_at_step": 2, "end_at_step": 10, "add_noise": "disable"}
    graph["57"]["inputs"]["end_at_step"] = 2
    graph["59999"] = {"class_type": "KSamplerAdvanced", "inputs": {**middle, "latent_image": ["57", 0]}}
    graph["58"]["inputs"]["latent_image"] = ["59999", 0]
    content = Page(_KNOWN, newer=True).draw(graph).saved()
    yield Made(
        name="sampler_in_three_stages", kind="sampler", content=content, facts={**_T, "steps": [2, 8, 10]}
    )


def _sizes() -> Iterator[Made]:
    given = page(_I)
    given.add(900, "ImageResizeKJv2", {
        "width": 720, "height": 720, "upscale_method": "lanczos", "keep_proportion": "crop",
        "pad_color": "0, 0, 0", "crop_position": "center", "divisible_by": 32, "device": "cpu",
    })  # fmt: skip
    given.link(62, 0, 900, "image")
    given.link(900, 0, 63, "start_image")
    given.link(900, 1, 63, "width")
    given.link(900, 2, 63, "height")
    facts = {**_I, "width": 704, "height": 704}
    yield Made(name="size_of_a_resize", kind="size", content=given.saved(), facts=facts)
    given = page(_I)
    given.add(900, "ImageScale", {"upscale_method": "lanczos", "width": 832, "height": 480, "crop": "center"})
    given.add(901, "GetImageSize", {})
    given.link(62, 0, 900, "image")
    given.link(900, 0, 901, "image")
    given.link(900, 0, 63, "start_image")
    given.link(901, 0, 63, "width")
    given.link(901, 1, 63, "height")
    facts = {**_I, "width": 832, "height": 480}
    yield Made(name="size_of_a_picture", kind="size", content=given.saved(), facts=facts)


def _wrapped() -> Iterator[Made]:
    around: tuple[tuple[str, Mapping[str, Any], dict[str, Any]], ...] = (
        ("input_workflow", _T, {"input": {"workflow": base(_T)}}),
        ("prompt", _W, {"prompt": base(_W), "client_id": "x"}),
        ("any_key", _V, {"my_graph": base(_V)}),
    )
    for name, facts, content in around:
        yield Made(name=f"wrapped_{name}", kind="wrapped", content=content, facts=facts, is_base=True)
    yield Made(name="wrapped_editor_file", kind="wrapped", content={"workflow": page(_I).saved()}, facts=_I)


def _marks() -> Iterator[Made]:
    for facts in (_T, _V):
        given = str(facts["base"])
        remarked = {**base(facts), "_comment": "made by a script"}
        yield Made(name=f"remark_{given}", kind="remark", content=remarked, facts=facts, is_base=True)
        marked = base(facts)
        for node in marked.values():
            node["is_changed"] = [math.nan]
        yield Made(name=f"is_changed_{given}", kind="mark", content=marked, facts=facts, is_base=True)
        yield Made(
            name=f"bom_{given}", kind="mark", content=base(facts), text=_with_bom, facts=facts, is_base=True
        )
        content = page(facts).saved()
        yield Made(name=f"crlf_{given}", kind="mark", content=content, text=_with_crlf, facts=facts)


def _with_bom(text: str) -> bytes:
    return text.encode("utf-8-sig")


def _with_crlf(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


def main() -> None:
    """Write the corpus."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--front-end", type=Path)
    parser.add_argument("--pack", type=pack_given, action="append", default=[])
    parser.add_argument("--files", type=Path)
    given = parser.parse_args()
    if given.files is not None:
        _export_folder(given.files, given.front_end, given.pack)
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.json"):
        old.unlink()
    made = corpus()
    for each in made:
        text = json.dumps(each.content, indent=1, ensure_ascii=False) + "\n"
        (FOLDER / f"{each.name}.json").write_bytes(each.text(text))
    facts = {each.name: {"kind": each.kind, "is_base": each.is_base, **each.facts} for each in made}
    (FOLDER.parent / "corpus_facts.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    if given.front_end is not None:
        _export(made, given.front_end, given.pack)


def _export(made: list[Made], static: Path, packs: list[Pack]) -> None:
    truth: dict[str, Any] = {}
    known = {**shipped_definitions(files={}), **parse_definitions(UNKNOWN)}
    with front_end(static, known, packs) as page_:
        for each in made:
            workflow = each.content if "nodes" in each.content else each.content.get("workflow")
            if isinstance(workflow, dict) and not each.is_base:
                truth[each.name] = page_.export(workflow)
        shapes = {name: shape_of(page_.export(each)) for name, each in wan_workflows().items()}
    (_DATA / "official_shapes.json").write_text(json.dumps(shapes, indent=1) + "\n", encoding="utf-8")
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(graph)}" for name, graph in truth.items())
    (FOLDER.parent / "corpus_truth.json").write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


def _export_folder(folder: Path, static: Path, packs: list[Pack]) -> None:
    # Of five thousand classes the front end would be at work for minutes.
    text = b"".join(files_in(folder).values()).decode("utf-8", errors="replace")
    beside = definitions_beside(folder) or shipped_definitions(files={})
    named = {name: (json.dumps(name), json.dumps(name, ensure_ascii=False)) for name in beside}
    known = {
        name: beside[name]
        for name, forms in named.items()
        if name == "KSampler" or any(form in text for form in forms)
    }
    truth: dict[str, Any] = {}
    with front_end(static, known, packs) as page_:
        for name, content in files_in(folder).items():
            saved = json.loads(content.decode("utf-8-sig"))
            if "nodes" not in saved:
                continue  # a graph already
            try:
                truth[name] = page_.export(saved)
            except RuntimeError as exc:
                sys.stderr.write(f"{name}: the front end fails: {exc!s:.300}\n")
    (folder / TRUTH).write_text(json.dumps(truth), encoding="utf-8")


def pack_given(text: str) -> Pack:
    name, _, folder = text.partition("=")
    path = Path(folder)
    if name != "rgthree-comfy":
        return Pack(name=name, web=path, beside={}, scripts={})
    # Source: rgthree-comfy ``py/server/routes_config.py``.
    lines = (path.parents[1] / "rgthree_config.json.default").read_text(encoding="utf-8").splitlines()
    config = "\n".join(line for line in lines if not line.lstrip().startswith("//"))
    return Pack(
        name=name,
        web=path,
        beside={"/rgthree/common": path.parent / "common"},
        scripts={"/rgthree/config.js": f"export const rgthreeConfig = {config}"},
    )


if __name__ == "__main__":
    main()
