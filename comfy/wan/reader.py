"""Reads a graph for its roles: what travels over a link, by the server's definitions or else by names."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Any, Final

from comfy.graphs.links import class_of, inputs_of, is_link
from comfy.graphs.required import output_nodes
from comfy.graphs.values import Setting, running, setting
from comfy.node_defs.definitions import ANY_TYPE, Definitions, NodeDef
from comfy.node_defs.node_classes import base_class


class Carried(StrEnum):
    """What travels over a link. The wrapper's own types count as what they stand for."""

    MODEL = "model"
    TEXT = "text"  # an encoded prompt
    LATENT = "latent"
    MEDIA = "media"  # pictures, videos, sound, masks, and what is encoded of them
    VAE = "vae"
    ENCODER = "encoder"  # the text encoder
    LORA = "lora"
    SAMPLING = "sampling"  # guider, noise, sampler, sigmas: what a sampler may be put together from


# Source: ComfyUI comfy/comfy_types/node_typing.py; WanVideoWrapper nodes.py.
_OF_TYPE: Final = {
    "MODEL": Carried.MODEL,
    "WANVIDEOMODEL": Carried.MODEL,
    "CONDITIONING": Carried.TEXT,
    "WANVIDEOTEXTEMBEDS": Carried.TEXT,
    "LATENT": Carried.LATENT,
    "WANVIDIMAGE_EMBEDS": Carried.LATENT,
    "IMAGE": Carried.MEDIA,
    "MASK": Carried.MEDIA,
    "VIDEO": Carried.MEDIA,
    "AUDIO": Carried.MEDIA,
    "CLIP_VISION_OUTPUT": Carried.MEDIA,
    "WANVIDIMAGE_CLIPEMBEDS": Carried.MEDIA,
    "AUDIO_ENCODER_OUTPUT": Carried.MEDIA,
    "MULTITALK_EMBEDS": Carried.MEDIA,
    "VAE": Carried.VAE,
    "WANVAE": Carried.VAE,
    "CLIP": Carried.ENCODER,
    "WANTEXTENCODER": Carried.ENCODER,
    "WANVIDLORA": Carried.LORA,
    "LORA_STACK": Carried.LORA,
    "GUIDER": Carried.SAMPLING,
    "NOISE": Carried.SAMPLING,
    "SAMPLER": Carried.SAMPLING,
    "SIGMAS": Carried.SAMPLING,
    "WANVIDEOSCHEDULER": Carried.SAMPLING,
    "SAMPLER_ARGS": Carried.SAMPLING,
}

# By the input's name, where no definition says it. The first that fits counts.
_OF_NAME: Final = (
    (Carried.MODEL, re.compile(r"^(model|unet)(_?\d|_(high|low)(_noise)?)?$|^(base|lightning)_(high|low)$")),
    (
        Carried.TEXT,
        re.compile(r"^(positive|negative|conditioning|cond|(\w+_)?text_embeds)(_?\d|_to|_from)?$"),
    ),
    (Carried.LATENT, re.compile(r"^(latent|latents|latent_image|samples|image_embeds|video_latent)(_?\d)?$")),
    (Carried.VAE, re.compile(r"^vae$")),
    (Carried.ENCODER, re.compile(r"^(clip|t5)$")),
    (Carried.LORA, re.compile(r"^(prev_)?lora$|^(optional_)?lora_stack$")),
    (Carried.SAMPLING, re.compile(r"^(guider|noise|sampler|sigmas|scheduler|sampler_inputs)$")),
    (
        Carried.MEDIA,
        re.compile(
            r"(image|images|frames|pixels|video|audio|mask|masks)(_?\d+)?$"
            r"|^clip_(vision_\w+|embeds)$|^audio_encoder_output$|^multitalk_embeds$"
        ),
    ),
)

_CHOOSES: Final = re.compile(r"[Ss]witch|[Ss]elect|[Pp]ick|\bAny|[Ii]f[A-Z_ ]|Condition(?!ing)|Router")
_SIDE: Final = re.compile(r"high|low", re.IGNORECASE)


def _side_of(name: str) -> str | None:
    found = {each.lower() for each in _SIDE.findall(name)}
    return found.pop() if len(found) == 1 else None


