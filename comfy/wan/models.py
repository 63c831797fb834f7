"""The WAN models: their dimensions, and the sizes of the files they come in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFamily:
    """A transformer's dimensions: all that memory and time depend on."""

    name: str
    parameters: float
    layers: int
    width: int  # model dimension
    vae_stride: int  # pixels per latent position
    largest_layer_bytes: int  # model by feed-forward width, of the fp8 form; bf16 has twice that

    @property
    def memory_factor(self) -> float:
        """ComfyUI's ``memory_usage_factor``. Source: comfy/supported_models.py, class ``WAN21_T2V``."""
        return self.width / 2222


WAN_14B = ModelFamily(
    name="14B", parameters=14e9, layers=40, width=5120, vae_stride=8, largest_layer_bytes=68 * 2**20
)
WAN_5B = ModelFamily(
    name="5B", parameters=5e9, layers=30, width=3072, vae_stride=16, largest_layer_bytes=42 * 2**20
)
WAN_1_3B = ModelFamily(
    name="1.3B", parameters=1.4e9, layers=30, width=1536, vae_stride=8, largest_layer_bytes=14 * 2**20
)

FAMILIES = {family.name: family for family in (WAN_14B, WAN_5B, WAN_1_3B)}

# Bytes on disk, which is what the weights take on the card as well.
# Source: notes in ComfyUI's official templates (comfyui-workflow-templates), in GiB.
_FILE_GIB = {
    "wan2.2_t2v_high_noise_14b_fp8_scaled": 13.31,
    "wan2.2_t2v_low_noise_14b_fp8_scaled": 13.31,
    "wan2.2_i2v_high_noise_14b_fp8_scaled": 13.31,
    "wan2.2_i2v_low_noise_14b_fp8_scaled": 13.31,
    "wan2.2_t2v_high_noise_14b_fp16": 26.6,
    "wan2.2_t2v_low_noise_14b_fp16": 26.6,
    "wan2.2_i2v_high_noise_14b_fp16": 26.6,
    "wan2.2_i2v_low_noise_14b_fp16": 26.6,
    "wan2.1_t2v_14b_fp16": 26.61,
    "wan2.1_t2v_14b_fp8_scaled": 13.3,
    "wan2.1_i2v_480p_14b_fp16": 30.54,
    "wan2.1_i2v_720p_14b_fp16": 30.54,
    "wan2.1_i2v_480p_14b_fp8_scaled": 15.5,
    "wan2.1_i2v_720p_14b_fp8_scaled": 15.5,
    "wan2.1_vace_14b_fp16": 32.29,
    "wan2.1_vace_1.3b_fp16": 4.01,
    "wan2.1_t2v_1.3b_fp16": 2.7,
    "wan2.2_s2v_14b_bf16": 30.35,
    "wan2.2_s2v_14b_fp8_scaled": 15.27,
    "wan2.2_ti2v_5b_fp16": 9.31,
    "umt5_xxl_fp8_e4m3fn_scaled": 6.27,
    "umt5_xxl_fp16": 10.59,
    "wan_2.1_vae": 0.24,
    "wan2.2_vae": 1.31,
    "clip_vision_h": 1.18,
    "wan2.2_t2v_lightx2v_4steps_lora_v1.1_high_noise": 1.14,
    "wan2.2_t2v_lightx2v_4steps_lora_v1.1_low_noise": 1.14,
    "wan2.2_i2v_lightx2v_4steps_lora_v1_high_noise": 1.14,
    "wan2.2_i2v_lightx2v_4steps_lora_v1_low_noise": 1.14,
    "lightx2v_t2v_14b_cfg_step_distill_v2_lora_rank64_bf16": 601.5 / 1024,
    "lightx2v_i2v_14b_480p_cfg_step_distill_rank64_bf16": 703.8 / 1024,
    "wan2_1_vae_bf16": 0.24,
    "wan2_1-i2v-14b-480p_fp8_e4m3fn_scaled_kj": 15.5,
}


# GGUF files by family and kind, GiB; whoever made them, since the kind fixes the bits of each weight.
# Source: quantstack's wan2.2-i2v-a14b-gguf and unsloth's Wan2.2-TI2V-5B-GGUF on Hugging Face.
_GGUF_GIB = {
    ("14B", "q4_k_m"): 8.99,
    ("14B", "q5_k_s"): 9.44,
    ("5B", "q2_k"): 1.73,
    ("5B", "q3_k_s"): 2.14,
    ("5B", "q3_k_m"): 2.37,
    ("5B", "q4_0"): 2.82,
    ("5B", "q4_k_s"): 2.90,
    ("5B", "q4_k_m"): 3.20,
    ("5B", "q5_k_s"): 3.32,
    ("5B", "q5_k_m"): 3.55,
    ("5B", "q6_k"): 3.92,
    ("5B", "q8_0"): 5.03,
}


def file_bytes(name: str, real_sizes: Mapping[str, int] | None = None) -> int | None:
    """Give a model file's size in bytes: the real one when it is given, else from the table, else None."""
    if real_sizes is not None and name in real_sizes:
        return real_sizes[name]
    gib = _FILE_GIB.get(PurePosixPath(name.replace("\\", "/")).stem.lower()) or _gguf_gib(name)
    return None if gib is None else int(gib * GIB)


def _gguf_gib(name: str) -> float | None:
    kind = re.search(r"(?<![a-z0-9])(q\d(?:_k)?(?:_[0smlx]+)?)\.gguf$", name.lower())
    family = family_of(name)
    return None if kind is None or family is None else _GGUF_GIB.get((family.name, kind[1]))


def family_of(name: str) -> ModelFamily | None:
    """Judge by a diffusion model's file name which WAN it is; None when the name does not say."""
    text = name.lower()
    if "wan" not in text:
        return None
    if re.search(r"1[._]3b", text):
        return WAN_1_3B
    if re.search(r"(?<![\d.])5b", text):
        return WAN_5B
    return WAN_14B if "14b" in text else None
