"""Sites for rewrites and lint: nodes as they are installed somewhere, and cards."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any, Final

from comfy.node_defs.definitions import NodeDef, parse_node, shipped_definitions
from comfy.rewrites.site import Site
from comfy.ui.load import load_any
from comfy.wan.models import GIB

_FIXTURES: Final = Path(__file__).parents[1] / "data" / "graphs"


def nodes(**more: Mapping[str, Any]) -> MutableMapping[str, NodeDef]:
    """The shipped definitions, with what another installation has instead.

    Args:
        more: class -> what it takes there, by group.
    """
    found = shipped_definitions()  # not as a dict: that would read all of them
    for name, inputs in more.items():
        known = found.get(name)
        outputs = [each.kind for each in known.outputs] if known is not None else ["*"]
        info = {"input": inputs, "output": outputs, "output_node": known is not None and known.output_node}
        found[name] = parse_node(name, info)
    return found


def a_site(*, gib: float | None = 24, **facts: Any) -> Site:
    """A site with a card of so many GiB; None: nothing is known of the card."""
    facts.setdefault("definitions", nodes())
    return Site(vram_bytes=None if gib is None else int(gib * GIB), **facts)


def graphs_of_people() -> dict[str, dict[str, Any]]:
    """Name -> graph: structures of public graphs, those in the editor's format converted."""
    return {
        path.name.removesuffix(".json"): load_any(path.read_bytes(), shipped_definitions).graph
        for path in sorted(_FIXTURES.glob("*.json"))
    }


def wrapper_graph(**loader: Any) -> dict[str, Any]:
    """Two experts of the wrapper's, with block swap, at 832×480 and 81 frames.

    Args:
        loader: more inputs of both model loaders.
    """
    graph: dict[str, Any] = {
        "1": _node("WanVideoModelLoader", model=_expert("high"), **{**_LOADER, **loader}),
        "2": _node("WanVideoModelLoader", model=_expert("low"), **{**_LOADER, **loader}),
        "3": _node("WanVideoBlockSwap", blocks_to_swap=20),
        "4": _node("WanVideoEmptyEmbeds", width=832, height=480, num_frames=81),
        "5": _node("WanVideoSampler", model=["1", 0], image_embeds=["4", 0], end_step=4, **_SAMPLER),
        "6": _node("WanVideoSampler", model=["2", 0], image_embeds=["4", 0], samples=["5", 0], **_SAMPLER),
        "7": _node("WanVideoVAELoader", model_name="wan_2.1_vae.safetensors"),
        "8": _node("WanVideoDecode", vae=["7", 0], samples=["6", 0], enable_vae_tiling=False),
        "9": _node("CreateVideo", images=["8", 0], fps=16.0),
        "10": _node("SaveVideo", video=["9", 0], filename_prefix="clip", format="auto", codec="auto"),
    }
    graph["1"]["inputs"]["block_swap_args"] = graph["2"]["inputs"]["block_swap_args"] = ["3", 0]
    return graph


_LOADER: Final = {
    "base_precision": "bf16",
    "quantization": "disabled",
    "load_device": "offload_device",
    "attention_mode": "sageattn",
}
_SAMPLER: Final = {
    "steps": 8,
    "cfg": 1.0,
    "shift": 5.0,
    "seed": 1,
    "force_offload": True,
    "scheduler": "unipc",
}


def _expert(noise: str) -> str:
    return f"wan2.2_t2v_{noise}_noise_14B_fp8_scaled.safetensors"


def _node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}
