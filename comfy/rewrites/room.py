"""How a graph's models would lie on the card of the place where it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from comfy.required import ModelFile, model_files
from comfy.rewrites.site import Site
from comfy.wan.find import clip_size
from comfy.wan.fit import Fit, ModelSizes, fit
from comfy.wan.memory import activation_bytes, vae_decode_bytes
from comfy.wan.models import ModelFamily, family_of, file_bytes
from comfy.wan.sizes import ClipSize
from comfy.wan.weights import weights_of


class NotKnown(Exception):
    """What would have to be known to judge; its text says what is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A graph on a card."""

    free_bytes: int  # of the card, before any of the graph's models is there
    family: ModelFamily
    size: ClipSize
    models: ModelSizes
    fit: Fit

    @property
    def block_bytes(self) -> int:
        """One transformer block of the largest expert."""
        return max(self.models.experts) // self.family.layers


def room_for(graph: Mapping[str, Any], site: Site) -> Room:
    """Work out how the running nodes' models lie on the site's card.

    Raises:
        NotKnown: the card, a model's size or the clip's size is not known.
    """
    if site.vram_bytes is None:
        raise NotKnown("the card is not known")
    size = clip_of(graph)
    files = model_files(graph)
    experts = _experts(graph, files, site)
    family = max((family for family, _ in experts), key=lambda each: each.parameters)
    others = sum(file_bytes(file.name, site.model_bytes) or 0 for file in files if file.folder != _DIFFUSION)
    models = ModelSizes(
        experts=tuple(size_bytes for _, size_bytes in experts),
        others=others,
        activations=activation_bytes(size, family),
        decode=vae_decode_bytes(size, family),
        layer=family.largest_layer_bytes,
    )
    return Room(
        free_bytes=site.vram_bytes, family=family, size=size, models=models, fit=fit(site.vram_bytes, models)
    )


def clip_of(graph: Mapping[str, Any]) -> ClipSize:
    """The clip that a graph makes.

    Raises:
        NotKnown: its size is computed while the graph runs, or there is none.
    """
    size = clip_size(graph)
    if size is None:
        raise NotKnown("the clip's size is computed while it runs")
    return size


_DIFFUSION = "diffusion_models"


def _experts(
    graph: Mapping[str, Any], files: tuple[ModelFile, ...], site: Site
) -> list[tuple[ModelFamily, int]]:
    """Family and bytes on the card of each diffusion model file, once."""
    found: dict[str, tuple[ModelFamily, int]] = {}
    for file in files:
        if file.folder != _DIFFUSION:
            continue
        family = family_of(file.name)
        weights = weights_of(graph, file.node_id, file.name, family, site.model_bytes) if family else None
        if weights is None or not weights.certain:
            raise NotKnown(f"the size of {file.name} is not known")
        found[file.name] = (weights.family, weights.resident_bytes)
    if not found:
        raise NotKnown("it names no WAN model")
    return list(found.values())
