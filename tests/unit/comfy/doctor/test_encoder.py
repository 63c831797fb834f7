"""Who put a text encoder on the CPU beside a card: a flag, the loader, or ComfyUI itself."""

from __future__ import annotations

import pytest

from comfy.doctor.diagnose import diagnose
from comfy.doctor.report import Finding

_ON_CPU = (
    "got prompt\nCLIP/text encoder model load device: cpu, offload device: cpu, current: cpu, "
    "dtype: torch.float16\nPrompt executed in 30.00 seconds\n"
)
_STAMPED = """\
2026-01-01T00:00:00.000000000Z Set vram state to: {state}
2026-01-01T00:00:00.000000000Z Device: {device}
2026-01-01T00:00:10.000000000Z got prompt
2026-01-01T00:00:11.000000000Z CLIP/text encoder model load device: cpu, dtype: torch.float16
2026-01-01T00:00:12.000000000Z Requested to load WanTEModel
2026-01-01T00:00:13.000000000Z loaded completely 9.5367431640625e+25 10835.4765625 True
2026-01-01T00:01:21.000000000Z Requested to load WAN21
2026-01-01T00:01:22.000000000Z loaded completely 9.5367431640625e+25 13629.0 True
2026-01-01T00:02:10.000000000Z Prompt executed in 120.00 seconds
"""


def told(log: str) -> Finding | None:
    return next((each for each in diagnose(log).findings if each.id == "encoder-on-cpu"), None)


def start(state: str, device: str, vram_mib: int = 24564) -> str:
    return (
        f"Total VRAM {vram_mib} MB, total RAM 65536 MB\nSet vram state to: {state}\nDevice: {device}\n"
        f"To see the GUI go to: http://127.0.0.1:8188\n"
    )


def on_cuda(name: str) -> str:
    return f"cuda:0 {name} : cudaMallocAsync"


@pytest.mark.parametrize(
    ("state", "card", "vram_mib", "remedy"),
    [
        # What the loader alone decides.
        ("NORMAL_VRAM", "NVIDIA GeForce RTX 4090", 24564, "set the CLIP loader's device to default"),
        ("HIGH_VRAM", "NVIDIA H100 80GB HBM3", 81559, "set the CLIP loader's device to default"),
        ("NORMAL_VRAM", "Tesla T4", 15360, "set the CLIP loader's device to default"),
        ("NORMAL_VRAM", "Quadro RTX 5000", 16384, "set the CLIP loader's device to default"),
        # What a flag decides.
        ("LOW_VRAM", "NVIDIA GeForce RTX 4090", 24564, "take --lowvram out"),
        ("NO_VRAM", "NVIDIA GeForce RTX 3060", 12288, "take --novram out"),
        # What ComfyUI decides for a card so small.
        ("LOW_VRAM", "NVIDIA GeForce RTX 2050", 4096, "--normalvram"),
        # What ComfyUI decides for cards whose fp16 it does not take, whatever the flags and the loader say.
        ("NORMAL_VRAM", "NVIDIA GeForce GTX 1080 Ti", 11264, "CLIPLoaderMultiGPU"),
        ("NORMAL_VRAM", "Tesla P40", 24576, "CLIPLoaderMultiGPU"),
        ("NORMAL_VRAM", "Quadro P4000", 8192, "CLIPLoaderMultiGPU"),
        ("NORMAL_VRAM", "NVIDIA TITAN Xp", 12288, "CLIPLoaderMultiGPU"),
        ("NORMAL_VRAM", "Tesla M40 24GB", 24576, "CLIPLoaderMultiGPU"),
        ("NORMAL_VRAM", "NVIDIA GeForce GTX 980 Ti", 6144, "CLIPLoaderMultiGPU"),
        ("NORMAL_VRAM", "NVIDIA GeForce GTX 1660 SUPER", 6144, "CLIPLoaderMultiGPU"),
        ("LOW_VRAM", "NVIDIA GeForce GTX 1660 Ti", 6144, "CLIPLoaderMultiGPU"),
        ("NORMAL_VRAM", "NVIDIA T1000 8GB", 8192, "CLIPLoaderMultiGPU"),
        # A card of which nothing is known: all that it may be.
        ("NORMAL_VRAM", "Somebody's Card", 24564, "there by itself"),
    ],
)
def test_the_remedy_is_that_of_what_put_the_encoder_there(
    state: str, card: str, vram_mib: int, remedy: str
) -> None:
    finding = told(start(state, on_cuda(card), vram_mib) + _ON_CPU)

    assert finding is not None
    assert remedy in finding.remedy
    is_the_loaders = remedy.startswith("set the CLIP loader")
    assert ("device to default" in finding.remedy) is (is_the_loaders or remedy == "there by itself")


@pytest.mark.parametrize("head", [start("SHARED", "mps", 65536), "Device: mps\n"])
def test_on_a_mac_comfyui_has_it_on_the_cpu_and_only_gpu_only_changes_that(head: str) -> None:
    finding = told(head + _ON_CPU)

    assert finding is not None
    assert "Mac" in finding.message
    assert "beside a card" not in finding.message
    assert finding.remedy.startswith("--gpu-only")
    assert "lowvram" not in finding.remedy


def test_nothing_is_said_where_the_cpu_is_all_there_is() -> None:
    assert told(start("DISABLED", "cpu") + _ON_CPU) is None


def test_a_mac_loses_a_part_of_the_time_of_its_text_a_card_all_of_it() -> None:
    mac = told(_STAMPED.format(state="SHARED", device="mps"))
    card = told(_STAMPED.format(state="NORMAL_VRAM", device=on_cuda("NVIDIA GeForce RTX 4090")))

    assert mac is not None
    assert mac.cost is not None
    assert card is not None
    assert card.cost is not None
    assert not mac.cost.measured
    assert "× (1 − 1/6.8)" in mac.cost.formula
    assert mac.cost.low == 0
    assert mac.cost.seconds == pytest.approx(68 * 5.8 / 6.8, abs=0.1)
    assert card.cost.seconds == pytest.approx(68, abs=0.1)
