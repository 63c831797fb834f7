"""What file names tell: the set, its expert, the steps it was distilled for, its size."""

from __future__ import annotations

import re

import pytest

from comfy.wan.model_table import MODEL_SETS, Kind
from comfy.wan.models import GIB, Expert
from comfy.wan.names import (
    distilled_steps,
    expert_of_file,
    expert_of_lora,
    family_of,
    file_bytes,
    is_guess,
    set_of,
    task_of,
    words_of,
)
from tests.support.tables import for_each

# File, set, expert, steps, GiB as published (None: not published, or its name does not tell the width).
MODELS = [
    ("wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors", "WAN 2.2 A14B", "high", None, 13.31),
    ("wan2.2_i2v_low_noise_14B_fp16.safetensors", "WAN 2.2 A14B", "low", None, 26.6),
    ("WanVideo/2_2/Wan2_2-I2V-A14B-LOW_fp8_e4m3fn_scaled_KJ.safetensors", "WAN 2.2 A14B", "low", None, 13.31),
    ("Wan2_2-I2V-A14B-HIGH_nvfp4.safetensors", "WAN 2.2 A14B", "high", None, None),
    ("Wan2.2-I2V-A14B-HighNoise-Q3_K_S.gguf", "WAN 2.2 A14B", "high", None, 6.07),
    ("Wan2.2-I2V-A14B-HighNoise-Q5_K_S.gguf", "WAN 2.2 A14B", "high", None, 9.44),
    ("wan2.2_ti2v_5B_fp16.safetensors", "WAN 2.2 TI2V 5B", None, None, 9.31),
    ("wan2.1_i2v_720p_14B_bf16.safetensors", "WAN 2.1 I2V 14B", None, None, 30.54),
    ("wan2.1_i2v_480p_14B_fp8_scaled.safetensors", "WAN 2.1 I2V 14B", None, None, 15.27),
    ("wan2.1_flf2v_720p_14B_fp16.safetensors", "WAN 2.1 I2V 14B", None, None, 30.54),
    ("wan2.1_t2v_14B_fp16.safetensors", "WAN 2.1 T2V 14B", None, None, 26.61),
    ("wan2.1_t2v_14B_high_noise.safetensors", "WAN 2.1 T2V 14B", None, None, None),
    ("wan2.1_t2v_1.3B_fp16.safetensors", "WAN 2.1 T2V 1.3B", None, None, 2.64),
    ("wan2.1_vace_14B_fp16.safetensors", "WAN VACE 14B", None, None, 32.29),
    ("wan2.1_vace_1.3B_fp16.safetensors", "WAN VACE 1.3B", None, None, 4.01),
    ("wan2.2_bernini_r_high_noise_fp8_scaled.safetensors", "Bernini-R", "high", None, 14.53),
    ("wan2.2_dancer_14b_global_fp8_scaled.safetensors", "Wan-Dancer", None, None, 15.93),
    ("wan2.2_dancer_14b_local_fp8_scaled.safetensors", "Wan-Dancer", None, None, 15.93),
    ("wan_animate_2_int8_convrot.safetensors", "WAN Animate 2", None, None, 15.51),
    ("wan_animate_2_distill_int8_convrot.safetensors", "WAN Animate 2, distilled", None, 10, 15.51),
    ("Wan2_2-Animate-14B_high_fp8_e4m3fn_scaled_KJ.safetensors", "WAN 2.2 Animate", None, None, 16.08),
    ("wan2.2_animate_14B_bf16.safetensors", "WAN 2.2 Animate", None, None, 32.13),
    ("Wan21-WanMove_fp8_scaled_e4m3fn_KJ.safetensors", "WanMove", None, None, 15.27),
    ("wan2.1_14B_SCAIL_2_int8_convrot.safetensors", "SCAIL", None, None, 15.51),
    ("humo_17B_fp8_e4m3fn.safetensors", "HuMo 17B", None, None, 15.89),
    ("humo_1.7B_fp16.safetensors", "HuMo 1.7B", None, None, 3.17),
    ("Phantom-Wan-14B_fp16.safetensors", "Phantom 14B", None, None, 26.6),
    ("wan2.2_s2v_14B_fp8_scaled.safetensors", "WAN 2.2 S2V 14B", None, None, 15.27),
    ("wan2.2_fun_vace_high_noise_14B_bf16.safetensors", "WAN 2.2 VACE-Fun A14B", "high", None, 32.29),
    (
        "wan2.2_fun_control_low_noise_14B_fp8_scaled.safetensors",
        "WAN 2.2 Fun A14B (Control, Inpaint, Camera)",
        "low",
        None,
        14.25,
    ),
    ("wan2.2_fun_inpaint_5B_bf16.safetensors", "WAN 2.2 Fun 5B", None, None, 9.31),
    (
        "TurboWan2.2-I2V-A14B-high-720P.pth",
        "WAN 2.2 A14B, rCM (TurboDiffusion)",
        "high",
        4,
        None,
    ),
    ("TurboWan2.1-T2V-1.3B-480P.pth", "WAN 2.1 1.3B, rCM (TurboDiffusion)", None, 4, None),
    (
        "wan2.2_i2v_A14b_high_noise_lightx2v_4step_720p_260412.safetensors",
        "WAN 2.2 A14B, 4 steps (LightX2V, full models)",
        "high",
        4,
        None,
    ),
    (
        "Wan2.2-NVFP4-Sparse-low.safetensors",
        "WAN 2.2 A14B, 4 steps (LightX2V, full models)",
        "low",
        4,
        None,
    ),
    ("FastWan2.2-TI2V-5B_fp16.safetensors", "WAN 2.2 TI2V 5B, 3 steps (FastWan)", None, 3, 9.31),
    (
        "causal_forcing_1.3b_bf16.safetensors",
        "WAN 2.1 T2V 1.3B, autoregressive (Causal Forcing, Self Forcing)",
        None,
        4,
        2.64,
    ),
    ("Wan14Bi2vFusioniX_fp16.safetensors", "a WAN model of 14B", None, 4, None),
    ("Wan2.1_T2V_14B_FusionX_VACE-Q6_K.gguf", "WAN VACE 14B", None, 4, 13.59),
    ("wan2.2-rapid-mega-aio-v10.safetensors", "WAN 2.2 rapid merge", None, 4, None),
    ("aniWan2114BFp8E4m3fn_i2v480pNew.safetensors", "WAN 2.1 I2V 14B", None, None, 15.27),
]
LORAS = [
    (
        "wan2.2_t2v_lightx2v_4steps_lora_v1.1_high_noise.safetensors",
        "Lightning LoRAs for WAN 2.2 A14B",
        "high",
        4,
        1.14,
    ),
    (
        "Wan22_I2V_A14B_LOW_lightx2v_4step_lora_260412_rank_64.safetensors",
        "Lightning LoRAs for WAN 2.2 A14B",
        "low",
        4,
        0.59,
    ),
    (
        "lightx2v_T2V_14B_cfg_step_distill_v2_lora_rank64_bf16.safetensors",
        "LightX2V LoRA for WAN 2.1 T2V 14B",
        None,
        4,
        0.59,
    ),
    (
        "lightx2v_I2V_14B_480p_cfg_step_distill_rank64_bf16.safetensors",
        "LightX2V LoRA for WAN 2.1 I2V 14B",
        None,
        4,
        0.69,
    ),
    (
        "Wan_2_1_T2V_14B_480p_rCM_lora_average_rank_83_bf16.safetensors",
        "LoRA for WAN 2.1 14B, few steps (CausVid, AccVid, FusionX, FastWan, rCM)",
        None,
        4,
        None,
    ),
    (
        "Wan2_2_5B_FastWanFullAttn_lora_rank_128_bf16.safetensors",
        "LoRA for WAN 2.2 TI2V 5B, few steps (FastWan, Turbo)",
        None,
        3,
        None,
    ),
    (
        "wan2.2_animate_14B_relight_lora_bf16.safetensors",
        "WAN 2.2 Animate relight LoRA",
        None,
        None,
        1.34,
    ),
    ("wan_alpha_2.1_rgba_lora.safetensors", "Wan-Alpha RGBA LoRA", None, None, 0.29),
    (
        "SVI_v2_PRO_Wan2.2-I2V-A14B_HIGH_lora_rank_128_fp16.safetensors",
        "SVI 2.0 Pro LoRAs",
        "high",
        None,
        None,
    ),
    ("Hyper-SDXL-8steps-lora.safetensors", "few-step LoRA", None, 8, None),
    ("my_style.safetensors", None, None, None, None),
]


