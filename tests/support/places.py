"""Places for rewrites and lint: nodes as they are installed somewhere, and cards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from comfy.nodedefs import NodeDef, parse_node, shipped_definitions
from comfy.rewrites import Site
from comfy.wan.models import GIB

_LINK: Final = ("*",)
_MODES: Final = ["sdpa", "flash_attn_2", "flash_attn_3", "sageattn", "sageattn_3"]
_MAIN_OR_OFFLOAD: Final = [["main_device", "offload_device"], {"default": "offload_device"}]

# As WanVideoWrapper, KJNodes and others describe theirs, as far as rewrites and lint look at them.
WRAPPER: Final[Mapping[str, Mapping[str, Any]]] = {
    "WanVideoModelLoader": {
        "required": {
            "model": [[]],
            "base_precision": [["fp32", "bf16", "fp16", "fp16_fast"]],
            "quantization": [["disabled", "fp8_e4m3fn", "fp8_e4m3fn_scaled"]],
            "load_device": _MAIN_OR_OFFLOAD,
        },
        "optional": {
            "attention_mode": [_MODES, {"default": "sdpa"}],
            "block_swap_args": _LINK,
            "lora": _LINK,
        },
    },
    "WanVideoBlockSwap": {
        "required": {"blocks_to_swap": ["INT", {"default": 20, "min": 0, "max": 40}]},
        "optional": {"prefetch_blocks": ["INT", {"default": 0, "min": 0, "max": 40}]},
    },
    "LoadWanVideoT5TextEncoder": {
        "required": {"model_name": [[]], "precision": [["fp32", "bf16"]]},
        "optional": {"load_device": _MAIN_OR_OFFLOAD, "quantization": [["disabled", "fp8_e4m3fn"]]},
    },
    "WanVideoLoraSelect": {
        "required": {"lora": [[]], "strength": ["FLOAT", {"default": 1.0}]},
        "optional": {"prev_lora": _LINK, "merge_loras": ["BOOLEAN", {"default": True}]},
    },
    "WanVideoEmptyEmbeds": {
        "required": {
            "width": ["INT", {"min": 64, "max": 8096, "step": 8}],
            "height": ["INT", {"min": 64, "max": 8096, "step": 8}],
            "num_frames": ["INT", {"min": 1, "max": 10000, "step": 4}],
        }
    },
    "WanVideoSampler": {
        "required": {
            "model": _LINK,
            "image_embeds": _LINK,
            "steps": ["INT", {"min": 1}],
            "cfg": ["FLOAT", {"min": 0.0}],
            "shift": ["FLOAT", {"min": 0.0}],
            "seed": ["INT", {"min": 0}],
            "force_offload": ["BOOLEAN", {"default": True}],
            "scheduler": [["unipc", "euler"]],
        },
        "optional": {
            "samples": _LINK,
            "text_embeds": _LINK,
            "start_step": ["INT", {"default": 0}],
            "end_step": ["INT", {"default": -1}],
        },
    },
    "WanVideoDecode": {
        "required": {"vae": _LINK, "samples": _LINK, "enable_vae_tiling": ["BOOLEAN", {"default": False}]}
    },
    "WanVideoVAELoader": {"required": {"model_name": [[]]}},
    "PathchSageAttentionKJ": {
        "required": {"model": ["MODEL"], "sage_attention": [["disabled", "auto", "sageattn3"], {}]}
    },
    "UnloadModel": {"required": {"value": _LINK}, "optional": {"model": _LINK}},
    "PreviewAny": {"required": {"source": _LINK}},
}
_OUTPUTS: Final = {"PathchSageAttentionKJ": ["MODEL"], "WanVideoDecode": ["IMAGE"], "PreviewAny": []}

# The formats' own inputs, as VideoHelperSuite tells them with its node.
FORMATS: Final = {
    "video/h264-mp4": [
        ["pix_fmt", ["yuv420p", "yuv420p10le"]],
        ["crf", "INT", {"default": 19, "min": 0, "max": 100}],
        ["save_metadata", "BOOLEAN", {"default": True}],
    ],
    "video/h265-mp4": [
        ["pix_fmt", ["yuv420p10le", "yuv420p"]],
        ["crf", "INT", {"default": 22, "min": 0, "max": 100}],
        ["save_metadata", "BOOLEAN", {"default": True}],
    ],
    "video/nvenc_h264-mp4": [
        ["pix_fmt", ["yuv420p", "p010le"]],
        ["bitrate", "INT", {"default": 10, "min": 1}],
        ["megabit", "BOOLEAN", {"default": True}],
        ["save_metadata", "BOOLEAN", {"default": True}],
    ],
    "image/webp": [["lossless", "BOOLEAN", {"default": True}]],
}


def nodes(**more: Mapping[str, Any]) -> dict[str, NodeDef]:
    """The shipped definitions, those of the wrapper, and `more`: class -> what it takes, by group."""
    found = shipped_definitions()
    for name, inputs in {**WRAPPER, **more}.items():
        outputs = _OUTPUTS.get(name, ["*"])
        info = {"input": inputs, "output": outputs, "output_node": name == "PreviewAny"}
        found[name] = parse_node(name, info)
    return found


def vhs_with_formats(definitions: Mapping[str, NodeDef]) -> dict[str, NodeDef]:
    """The definitions with a VHS_VideoCombine that tells what each format takes, as a server's does."""
    node = definitions["VHS_VideoCombine"]
    required = {each.name: each.spec for each in node.inputs if each.section == "required"}
    required["format"] = [required["format"][0], {"formats": FORMATS}]
    info = {"input": {"required": required}, "output": ["VHS_FILENAMES"], "output_node": True}
    return {**definitions, node.class_type: parse_node(node.class_type, info)}


def a_site(*, gib: float | None = 24, **facts: Any) -> Site:
    """A place with a card of so many GiB; None: nothing is known of the card."""
    facts.setdefault("definitions", nodes())
    return Site(vram_bytes=None if gib is None else int(gib * GIB), **facts)


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
