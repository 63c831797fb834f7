"""The templates of WanVideoWrapper's nodes (https://github.com/kijai/ComfyUI-WanVideoWrapper)."""

from __future__ import annotations

from typing import Final

from comfy.wan.models import Expert
from comfy.wan.templates.core import I2V_PRESETS, START
from comfy.wan.templates.template import LoraSlot, Picture, Template


def _lora_slot(node_id: str, *, loader: str, expert: Expert) -> LoraSlot:
    return LoraSlot(
        node_id=node_id,
        class_type="WanVideoLoraSelect",
        expert=expert,
        file_input="lora",
        strength_input="strength",
        chained_by="prev_lora",
        # Not merged: a merged LoRA changes how scaled fp8 weights are kept, and loads slowly.
        inputs={"low_mem_load": False, "merge_loras": False},
        into=(loader, "lora"),
    )


_I2V_A14B: Final = Template(
    name="wan22-i2v-a14b-wrapper",
    title="WAN 2.2 A14B image to video with WanVideoWrapper's nodes",
    source="the structure of https://github.com/wlsdml1114/generate_video",
    resource="wan22_i2v_a14b_wrapper.json",
    inputs={
        "prompt": (("16", "positive_prompt"),),
        "negative": (("16", "negative_prompt"),),
        # The picture is cut to the clip's shape before it is encoded: the encoder itself would stretch it.
        "width": (("63", "width"), ("68", "width")),
        "height": (("63", "height"), ("68", "height")),
        "frames": (("63", "num_frames"),),
        "fps": (("60", "fps"),),
        "seed": (("27", "seed"),),
        "steps": (("27", "steps"), ("90", "steps")),
        "split": (("27", "end_step"), ("90", "start_step")),
        "cfg": (("27", "cfg"), ("90", "cfg")),
        "shift": (("27", "shift"), ("90", "shift")),
    },
    presets=I2V_PRESETS,
    loras=(
        _lora_slot("101", loader="22", expert=Expert.HIGH),
        _lora_slot("102", loader="71", expert=Expert.LOW),
    ),
    pictures={"image": Picture(help=START, node_id="62")},
)

WRAPPER: Final = (_I2V_A14B,)