@for_each("file, expected, expert, steps, gib", MODELS)
def test_a_model_is_known_by_its_name(
    file: str, expected: str, expert: str | None, steps: int | None, gib: float | None
) -> None:
    row = set_of(file)
    size = file_bytes(file, "diffusion_models")

    assert row is not None
    assert row.name == expected
    assert expert_of_file(file) == (Expert(expert) if expert else None)
    assert distilled_steps(file) == steps
    assert gib is None or size == pytest.approx(gib * GIB, rel=0.03)


@pytest.mark.parametrize(("file", "expected", "expert", "steps", "gib"), LORAS)
def test_a_lora_is_known_by_its_name(
    file: str, expected: str | None, expert: str | None, steps: int | None, gib: float | None
) -> None:
    row = set_of(file, Kind.LORA)
    size = file_bytes(file, "loras")

    assert (row.name if row else None) == expected
    assert expert_of_lora(file) == (Expert(expert) if expert else None)
    assert distilled_steps(file, Kind.LORA) == steps
    assert gib is None or size == pytest.approx(gib * GIB, rel=0.03)


@pytest.mark.parametrize(
    ("file", "folder", "gib"),
    [
        ("umt5_xxl_fp8_e4m3fn_scaled.safetensors", "text_encoders", 6.27),
        ("umt5-xxl-enc-bf16.safetensors", "text_encoders", 10.59),
        ("Wan2_1_VAE_bf16.safetensors", "vae", 0.24),
        ("wan2.2_vae.safetensors", "vae", 1.31),
        ("wan_alpha_2.1_vae_rgb_channel.safetensors", "vae", 0.24),
        ("wan_alpha_2.1_vae_alpha_channel.safetensors.safetensors", "vae", 0.24),
        ("clip_vision_h.safetensors", "clip_vision", 1.18),
        ("Wan2_1-InfiniTetalk-Single_fp16.safetensors", "diffusion_models", 4.77),
        ("Wan2_1-VACE_module_14B_fp8_e4m3fn.safetensors", "diffusion_models", 2.84),
        ("somebody_elses.safetensors", "vae", None),
    ],
)
def test_what_is_loaded_beside_is_sized_too(file: str, folder: str, gib: float | None) -> None:
    found = file_bytes(file, folder)

    assert found is None if gib is None else found == pytest.approx(gib * GIB, rel=0.03)


