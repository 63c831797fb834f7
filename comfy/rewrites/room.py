"""How a graph's models would lie on the card of the site where it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from comfy.graphs.required import model_files
from comfy.rewrites.site import Site
from comfy.wan.find import clip_size, size_bound
from comfy.wan.fit import Fit, ModelSizes, fit
from comfy.wan.memory import vae_decode_bytes
from comfy.wan.models import WAN_14B, ModelFamily
from comfy.wan.names import family_of
from comfy.wan.roles import find_roles
from comfy.wan.sizes import ClipSize
from comfy.wan.workload import read_workload


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
    free_bytes = _free(site)
    work = read_workload(graph, site.model_bytes, site.definitions)
    if work is None:
        raise NotKnown("it runs no WAN model that the farm knows")
    size = clip_of(graph, site)
    experts = work.experts()
    if unknown := [each.name for each in experts if not each.certain]:
        raise NotKnown(f"the size of {unknown[0]} is not known")
    family = max((each.family for each in experts), key=lambda each: each.parameters)
    models = ModelSizes(
        experts=tuple(each.resident_bytes for each in experts),
        others=sum(file.size_bytes or 0 for file in work.files if file.folder != "diffusion_models"),
        activations=max(stage.memory.activation_bytes for stage in work.stages),
        decode=work.decode_bytes,
        layer=family.largest_layer_bytes,
    )
    return Room(free_bytes=free_bytes, family=family, size=size, models=models, fit=fit(free_bytes, models))


def decode_bytes(graph: Mapping[str, Any], site: Site) -> int:
    """The VAE's peak when it decodes the clip whole.

    Raises:
        NotKnown: the clip's size is not known.
    """
    named = (family_of(file.name) for file in model_files(graph) if file.folder == "diffusion_models")
    families = [family for family in named if family is not None]
    return vae_decode_bytes(
        clip_of(graph, site), max(families, key=lambda family: family.parameters, default=WAN_14B)
    )


def decodes_whole(graph: Mapping[str, Any], site: Site) -> bool:
    """Whether the card has the room to decode the clip without tiles.

    Raises:
        NotKnown: the card or the clip's size is not known.
    """
    models = ModelSizes(experts=(0,), decode=decode_bytes(graph, site))
    return fit(_free(site), models).decodes_whole


def clip_of(graph: Mapping[str, Any], site: Site) -> ClipSize:
    """The clip that a graph makes, or what it does not exceed.

    Raises:
        NotKnown: its size is computed while the graph runs, without a bound, or there is none.
    """
    roles = find_roles(graph, site.definitions)
    size = clip_size(roles) or size_bound(roles)
    if size is None:
        raise NotKnown("the clip's size is computed while it runs")
    return size


def _free(site: Site) -> int:
    if site.vram_bytes is None:
        raise NotKnown("the card is not known")
    return site.vram_bytes