class Reader:
    """One graph, read again and again by those who look for a role."""

    def __init__(self, graph: Mapping[str, Any], definitions: Definitions | None) -> None:
        self.graph = graph
        self._definitions = definitions or {}
        self._linked: dict[str, list[tuple[str, Carried | None]]] = {}

    @cached_property
    def running(self) -> frozenset[str]:
        """The nodes that run: what feeds an output. All of them when no output is recognised."""
        return frozenset(running(self.graph, self.outputs) if self.outputs else self.graph)

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """The nodes that write files, in the graph's order."""
        return tuple(output_nodes(self.graph, self._definitions))

    def nodes(self) -> Iterator[str]:
        """The nodes that run, in the graph's order."""
        return (node_id for node_id in self.graph if node_id in self.running)

    def base(self, node_id: str) -> str:
        """A node's class without the suffix of a variant ("…MultiGPU")."""
        return base_class(class_of(self.graph, node_id) or "")

    def class_type(self, node_id: str) -> str:
        """A node's class as the graph has it."""
        return class_of(self.graph, node_id) or ""

    def inputs(self, node_id: str) -> Mapping[str, Any]:
        """A node's inputs."""
        return inputs_of(self.graph, node_id)

    def setting(self, node_id: str, *input_names: str) -> Setting | None:
        """Where the first of these inputs that the node has is set."""
        for name in input_names:
            if (found := setting(self.graph, node_id, name)) is not None:
                return replace(found, value=self._cast(node_id, name, found.value))
        return None

    def _cast(self, node_id: str, name: str, value: Any) -> Any:
        """A number that stands as text, as the number that ComfyUI takes it for; what is none stays text."""
        if not isinstance(value, str):
            return value
        known = self._definition(node_id)
        wanted = known.input(name) if known is not None else None
        kind = wanted.kind if wanted is not None else ""
        try:
            number = int(value) if kind == "INT" else float(value) if kind == "FLOAT" else None
        except ValueError:
            return value
        # "NaN" and "1e999" are numbers of Python's that nobody can reckon with, and JSON cannot say.
        return value if number is None or not math.isfinite(number) else number

    def value(self, node_id: str, input_name: str) -> Any:
        """What an input gets; None when it is missing or not known before the graph runs."""
        found = setting(self.graph, node_id, input_name)
        return None if found is None else found.value

    def source(self, node_id: str, input_name: str) -> tuple[str, int] | None:
        """The node and output that an input is linked to, past nodes that only hand on."""
        found = setting(self.graph, node_id, input_name)
        if found is None or found.source_id is None or found.source_id not in self.graph:
            return None
        return found.source_id, found.slot

    def carried(self, node_id: str, input_name: str) -> Carried | None:
        """What travels over the link into an input; None when neither definition nor name says."""
        known = self._definition(node_id)
        of = known.input(input_name) if known is not None else None
        if of is not None and of.kind != ANY_TYPE:
            kinds = {_OF_TYPE.get(kind) for kind in of.kind.split(",")}
            return kinds.pop() if len(kinds) == 1 else None
        return _by_name(input_name)

    def linked(self, node_id: str, kind: Carried) -> tuple[str, ...]:
        """The inputs of a node over whose links this travels, in the node's order."""
        if node_id not in self._linked:
            self._linked[node_id] = [
                (name, self.carried(node_id, name))
                for name, value in self.inputs(node_id).items()
                if is_link(value)
            ]
        return tuple(name for name, carried in self._linked[node_id] if carried is kind)

    def behind(self, node_id: str, slot: int, kind: Carried) -> str | None:
        """The input over which what leaves a node by this output came in; None: which one is not known.

        A node that hands several through names both sides alike, or has them in one order.
        """
        linked = self.linked(node_id, kind)
        if len(linked) < 2:
            return next(iter(linked), None)
        known = self._definition(node_id)
        outputs = known.outputs if known is not None else ()
        entering = (
            [each.name for each in known.inputs if _OF_TYPE.get(each.kind) is kind] if known else linked
        )
        leaving = [number for number, each in enumerate(outputs) if _OF_TYPE.get(each.kind) is kind]
        side = _side_of(outputs[slot].name) if slot < len(outputs) else None
        of_side = [name for name in linked if side is not None and _side_of(name) == side]
        if len(of_side) == 1:
            return of_side[0]
        if known is not None and len(leaving) != len(entering):
            return None if _CHOOSES.search(known.class_type) else linked[0]
        rank = leaving.index(slot) if slot in leaving else slot
        # The only output of a class that is not known may be any of its inputs.
        if known is None and rank == 0 and _CHOOSES.search(self.class_type(node_id)):
            return None
        name = entering[rank] if rank < len(entering) else None
        return name if name in linked else None

    def makes(self, node_id: str, kind: Carried) -> bool:
        """Whether a definition says that one of the node's outputs carries this."""
        known = self._definition(node_id)
        return known is not None and any(_OF_TYPE.get(output.kind) is kind for output in known.outputs)

    def in_order(self, node_ids: Sequence[str]) -> list[str]:
        """Sort nodes so that what feeds another comes before it, else as the graph has them."""
        order = {node_id: rank for rank, node_id in enumerate(self._topological)}
        depth = dict.fromkeys(self._topological, 0)
        wanted = set(node_ids)
        for node_id in self._topological:
            below = [depth[s] + (s in wanted) for s in self._sources(node_id)]
            depth[node_id] = max(below, default=0)
        position = {node_id: rank for rank, node_id in enumerate(self.graph)}
        return sorted(
            (n for n in node_ids if n in order), key=lambda node_id: (depth[node_id], position[node_id])
        )

    def fed_by(self, node_ids: Iterable[str]) -> frozenset[str]:
        """The nodes that run on what these make, at whatever distance; not themselves."""
        fed: set[str] = set()
        start = frozenset(node_ids)
        for node_id in self._topological:
            if any(source in start or source in fed for source in self._sources(node_id)):
                fed.add(node_id)
        return frozenset(fed)

    @cached_property
    def _topological(self) -> tuple[str, ...]:
        """The nodes that run, each after all that feed it."""
        done: dict[str, None] = {}
        for start in self.nodes():
            branches = [(start, iter(self._sources(start)))]
            open_ = {start}
            while branches:
                node_id, sources = branches[-1]
                source = next((s for s in sources if s not in done and s not in open_), None)
                if source is None:
                    branches.pop()
                    done[node_id] = None
                else:
                    open_.add(source)
                    branches.append((source, iter(self._sources(source))))
        return tuple(done)

    def _sources(self, node_id: str) -> list[str]:
        linked = (value[0] for value in self.inputs(node_id).values() if is_link(value))
        return [source for source in linked if source in self.running]

    def _definition(self, node_id: str) -> NodeDef | None:
        return self._definitions.get(self.class_type(node_id)) or self._definitions.get(self.base(node_id))


@lru_cache(maxsize=4096)
def _by_name(input_name: str) -> Carried | None:
    return next((kind for kind, pattern in _OF_NAME if pattern.search(input_name)), None)
