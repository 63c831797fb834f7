"""Who put a text encoder on the CPU beside a card, and what brings it onto the card.

ComfyUI asks in this order: ``--gpu-only`` has it on the card; LOW_VRAM, NO_VRAM and a Mac's SHARED on the
CPU; else a card that computes fp16 well has it. A loader's device "default" asks just that.
``--fp16-text-enc`` says how weights are kept, not where. Source: comfy/model_management.py,
text_encoder_device, should_use_fp16, text_encoder_dtype; nodes.py, CLIPLoader; alike from 0.3.64 to 0.33.0.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from comfy.doctor.rule import Case
from comfy.log.facts import DeviceFact, MemoryFact, VramStateFact

# Releases until 2025 choose it for such cards by themselves. Source: comfy/model_management.py, total_vram.
_LOW_BY_ITSELF_MIB: Final = 4100
# Cards whose fp16 `should_use_fp16` does not take: Kepler and Maxwell, Pascal but on Windows, and Turing
# without tensor cores, of which it says that fp16 is broken.
_NO_FP16: Final = re.compile(
    r"(?i)\bGTX (?:[6-9]\d\d|10\d\d|16\d\d)|\bGT 1030|\bTITAN Xp?\b|\bTesla [KMP]\d|\bQuadro [KMP]\d"
    r"|\bMX[1-5]\d0\b|\bCMP 30HX|\bNVIDIA T(?:[56]00|550|1000|1200|2000)\b"
)
# A loader with a device of its own, which ComfyUI is not asked for. Source: ComfyUI-MultiGPU __init__.py,
# text_encoder_device_patched.
_OWN_DEVICE: Final = "CLIPLoaderMultiGPU (ComfyUI-MultiGPU) with device cuda:0"
REMEDY: Final = (
    "set the CLIP loader's device to default; take --lowvram and --novram out; on a Mac, a GTX 10 or a "
    "GTX 16 ComfyUI has it there by itself"
)


class Choice(NamedTuple):
    """Who has chosen the CPU, in words for a message, and what to do about it."""

    by: str
    remedy: str


def is_mac(case: Case) -> bool:
    """Whether the card is a Mac's, which shares its memory with the CPU."""
    device, state = case.record.server.last(DeviceFact), case.record.server.last(VramStateFact)
    return (device is not None and device.device.startswith("mps")) or (
        state is not None and state.state == "SHARED"
    )


def is_low_by_itself(case: Case) -> bool:
    """Whether the card is so small that ComfyUI chooses LOW_VRAM for it."""
    memory = case.record.server.last(MemoryFact)
    return memory is not None and memory.vram_mib <= _LOW_BY_ITSELF_MIB


def choice_of(case: Case) -> Choice:
    """As far as the server's start tells."""
    if is_mac(case):
        return Choice(
            ", as ComfyUI has it on a Mac",
            # MPS casts no fp8. Source: comfy/model_management.py, supports_cast; ComfyUI PRs 12809 and 13070.
            "--gpu-only brings it onto the Mac's GPU where its file has 16 bits; the loader's device does "
            "not",
        )
    if _NO_FP16.search(case.gpu):
        return Choice(
            f": ComfyUI trusts no fp16 of this {case.gpu} (of a GTX 10 only on Linux)",
            f"{_OWN_DEVICE}; CLIPLoader's device, --fp16-text-enc and other VRAM flags leave it there, but "
            "--gpu-only, which keeps all other models on the card too",
        )
    told = case.record.server.last(VramStateFact)
    state = told.state if told is not None else ""
    if state in ("LOW_VRAM", "NO_VRAM") and is_low_by_itself(case):
        return Choice(
            f": ComfyUI has chosen {state} for a card this small",
            f"--normalvram and an encoder file that fits the card, or {_OWN_DEVICE}",
        )
    if state in ("LOW_VRAM", "NO_VRAM"):
        flag = "--novram" if state == "NO_VRAM" else "--lowvram"
        return Choice(
            f", as {flag} has it",
            f"take {flag} out of ComfyUI's arguments; as long as it is there the loader's device changes "
            "nothing",
        )
    if state and case.capability is not None:
        return Choice(", beside a card that would take it", "set the CLIP loader's device to default")
    return Choice(", beside a card", REMEDY)
