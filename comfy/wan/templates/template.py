"""A graph with parameters: what a template is made of, and how it becomes a graph that runs."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.resources import files
from itertools import zip_longest
from typing import Any, Final

from comfy.errors import GraphError
from comfy.graphs.graph import Graph, load_graph
from comfy.wan.find import describe
from comfy.wan.models import Expert
from comfy.wan.names import expert_of_lora
from comfy.wan.parameters import (
    MAX_SEED,
    SNAP,
    Parameter,
    ParameterKind,
    parameter_problem,
    read_number,
    read_parameters,
)
from comfy.wan.sizes import FRAMES, SIDES, Grid

# Source: the prompt of the official templates, WAN's own negative prompt in Chinese.
NEGATIVE = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，"
    "JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，"
    "手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"
)

LORAS: Final = "loras"
_LORAS_FORM: Final = "FILE:STRENGTH, FILE:STRENGTH"
_LONGEST_NAME: Final = 255  # characters, folders included
_STRONGEST: Final = 100  # as ComfyUI's own loader has it
_LORAS: Final = Parameter(
    name=LORAS,
    kind=ParameterKind.TEXT,
    by_default="none",
    help=f"LoRAs of your own, as {_LORAS_FORM} (1 where none stands); one whose name tells high or low noise"
    " goes to that expert only",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltGraph:
    """A graph ready to run, and what it was built from."""

    graph: Graph
    parameters: dict[str, Any]  # every parameter with the value used, the seed drawn included
    files: dict[str, Any]  # "node.input" -> path, address or bytes of the file that the node is to read

    @property
    def title(self) -> str:
        """A short one: "WAN 2.2 T2V A14B 832×480 81f 20 steps"."""
        return describe(self.graph)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Settings that belong together."""

    help: str
    steps: int  # of all samplers together
    cfg: float
    shift: float
    width: int  # pixels
    height: int  # pixels
    frames: int
    loras: tuple[str, ...] = ()  # few-step LoRAs, one for each model, in the order of the template's slots


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraSlot:
    """Where LoRAs of one model are put in: each is a node, and an input takes what the last one makes."""

    node_id: str  # of the few-step LoRA; those of others begin with it
    class_type: str
    expert: Expert
    file_input: str  # the input that names the file
    strength_input: str
    chained_by: str  # the input that takes what comes before it: a model, or another LoRA
    inputs: Mapping[str, Any]  # the others
    into: tuple[str, str]  # node and input


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture that the graph is given."""

    help: str
    node_id: str  # the node that loads it
    arrives: tuple[str, str] | None = None  # node and input without which the graph runs as well; else needed


@dataclass(frozen=True, kw_only=True)
class Template:
    """A graph with parameters."""

    name: str
    title: str
    source: str  # where its settings come from
    resource: str  # file name in comfy/wan/graphs
    inputs: Mapping[str, tuple[tuple[str, str], ...]]  # setting -> nodes and inputs that get it
    presets: Mapping[str, Preset]
    fps: float = 16.0
    sides: Grid = SIDES
    loras: tuple[LoraSlot, ...] = ()
    pictures: Mapping[str, Picture] = field(default_factory=dict)

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """What may be asked for."""
        pictures = (
            Parameter(
                name=name,
                kind=ParameterKind.FILE,
                required=picture.arrives is None,
                by_default="" if picture.arrives is None else "none",
                help=picture.help,
            )
            for name, picture in self.pictures.items()
        )
        loras = (_LORAS,) if self.loras else ()
        return (*_texts(self.presets), *pictures, *_numbers(self.sides, self.fps), *loras)

    def build(self, /, **given: Any) -> BuiltGraph:
        """Build the graph; what is not given takes the preset's value, and a seed is drawn.

        Raises:
            GraphError: a parameter is unknown, missing or has a value that WAN does not take.
        """
        values = read_parameters(self.parameters, given)
        preset = self.presets[values["preset"]]
        for name in ("steps", "cfg", "shift", "width", "height", "frames"):
            if values[name] is None:
                values[name] = getattr(preset, name)
        if values["seed"] is None:
            # 53 bits: a number that JavaScript, and so ComfyUI's editor, can show without rounding.
            values["seed"] = secrets.randbelow(2**53)
        graph = _read_resource(self.resource)
        written = {**values, "split": values["steps"] // 2}
        for name, inputs in self.inputs.items():
            for node_id, input_name in inputs:
                graph[node_id]["inputs"][input_name] = written[name]
        wanted = _read_loras(values.get(LORAS) or "")
        for slot, few_step in zip_longest(self.loras, preset.loras):
            _put_in(graph, slot, few_step, [each for each in wanted if each.is_for(slot.expert)])
        return BuiltGraph(graph=graph, parameters=values, files=self._files(graph, values))

    def example(self, **given: Any) -> Graph:
        """The graph with something in all that it needs."""
        needed = {each.name: "x" for each in self.parameters if each.required}
        return self.build(**{**needed, "seed": 1, **given}).graph

    def _files(self, graph: Graph, values: Mapping[str, Any]) -> dict[str, Any]:
        files: dict[str, Any] = {}
        for name, picture in self.pictures.items():
            if values[name] is not None:
                files[f"{picture.node_id}.image"] = values[name]
            elif picture.arrives is not None:
                node_id, input_name = picture.arrives
                del graph[picture.node_id], graph[node_id]["inputs"][input_name]
        return files


@dataclass(frozen=True, slots=True, kw_only=True)
class _WantedLora:
    file: str
    strength: float = 1.0

    def is_for(self, expert: Expert) -> bool:
        """Whether it goes to this model: its name tells when it is made for the other of a pair."""
        return expert is Expert.SINGLE or expert_of_lora(self.file) in (None, expert)


def _read_loras(text: str) -> list[_WantedLora]:
    """What `LORAS` names.

    Raises:
        GraphError: a part of it is no file with a strength.
    """
    return [_read_lora(part.strip()) for part in text.split(",")] if text.strip() else []


def _read_lora(text: str) -> _WantedLora:
    file, colon, said = text.rpartition(":")
    try:
        lora = _WantedLora(file=file.strip(), strength=read_number(said, whole=False)) if colon else None
    except ValueError:
        lora = None  # the colon is the name's own
    lora = lora or _WantedLora(file=text)
    if not 0 < len(lora.file) <= _LONGEST_NAME or abs(lora.strength) > _STRONGEST:
        words = f"{text[:80]!r} is not as {_LORAS_FORM}, with a strength of -{_STRONGEST} to {_STRONGEST}"
        raise GraphError([parameter_problem("bad_parameter", LORAS, words)])
    return lora


def _put_in(graph: Graph, slot: LoraSlot, few_step: str | None, wanted: Sequence[_WantedLora]) -> None:
    node_id, input_name = slot.into
    loras = [(f"{slot.node_id}{at}", "LoRA", each) for at, each in enumerate(wanted, 1)]
    if few_step is not None:
        loras.insert(0, (slot.node_id, "few-step LoRA", _WantedLora(file=few_step)))
    for lora_id, title, lora in loras:
        inputs = {slot.file_input: lora.file, slot.strength_input: lora.strength, **slot.inputs}
        before = graph[node_id]["inputs"].get(input_name)
        if before is not None:
            inputs[slot.chained_by] = before
        of = "model" if slot.expert is Expert.SINGLE else f"{slot.expert}-noise expert"
        graph[lora_id] = {
            "class_type": slot.class_type,
            "inputs": inputs,
            "_meta": {"title": f"{title}, {of}"},
        }
        graph[node_id]["inputs"][input_name] = [lora_id, 0]


def _texts(presets: Mapping[str, Preset]) -> tuple[Parameter, ...]:
    dead = ", ".join(name for name, preset in presets.items() if preset.cfg == 1.0)
    return (
        Parameter(name="prompt", kind=ParameterKind.TEXT, help="what the clip shows", required=True),
        Parameter(
            name="negative",
            kind=ParameterKind.TEXT,
            default=NEGATIVE,
            help="what the clip avoids" + (f"; without effect at cfg 1 ({dead})" if dead else ""),
        ),
        Parameter(
            name="preset",
            kind=ParameterKind.CHOICE,
            default="quality",
            choices=tuple(presets),
            help="settings that belong together, for all that is not given",
        ),
    )


def _numbers(sides: Grid, fps: float) -> tuple[Parameter, ...]:
    whole, number = ParameterKind.INTEGER, ParameterKind.NUMBER
    preset = "the preset's"
    return (
        Parameter(name="width", kind=whole, grid=sides, unit="pixels", by_default=preset, help="of the clip"),
        Parameter(
            name="height", kind=whole, grid=sides, unit="pixels", by_default=preset, help="of the clip"
        ),
        Parameter(
            name="frames", kind=whole, grid=FRAMES, unit="frames", by_default=preset, help="of the clip"
        ),
        Parameter(
            name="fps",
            kind=number,
            default=fps,
            minimum=1,
            maximum=120,
            unit="frames per second",
            help=f"of the file; movement is natural at {fps:g}",
        ),
        Parameter(
            name="seed",
            kind=whole,
            minimum=0,
            maximum=MAX_SEED,
            by_default="drawn",
            help="of the noise that the clip is made from",
        ),
        Parameter(
            name="steps",
            kind=whole,
            minimum=2,
            maximum=100,
            unit="steps",
            by_default=preset,
            help="of all samplers together",
        ),
        Parameter(
            name="cfg",
            kind=number,
            minimum=1,
            maximum=30,
            by_default=preset,
            help="guidance scale; above 1 each step takes twice as long",
        ),
        Parameter(
            name="shift", kind=number, minimum=0, maximum=100, by_default=preset, help="of the noise schedule"
        ),
        Parameter(
            name=SNAP,
            kind=ParameterKind.SWITCH,
            default=False,
            help="take the nearest size and length that the model takes, instead of refusing",
        ),
    )


def _read_resource(name: str) -> Graph:
    """A copy for one job: nodes and their inputs are its own, links are shared and never written to."""
    return {
        node_id: {**node, "inputs": dict(node["inputs"])} for node_id, node in _parsed_resource(name).items()
    }


@cache
def _parsed_resource(name: str) -> Graph:
    return load_graph((files("comfy.wan") / "graphs" / name).read_text(encoding="utf-8"))
