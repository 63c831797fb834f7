from __future__ import annotations

from typing import Any

import pytest

from comfy.protocol.phases import Phase, phase_of
from tests.support.tables import for_each


@for_each(
    "class_type, phase",
    [
        ("UNETLoader", Phase.LOAD),
        ("UnetLoaderGGUF", Phase.LOAD),
        ("UNETLoaderDisTorch2MultiGPU", Phase.LOAD),
        ("LoraLoaderModelOnly", Phase.LOAD),
        ("WanVideoModelLoader", Phase.LOAD),
        ("LoadWanVideoT5TextEncoder", Phase.LOAD),
        ("LoadImage", Phase.LOAD),
        ("CLIPTextEncode", Phase.TEXT),
        ("WanVideoTextEncode", Phase.TEXT),
        ("CLIPVisionEncode", Phase.IMAGE),
        ("WanImageToVideo", Phase.IMAGE),
        ("WanVideoImageToVideoEncode", Phase.IMAGE),
        ("KSampler", Phase.SAMPLE),
        ("SamplerCustomAdvanced", Phase.SAMPLE),
        ("KSamplerSelect", Phase.OTHER),
        ("VAEDecode", Phase.VAE),
        ("VAEDecodeTiled", Phase.VAE),
        ("WanVideoDecode", Phase.VAE),
        ("RIFE VFI", Phase.FRAMES),
        ("CreateVideo", Phase.SAVE),
        ("SaveVideo", Phase.SAVE),
        ("VHS_VideoCombine", Phase.SAVE),
        ("PreviewImage", Phase.SAVE),
        ("ModelSamplingSD3", Phase.OTHER),
        ("", Phase.OTHER),
    ],
)
def test_the_class_name_tells_the_phase(class_type: str, phase: Phase) -> None:
    assert phase_of({"1": {"class_type": class_type, "inputs": {}}}, "1") is phase


@pytest.mark.parametrize(
    ("class_type", "inputs", "phase"),
    [
        (
            "KSamplerAdvanced",
            {"add_noise": "enable", "return_with_leftover_noise": "enable"},
            Phase.SAMPLE_HIGH,
        ),
        (
            "KSamplerAdvanced",
            {"add_noise": "disable", "return_with_leftover_noise": "disable"},
            Phase.SAMPLE_LOW,
        ),
        ("KSamplerAdvanced", {"add_noise": "enable", "return_with_leftover_noise": "disable"}, Phase.SAMPLE),
        ("WanVideoSampler", {"start_step": 0, "end_step": 4}, Phase.SAMPLE_HIGH),
        ("WanVideoSampler", {"start_step": 4, "end_step": -1}, Phase.SAMPLE_LOW),
        ("WanVideoSampler", {"start_step": 0, "end_step": -1}, Phase.SAMPLE),
        ("WanVideoSampler", {"start_step": ["2", 0]}, Phase.SAMPLE_LOW),
    ],
)
def test_the_experts_are_told_apart_by_what_they_hand_over(
    class_type: str, inputs: dict[str, Any], phase: Phase
) -> None:
    graph = {
        "1": {"class_type": class_type, "inputs": inputs},
        "2": {"class_type": "INTConstant", "inputs": {"value": 4}},
    }

    assert phase_of(graph, "1") is phase