@pytest.mark.parametrize("file", ["someMixWan22_i2vHigh.safetensors", "wan_something.safetensors"])
def test_a_merge_that_does_not_tell_its_size_is_a_guess(file: str) -> None:
    assert family_of(file) is not None
    assert is_guess(file)


def test_the_experts_of_an_odd_merge_are_told_apart() -> None:
    names = ("someMixWan22_i2vHigh.safetensors", "someMixWan22_i2vLow.safetensors")

    assert [expert_of_file(name) for name in names] == [Expert.HIGH, Expert.LOW]
    assert [task_of(name) for name in names] == ["i2v", "i2v"]


@pytest.mark.parametrize(
    "file", ["flux1-dev.safetensors", "swan_lake.safetensors", "z_image_turbo_bf16.safetensors"]
)
def test_what_is_not_wan_is_not_taken_for_it(file: str) -> None:
    assert set_of(file) is None
    assert distilled_steps(file) is None


@pytest.mark.parametrize(
    "file", ["wan2.5_t2v_14B.safetensors", "wan_2.6.safetensors", "Wan3.0-fp8.safetensors"]
)
def test_a_name_of_which_there_are_no_weights_is_told_as_such(file: str) -> None:
    row = set_of(file)

    assert row is not None
    assert not row.is_open
    assert family_of(file) is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Wan2_2-T2V-A14B-HIGH_fp8.safetensors", "wan2 2 t2v a14b high fp8"),
        ("wan2.2_t2v_highNoise_14B.safetensors", "wan2 2 t2v high noise 14b"),
        ("x.safetensors.safetensors", "x"),
    ],
)
def test_names_read_as_words(name: str, words: str) -> None:
    assert words_of(name) == words


def test_every_row_has_a_source_a_name_of_its_own_and_goes_with_rows_that_there_are() -> None:
    names = [row.name for row in MODEL_SETS]

    assert len(set(names)) == len(names)
    for row in MODEL_SETS:
        re.compile(row.pattern)
        assert row.source
        assert set(row.goes_with) <= set(names), row.name
        assert row.kind is not Kind.MODEL or not row.is_open or row.family is not None


@pytest.mark.parametrize("part", ["9", "a1", "wan2.2 ", ".pt", "high ", "wan_14b_fp8_"])
@pytest.mark.timeout(60)  # with the square of the length, one of them would take an hour
def test_a_name_that_is_made_to_hurt_is_read_at_its_end_only(part: str) -> None:
    ending = "/wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors"

    found = set_of(part * 40_000 + ending)

    assert found is set_of(ending)
    assert expert_of_lora(part * 40_000 + ending) is Expert.HIGH
