"""The templates of ComfyUI's core nodes."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from comfy.wan.models import Expert
from comfy.wan.sizes import SIDES_5B
from comfy.wan.templates.template import LoraSlot, Picture, Preset, Template

_OFFICIAL: Final = "the workflow {} of the package comfyui-workflow-templates"

_QUALITY: Final = Preset(
    help="20 steps, 10 for each expert",
    steps=20,
    cfg=3.5,
    shift=8.0,
    width=832,
    height=480,
    frames=81,
)
# Source: https://github.com/ModelTC/Wan2.2-Lightning and the official workflows: 4 steps, cfg 1, shift 5.
_FAST: Final = replace(
    _QUALITY, help="4 steps with the lightx2v LoRA pair, 2 for each expert", steps=4, cfg=1.0, shift=5.0
)


def _few_step(preset: Preset, *loras: str) -> dict[str, Preset]:
    fast = replace(preset, loras=loras)
    return {"fast": fast, "draft": _draft(fast, help_="fast, small and short: for a look")}


def _draft(preset: Preset, *, help_: str) -> Preset:
    return replace(preset, help=help_, width=480, height=272, frames=33)


def _lora_slot(node_id: str, *, shift: str, expert: Expert) -> LoraSlot:
    return LoraSlot(
        node_id=node_id,
        class_type="LoraLoaderModelOnly",
        expert=expert,
        file_input="lora_name",
        strength_input="strength_model",
        chained_by="model",
        inputs={},
        into=(shift, "model"),
    )


_PAIR: Final = (
    _lora_slot("101", shift="54", expert=Expert.HIGH),
    _lora_slot("102", shift="55", expert=Expert.LOW),
)


def _pair_inputs(size: str) -> dict[str, tuple[tuple[str, str], ...]]:
    return {
        "prompt": (("6", "text"),),
        "negative": (("7", "text"),),
        "width": ((size, "width"),),
        "height": ((size, "height"),),
        "frames": ((size, "length"),),
        "fps": (("60", "fps"),),
        # The low-noise stage goes on from the other's leftover noise: its own seed adds none.
        "seed": (("57", "noise_seed"),),
        "steps": (("57", "steps"), ("58", "steps")),
        "split": (("57", "end_at_step"), ("58", "start_at_step")),
        "cfg": (("57", "cfg"), ("58", "cfg")),
        "shift": (("54", "shift"), ("55", "shift")),
    }


_SINGLE_INPUTS: Final = {
    "prompt": (("6", "text"),),
    "negative": (("7", "text"),),
    "width": (("40", "width"),),
    "height": (("40", "height"),),
    "frames": (("40", "length"),),
    "fps": (("49", "fps"),),
    "seed": (("3", "seed"),),
    "steps": (("3", "steps"),),
    "cfg": (("3", "cfg"),),
    "shift": (("48", "shift"),),
}
_SINGLE_LORA: Final = (_lora_slot("101", shift="48", expert=Expert.SINGLE),)

_LOOK: Final = "half the steps, small and short: for a look"
START: Final = "where the clip starts"
I2V_PRESETS: Final = {
    # Source: LightX2V's configuration of the base model: cfg 3.5, shift 5.
    "quality": replace(_QUALITY, shift=5.0),
    **_few_step(
        _FAST,
        "wan2.2_i2v_lightx2v_4steps_lora_v1_high_noise.safetensors",
        "wan2.2_i2v_lightx2v_4steps_lora_v1_low_noise.safetensors",
    ),
}

_T2V_A14B: Final = Template(
    name="wan22-t2v-a14b",
    title="WAN 2.2 A14B text to video, two experts",
    source=_OFFICIAL.format("video_wan2_2_14B_t2v"),
    resource="wan22_t2v_a14b.json",
    inputs=_pair_inputs("59"),
    presets={
        "quality": _QUALITY,
        **_few_step(
            _FAST,
            "wan2.2_t2v_lightx2v_4steps_lora_v1.1_high_noise.safetensors",
            "wan2.2_t2v_lightx2v_4steps_lora_v1.1_low_noise.safetensors",
        ),
    },
    loras=_PAIR,
)
_I2V_A14B: Final = Template(
    name="wan22-i2v-a14b",
    title="WAN 2.2 A14B image to video, two experts",
    source=_OFFICIAL.format("video_wan2_2_14B_i2v"),
    resource="wan22_i2v_a14b.json",
    inputs=_pair_inputs("63"),
    presets=I2V_PRESETS,
    loras=_PAIR,
    pictures={"image": Picture(help=START, node_id="62")},
)
_FLF2V_A14B: Final = Template(
    name="wan22-flf2v-a14b",
    title="WAN 2.2 A14B from a first to a last frame, two experts",
    source=_OFFICIAL.format("video_wan2_2_14B_flf2v"),
    resource="wan22_flf2v_a14b.json",
    inputs=_pair_inputs("63"),
    presets=I2V_PRESETS,
    loras=_PAIR,
    pictures={
        "image": Picture(help=START, node_id="62"),
        "end_image": Picture(help="where it ends", node_id="68"),
    },
)
_5B_QUALITY: Final = Preset(help="20 steps", steps=20, cfg=5.0, shift=8.0, width=1280, height=704, frames=121)
_TI2V_5B: Final = Template(
    name="wan22-ti2v-5b",
    title="WAN 2.2 TI2V-5B text to video, or image to video when an image is given",
    source=_OFFICIAL.format("video_wan2_2_5B_ti2v"),
    resource="wan22_ti2v_5b.json",
    inputs=_SINGLE_INPUTS,
    presets={
        "quality": _5B_QUALITY,
        "draft": replace(
            _5B_QUALITY,
            help=_LOOK,
            steps=10,
            width=640,
            height=352,
            frames=49,
        ),
    },
    fps=24.0,
    sides=SIDES_5B,
    loras=_SINGLE_LORA,
    pictures={"image": Picture(help=START, node_id="56", arrives=("40", "start_image"))},
)
_1_3B_QUALITY: Final = replace(_QUALITY, help="30 steps", steps=30, cfg=6.0)
_T2V_1_3B: Final = Template(
    name="wan21-t2v-1.3b",
    title="WAN 2.1 1.3B text to video",
    source=_OFFICIAL.format("text_to_video_wan"),
    resource="wan21_t2v_1_3b.json",
    inputs=_SINGLE_INPUTS,
    presets={
        "quality": _1_3B_QUALITY,
        "draft": _draft(replace(_1_3B_QUALITY, steps=15), help_=_LOOK),
    },
    loras=_SINGLE_LORA,
)
# Source: https://huggingface.co/Kijai/WanVideo_comfy: 4 steps or more, cfg 1, shift 5.
_FAST_21: Final = replace(_FAST, help="4 steps with the lightx2v LoRA")
_T2V_14B: Final = Template(
    name="wan21-t2v-14b",
    title="WAN 2.1 14B text to video",
    source=_OFFICIAL.format("video_wan2.1_alpha_t2v_14B"),
    resource="wan21_t2v_14b.json",
    inputs=_SINGLE_INPUTS,
    presets={
        "quality": replace(_QUALITY, help="20 steps", cfg=6.0, shift=5.0),
        **_few_step(_FAST_21, "lightx2v_T2V_14B_cfg_step_distill_v2_lora_rank64_bf16.safetensors"),
    },
    loras=_SINGLE_LORA,
)
_I2V_14B: Final = Template(
    name="wan21-i2v-14b",
    title="WAN 2.1 14B image to video (480p model)",
    source=_OFFICIAL.format("image_to_video_wan"),
    resource="wan21_i2v_14b.json",
    inputs=_SINGLE_INPUTS,
    presets={
        "quality": replace(_QUALITY, help="20 steps", cfg=6.0),
        **_few_step(_FAST_21, "lightx2v_I2V_14B_480p_cfg_step_distill_rank64_bf16.safetensors"),
    },
    loras=_SINGLE_LORA,
    pictures={"image": Picture(help=START, node_id="52")},
)

CORE: Final = (_T2V_A14B, _I2V_A14B, _FLF2V_A14B, _TI2V_5B, _T2V_1_3B, _T2V_14B, _I2V_14B)
