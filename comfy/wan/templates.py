"""Graphs that work, with typed parameters: `get_template` and `Template.build`."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from comfy.errors import GraphError, GraphProblem
from comfy.graph import Graph, load_graph, near_names
from comfy.wan.find import describe
from comfy.wan.parameters import Parameter, ParameterKind, read_parameters
from comfy.wan.sizes import frames_fault, side_fault

MAX_SEED = 2**64 - 1  # KSamplerAdvanced's noise_seed

# Source: the prompt of the official template, WAN's own negative prompt in Chinese.
_NEGATIVE = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，"
    "JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，"
    "手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"
)
_LORA_HIGH = "wan2.2_t2v_lightx2v_4steps_lora_v1.1_high_noise.safetensors"
_LORA_LOW = "wan2.2_t2v_lightx2v_4steps_lora_v1.1_low_noise.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltGraph:
    """A graph ready to run, and what it was built from."""

    graph: Graph
    parameters: dict[str, Any]  # every parameter with the value used, the seed drawn included

    @property
    def title(self) -> str:
        """A short one: "WAN 2.2 T2V A14B 832×480 81f 20 steps"; never the prompt's text."""
        return describe(self.graph)


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A graph with parameters."""

    name: str
    title: str
    parameters: tuple[Parameter, ...]
    fill: Callable[[Graph, dict[str, Any]], None]  # writes the values into a graph of its own
    resource: str  # file name in comfy/wan/graphs

    def build(self, /, **given: Any) -> BuiltGraph:
        """Build the graph; what is not given takes the preset's value, and a seed is drawn.

        Raises:
            GraphError: a parameter is unknown, missing or has a value that WAN does not take.
        """
        values = read_parameters(self.parameters, given)
        graph = _read_resource(self.resource)
        self.fill(graph, values)
        return BuiltGraph(graph=graph, parameters=values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Settings that belong together. Source: ComfyUI's official template video_wan2_2_14B_t2v."""

    steps: int
    cfg: float
    shift: float
    width: int
    height: int
    frames: int
    few_step_lora: bool


PRESETS = {
    "quality": Preset(steps=20, cfg=3.5, shift=8.0, width=832, height=480, frames=81, few_step_lora=False),
    "fast": Preset(steps=4, cfg=1.0, shift=5.0, width=832, height=480, frames=81, few_step_lora=True),
    "draft": Preset(steps=4, cfg=1.0, shift=5.0, width=480, height=272, frames=33, few_step_lora=True),
}


def get_template(name: str) -> Template:
    """Give a built-in template by name.

    Raises:
        GraphError: there is none of that name; the message lists them.
    """
    if name not in TEMPLATES:
        known = ", ".join(near_names(name, TEMPLATES, limit=len(TEMPLATES)))
        message = f"there is no template {name!r}; there are: {known}"
        raise GraphError([GraphProblem(kind="unknown_template", message=message)])
    return TEMPLATES[name]


def _fill_t2v_a14b(graph: Graph, values: dict[str, Any]) -> None:
    preset = PRESETS[values["preset"]]
    for name in ("steps", "width", "height", "frames"):
        if values[name] is None:
            values[name] = getattr(preset, name)
    if values["seed"] is None:
        # 53 bits: a number that JavaScript, and so ComfyUI's editor, can show without rounding.
        values["seed"] = secrets.randbelow(2**53)
    graph["6"]["inputs"]["text"] = values["prompt"]
    graph["7"]["inputs"]["text"] = values["negative"]
    graph["59"]["inputs"].update(width=values["width"], height=values["height"], length=values["frames"])
    graph["60"]["inputs"]["fps"] = values["fps"]
    _fill_sampling(graph, preset, steps=values["steps"], seed=values["seed"])
    if preset.few_step_lora:
        _add_lora(graph, "101", loader="37", shift="54", lora_name=_LORA_HIGH)
        _add_lora(graph, "102", loader="56", shift="55", lora_name=_LORA_LOW)


def _fill_sampling(graph: Graph, preset: Preset, *, steps: int, seed: int) -> None:
    split = steps // 2
    high, low = graph["57"]["inputs"], graph["58"]["inputs"]
    high.update(steps=steps, cfg=preset.cfg, start_at_step=0, end_at_step=split, noise_seed=seed)
    # The low-noise stage goes on from the other's leftover noise: its own seed adds none.
    low.update(steps=steps, cfg=preset.cfg, start_at_step=split)
    for node_id in ("54", "55"):
        graph[node_id]["inputs"]["shift"] = preset.shift


def _add_lora(graph: Graph, node_id: str, *, loader: str, shift: str, lora_name: str) -> None:
    graph[node_id] = {
        "class_type": "LoraLoaderModelOnly",
        "inputs": {"lora_name": lora_name, "strength_model": 1.0, "model": [loader, 0]},
        "_meta": {"title": f"few-step LoRA, {graph[loader]['_meta']['title']}"},
    }
    graph[shift]["inputs"]["model"] = [node_id, 0]


def _read_resource(name: str) -> Graph:
    """A copy for one job: nodes and their inputs are its own, links are shared and never written to."""
    return {
        node_id: {**node, "inputs": dict(node["inputs"])} for node_id, node in _parsed_resource(name).items()
    }


@cache
def _parsed_resource(name: str) -> Graph:
    return load_graph((files("comfy.wan") / "graphs" / name).read_text(encoding="utf-8"))


_WAN22_T2V_A14B = Template(
    name="wan22-t2v-a14b",
    title="WAN 2.2 A14B text to video, two experts, core nodes only",
    resource="wan22_t2v_a14b.json",
    fill=_fill_t2v_a14b,
    parameters=(
        Parameter(name="prompt", kind=ParameterKind.TEXT, help="what the clip shows", required=True),
        Parameter(
            name="negative",
            kind=ParameterKind.TEXT,
            default=_NEGATIVE,
            help="what the clip avoids; without effect in the presets fast and draft (cfg 1)",
        ),
        Parameter(
            name="preset",
            kind=ParameterKind.CHOICE,
            default="quality",
            choices=tuple(PRESETS),
            help="quality: 20 steps; fast: 4 steps with the lightx2v LoRA pair; draft: fast and small",
        ),
        Parameter(
            name="width",
            kind=ParameterKind.INTEGER,
            check=side_fault,
            help="pixels, a multiple of 16; default 832, draft 480",
        ),
        Parameter(
            name="height",
            kind=ParameterKind.INTEGER,
            check=side_fault,
            help="pixels, a multiple of 16; default 480, draft 272",
        ),
        Parameter(
            name="frames",
            kind=ParameterKind.INTEGER,
            check=frames_fault,
            help="frames, 4n+1; default 81, draft 33",
        ),
        Parameter(
            name="fps",
            kind=ParameterKind.NUMBER,
            default=16.0,
            minimum=1,
            maximum=120,
            help="frames per second of the file; WAN moves as at 16",
        ),
        Parameter(
            name="seed", kind=ParameterKind.INTEGER, minimum=0, maximum=MAX_SEED, help="drawn when not given"
        ),
        Parameter(
            name="steps",
            kind=ParameterKind.INTEGER,
            minimum=2,
            maximum=100,
            help="sampler steps, half for each expert; default 20, fast and draft 4",
        ),
    ),
)

TEMPLATES = {_WAN22_T2V_A14B.name: _WAN22_T2V_A14B}
