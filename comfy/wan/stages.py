"""Finds the sampling stages of a graph: each sampler with its model, LoRAs and settings, in order."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from comfy.graphs.links import is_link
from comfy.graphs.required import is_model_file
from comfy.graphs.values import Setting
from comfy.node_defs.node_classes import model_folder
from comfy.wan.loras import is_lora_node, loras_of
from comfy.wan.models import Expert
from comfy.wan.names import expert_of_file, is_single
from comfy.wan.parts import Loader, Lora, Part, Stage
from comfy.wan.reader import Carried, Reader
from comfy.wan.shares import models_of, share_of
from comfy.wan.sigmas import SIGMAS, steps_of_row

_SAMPLER: Final = re.compile(r"(KSampler(?!Select)|SamplerCustom|VideoSampler(?!Settings|ExtraArgs))")
_LOOPS: Final = re.compile(r"Sampler(?!Select|Settings|ExtraArgs)")

# The role of a stage's setting -> the inputs that it goes by in core, KJNodes and the wrapper.
STAGE_ROLES: Final[Mapping[str, tuple[str, ...]]] = {
    "seed": ("noise_seed", "seed"),
    "steps": ("steps",),
    "start": ("start_at_step", "start_step"),
    "end": ("end_at_step", "end_step"),
    "cfg": ("cfg",),
    "sampler": ("sampler_name",),
    "scheduler": ("scheduler",),
    "denoise": ("denoise", "denoise_strength"),
    "add_noise": ("add_noise",),
    "leftover": ("return_with_leftover_noise",),
    "shift": ("shift", "sigma_shift"),
}
# SplitSigmas cuts a row of steps in two: its first output ends at the step that its second begins with.
_SPLIT_SIGMAS: Final = "SplitSigmas"
_UNGUIDED: Final = "BasicGuider"


def is_sampler(reader: Reader, node_id: str) -> bool:
    """Tell whether a node samples: by its class, or because it makes latents from a model.

    What hands the model on as well only prepares both for a sampler.
    """
    if _SAMPLER.search(reader.class_type(node_id)) is not None:
        return True
    if not reader.linked(node_id, Carried.MODEL) or reader.makes(node_id, Carried.MODEL):
        return False
    # One that loops over a long clip decodes each piece, and makes pictures.
    loops = _LOOPS.search(reader.class_type(node_id)) is not None and bool(
        reader.linked(node_id, Carried.TEXT)
    )
    return loops or reader.makes(node_id, Carried.LATENT)


def find_stages(reader: Reader) -> tuple[Stage, ...]:
    """List the stages in the order in which they run."""
    samplers = [node_id for node_id in reader.nodes() if is_sampler(reader, node_id)]
    stages = [stage for node_id in reader.in_order(samplers) for stage in _stages_of(reader, node_id)]
    return tuple(_with_experts(stages))


def sampling_nodes(reader: Reader, sampler_id: str) -> tuple[str, ...]:
    """The sampler and what it is put together from: guider, noise, sigmas. Nearest first."""
    found = dict.fromkeys([sampler_id])
    waiting = [sampler_id]
    while waiting:
        node_id = waiting.pop(0)
        for name in reader.linked(node_id, Carried.SAMPLING):
            source = reader.source(node_id, name)
            if source is not None and source[0] not in found:
                found[source[0]] = None
                waiting.append(source[0])
    return tuple(found)


def _stages_of(reader: Reader, sampler_id: str) -> Iterator[Stage]:
    nodes = sampling_nodes(reader, sampler_id)
    holder, names = next(
        ((node_id, names) for node_id in nodes if (names := reader.linked(node_id, Carried.MODEL))),
        (sampler_id, ()),
    )
    settings = _settings(reader, nodes)
    # A sampler that takes both experts at once is two stages.
    for name in models_of(reader, holder, names) or ("",):
        chain = _Chain(reader, holder, name)
        own = {} if chain.shift is None else {"shift": chain.shift}
        share = share_of(reader, holder, name) if len(names) > 1 else None
        cfg = reader.setting(holder, share.cfg_input) if share is not None and share.cfg_input else None
        own |= {} if cfg is None else {"cfg": cfg}
        found = settings | own
        yield Stage(
            sampler_id=sampler_id,
            class_type=reader.class_type(sampler_id),
            expert=Expert.SINGLE,
            evidence="",
            by_file=expert_of_file(chain.loader.file_name if chain.loader is not None else None),
            by_position=share.expert if share is not None else _position(settings),
            loader=chain.loader,
            loras=chain.loras,
            patches=chain.patches,
            guided=_guided(reader, nodes, found.get("cfg")),
            own_steps=share.steps if share is not None else None,
            settings=found,
        )


def _guided(reader: Reader, nodes: tuple[str, ...], cfg: Setting | None) -> bool | None:
    """Whether ComfyUI computes with and without the prompt: not at cfg 1, nor at what is as near as dust.

    Source: ComfyUI comfy/samplers.py, ``sampling_function``; comfy_extras/nodes_custom_sampler.py,
    ``BasicGuider``.
    """
    if cfg is None:
        return False if any(reader.base(node_id) == _UNGUIDED for node_id in nodes) else None
    known = isinstance(cfg.value, int | float) and not isinstance(cfg.value, bool)
    return not math.isclose(cfg.value, 1.0) if known else None


def _settings(reader: Reader, nodes: tuple[str, ...]) -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    for role, names in STAGE_ROLES.items():
        for node_id in nodes:
            value = reader.setting(node_id, *names)
            # A link to a node that brings several settings along is not one of them.
            if value is not None and value.source_id not in nodes:
                found[role] = value
                break
    row = next((row for node_id in nodes if (row := steps_of_row(reader, node_id)) is not None), None)
    found.update({} if row is None else {"steps": row})
    found.update(_split(reader, nodes))
    return found


def _split(reader: Reader, nodes: tuple[str, ...]) -> dict[str, Setting]:
    for node_id in nodes:
        source = reader.source(node_id, SIGMAS)
        if source is not None and reader.base(source[0]) == _SPLIT_SIGMAS:
            step = reader.setting(source[0], "step")
            return {} if step is None else {"end" if source[1] == 0 else "start": step}
    return {}


def _position(settings: Mapping[str, Setting]) -> Expert | None:
    """Judge by the steps: who begins at the start and stops before the end, or begins later."""

    def value(role: str) -> object:
        return settings[role].value if role in settings else None

    start, end, steps = value("start"), value("end"), value("steps")
    if isinstance(start, int) and start > 0:
        # One in the middle may be either.
        return None if value("leftover") == "enable" else Expert.LOW
    if value("leftover") == "enable":
        return Expert.HIGH
    if value("add_noise") == "disable":
        return Expert.LOW
    stops_early = isinstance(end, int) and end > 0 and (not isinstance(steps, int) or end < steps)
    return Expert.HIGH if stops_early else None


def _with_experts(stages: list[Stage]) -> Iterator[Stage]:
    known: dict[str, Expert] = {}  # loader -> what an earlier stage showed of it
    for stage in stages:
        expert, evidence = Expert.SINGLE, "it does all steps"
        loader_id = stage.loader.node_id if stage.loader is not None else ""
        if is_single(stage.file_name):
            evidence = "its model has no experts"
        elif stage.by_file is not None:
            expert, evidence = stage.by_file, "the model file's name"
        elif loader_id in known:
            expert, evidence = known[loader_id], "the model of an earlier stage"
        elif stage.by_position is not None and len(stages) > 1:
            expert, evidence = stage.by_position, "its steps"
        elif (stage.whole("start") or 0) > 0:
            evidence = "neither its file nor its steps tell"
        known.setdefault(loader_id, expert)
        yield replace(stage, expert=expert, evidence=evidence)


class _Chain:
    """The way of a model from its loader to where it is used, walked backwards."""

    def __init__(self, reader: Reader, node_id: str, input_name: str) -> None:
        self._reader = reader
        self.loader: Loader | None = None
        self.shift: Setting | None = None
        patches: list[Part] = []
        loras: list[Lora] = []
        seen = {node_id}
        while (source := reader.source(node_id, input_name)) is not None and source[0] not in seen:
            node_id = source[0]
            seen.add(node_id)
            # LoRAs of a node are put on after those of the nodes before it.
            loras = [*loras_of(reader, node_id), *loras]
            if not reader.linked(node_id, Carried.MODEL):
                self.loader = _read_here(reader, node_id)
                break
            behind = reader.behind(node_id, source[1], Carried.MODEL)
            if behind is None:
                break
            input_name = behind
            if self.shift is None:
                self.shift = reader.setting(node_id, "shift")
            if not is_lora_node(reader, node_id):
                patches.insert(0, Part(node_id=node_id, class_type=reader.class_type(node_id)))
        self.loras = tuple(loras)
        self.patches = tuple(patches)


def _read_here(reader: Reader, node_id: str) -> Loader | None:
    """The loader at the end of a model's way; None for a node that hands on what we do not understand."""
    loader = loader_of(reader, node_id)
    takes_links = any(is_link(value) for value in reader.inputs(node_id).values())
    return None if loader.file is None and takes_links else loader


def loader_of(reader: Reader, node_id: str) -> Loader:
    """A node as a loader, with the file that it names if it is known to name one."""
    class_type = reader.class_type(node_id)
    named = [name for name in reader.inputs(node_id) if model_folder(class_type, name) is not None]
    files = [found for name in named or reader.inputs(node_id) if (found := reader.setting(node_id, name))]
    file = next((each for each in files if named or is_model_file(each.value)), None)
    return Loader(node_id=node_id, class_type=class_type, file=file)
