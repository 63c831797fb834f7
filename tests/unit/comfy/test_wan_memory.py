"""The figures follow from the formulas in the sources that the modules name."""

from __future__ import annotations

import pytest

from comfy.wan.memory import activation_bytes, vae_decode_bytes
from comfy.wan.models import GIB, WAN_1_3B, WAN_5B, WAN_14B, ModelFamily
from comfy.wan.names import family_of, file_bytes
from comfy.wan.sizes import ClipSize
from comfy.wan.speed import forward_flops
from comfy.wan.templates import get_template
from comfy.wan.workload import graph_need, smallest_vram_class_gib


def size(width: int, height: int, frames: int) -> ClipSize:
    return ClipSize(width=width, height=height, frames=frames)


@pytest.mark.parametrize(
    ("family", "clip", "tokens", "activation_gib"),
    [
        (WAN_14B, size(832, 480, 33), 14_040, 2.5),
        (WAN_14B, size(832, 480, 81), 32_760, 5.9),
        (WAN_14B, size(640, 640, 81), 33_600, 6.1),
        (WAN_14B, size(1280, 720, 81), 75_600, 13.6),
        (WAN_14B, size(1280, 720, 121), 111_600, 20.1),
        (WAN_5B, size(1280, 704, 121), 27_280, 3.0),
        (WAN_1_3B, size(832, 480, 81), 32_760, 1.8),
    ],
)
def test_tokens_and_activations_follow_comfyuis_estimate(
    family: ModelFamily, clip: ClipSize, tokens: int, activation_gib: float
) -> None:
    assert clip.tokens(stride=family.vae_stride) == tokens
    assert activation_bytes(clip, family) / GIB == pytest.approx(activation_gib, abs=0.07)


@pytest.mark.parametrize(
    ("family", "clip", "gib"),
    [
        (WAN_14B, size(832, 480, 81), 5.2),
        (WAN_14B, size(1280, 720, 81), 12.0),
        (WAN_5B, size(1280, 704, 121), 13.4),
    ],
)
def test_the_vae_needs_the_same_whatever_the_number_of_frames(
    family: ModelFamily, clip: ClipSize, gib: float
) -> None:
    assert vae_decode_bytes(clip, family) / GIB == pytest.approx(gib, abs=0.07)
    longer = size(clip.width, clip.height, clip.frames + 80)
    assert vae_decode_bytes(longer, family) == vae_decode_bytes(clip, family)


@pytest.mark.parametrize(
    ("family", "clip", "petaflops"),
    [
        (WAN_14B, size(832, 480, 81), 1.80),
        (WAN_14B, size(1280, 720, 81), 6.80),
        (WAN_5B, size(1280, 704, 121), 0.55),
        (WAN_1_3B, size(832, 480, 81), 0.29),
    ],
)
def test_the_work_of_a_forward_pass(family: ModelFamily, clip: ClipSize, petaflops: float) -> None:
    assert forward_flops(clip, family) / 1e15 == pytest.approx(petaflops, abs=0.02)


@pytest.mark.parametrize(
    ("width", "height", "frames", "smallest", "comfortable"),
    [(480, 272, 33, 8, 24), (832, 480, 81, 8, 24), (1280, 720, 81, 16, 32), (1280, 720, 121, 24, 48)],
)
def test_the_template_fits_the_classes_that_the_formulas_allow(
    width: int, height: int, frames: int, smallest: int, comfortable: int
) -> None:
    graph = get_template("wan22-t2v-a14b").build(prompt="x", width=width, height=height, frames=frames).graph

    need = graph_need(graph)

    assert need is not None
    assert need.certain
    assert (need.smallest_class_gib, need.comfortable_class_gib) == (smallest, comfortable)
    assert smallest_vram_class_gib(graph) == smallest


def test_a_real_file_size_counts_more_than_the_table() -> None:
    graph = get_template("wan22-t2v-a14b").build(prompt="x").graph
    name = graph["37"]["inputs"]["unet_name"]

    need = graph_need(graph, {name: 20 * GIB})

    assert need is not None
    assert need.resident_bytes == 20 * GIB


def test_a_graph_without_a_wan_model_is_not_guessed_about() -> None:
    assert graph_need({"1": {"class_type": "SaveImage", "inputs": {}}}) is None
    assert smallest_vram_class_gib({"1": {"class_type": "SaveImage", "inputs": {}}}) is None


def test_an_unknown_size_counts_as_the_largest_usual_one() -> None:
    graph = get_template("wan22-t2v-a14b").build(prompt="x").graph
    graph["59"]["inputs"]["width"] = ["8", 0]

    need = graph_need(graph)

    assert need is not None
    assert not need.certain
    assert need.smallest_class_gib == 16


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors", WAN_14B),
        ("wan2.2_ti2v_5B_fp16.safetensors", WAN_5B),
        ("Wan2.1-T2V-1.3B.safetensors", WAN_1_3B),
        ("Wan2_1-I2V-14B-480P.gguf", WAN_14B),
        ("flux1-dev.safetensors", None),
        ("wan_something.safetensors", WAN_14B),
        ("swan_lake.safetensors", None),
    ],
)
def test_the_family_is_read_from_the_file_name(name: str, family: ModelFamily | None) -> None:
    assert family_of(name) is family


def test_a_file_in_a_sub_folder_is_found_in_the_table() -> None:
    assert file_bytes("Wan\\wan_2.1_vae.safetensors", "vae") == int(0.24 * GIB)
    assert file_bytes("unknown.safetensors", "vae") is None
