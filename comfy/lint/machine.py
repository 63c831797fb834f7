"""Rules about how the graph uses the machine: attention, precision, where models lie."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from comfy.lint.diagnostic import Severity
from comfy.lint.rule import Found, Rule, Subject
from comfy.rewrites.attention import forced_sage

_DEVICE_INPUTS: Final = ("device", "clip_device", "text_encoder_device")
_QUANTIZED: Final = ("weight_dtype", "quantization")


def _sage(subject: Subject) -> Iterator[Found]:
    if any(name.startswith("sage") for name in subject.site.attention_proven):
        return
    for node_id in subject.running():
        for name, value in forced_sage(subject.class_of(node_id), partial(subject.value, node_id)):
            message = f"{value}: SageAttention, whatever card the job comes to"
            yield Found(message=message, node_id=node_id, input_name=name)


def _encoder_on_cpu(subject: Subject) -> Iterator[Found]:
    # Where the encoder is loaded, or where it is used: WanVideoTextEncode says the device of its own run.
    loaded = [encoder.node_id for encoder in subject.roles.text_encoders]
    used = [text.set_at.node_id for role in ("prompt", "negative") for text in subject.roles.of(role)]
    for node_id in dict.fromkeys(loaded + used):
        for name in _DEVICE_INPUTS:
            if str(subject.value(node_id, name)).lower() == "cpu":
                message = f"{subject.class_of(node_id)} computes the prompt on the CPU"
                yield Found(message=message, node_id=node_id, input_name=name)


def _fast(subject: Subject) -> Iterator[Found]:
    for node_id in subject.running():
        for name in _QUANTIZED:
            value = subject.value(node_id, name)
            if isinstance(value, str) and value.startswith("fp8") and value.endswith("fast"):
                message = f"{value}: products in 8 bits"
                yield Found(message=message, node_id=node_id, input_name=name)


RULES: Final = (
    Rule(
        id="sage-forced",
        severity=Severity.INFO,
        title="SageAttention is forced: black or noisy frames where its build does not fit the card",
        remedy="leave it: the farm sets SDPA, or with `--attention auto` what the worker has proven",
        source="https://github.com/thu-ml/SageAttention/issues/148",
        check=_sage,
        any_model=True,
    ),
    Rule(
        id="encoder-on-cpu",
        severity=Severity.WARNING,
        title="the text encoder works on the CPU: slow at each new prompt",
        remedy="set its device to default: ComfyUI takes it off the card before it samples",
        source="https://github.com/Comfy-Org/ComfyUI (nodes.py, CLIPLoader)",
        check=_encoder_on_cpu,
        any_model=True,
    ),
    Rule(
        id="fp8-fast",
        severity=Severity.WARNING,
        title="products in fp8 (`…_fast`): a little faster from Ada on, with visible damage to WAN at 720p",
        remedy="take the same type without _fast, or an fp8_scaled file with default",
        source="https://github.com/kijai/ComfyUI-WanVideoWrapper/issues/283",
        check=_fast,
        any_model=True,
    ),
)
