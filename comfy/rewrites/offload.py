"""WanVideoWrapper's own switches for where weights lie: load device, block swap, force offload."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from comfy.graphs.links import is_link
from comfy.graphs.required import model_files
from comfy.node_defs.node_classes import Work, work_of
from comfy.rewrites.change import ChangeKind
from comfy.rewrites.draft import Draft
from comfy.rewrites.rewrite import Rewrite
from comfy.rewrites.room import NotKnown, Room
from comfy.wan.memory import MIN_INFERENCE_BYTES, RESERVE_BYTES
from comfy.wan.models import GIB
from comfy.wan.names import file_bytes

LOAD_DEVICE: Final = "load_device"
_MAIN: Final = "main_device"
_OFFLOAD: Final = "offload_device"
_BLOCK_SWAPS: Final = ("WanVideoBlockSwap", "WanVideoEnhancedBlockSwap")
_SAMPLER: Final = "WanVideoSampler"
_DEVICE: Final = "device"
_CPU: Final = "cpu"
_FULL_MARGIN_BYTES: Final = int(0.3 * GIB)


def set_load_device(draft: Draft) -> None:
    """Write `load_device` where the installed node has it: the card when all fits, else host memory."""
    nodes = [each for each in draft.running() if draft.has_input(each, LOAD_DEVICE)]
    room = _room(draft, nodes, "load_device stays")
    if room is None:
        return
    for node_id in nodes:
        if room.fit.all_stay:
            if _has_unmerged_lora(draft, node_id):
                draft.note(
                    node_id, "stays: with a LoRA that is not merged the node loads to host memory anyway"
                )
                continue
            why = (
                f"all models fit on the card together ({_gib(sum(room.models.experts))} of diffusion models)"
            )
            draft.set(node_id, LOAD_DEVICE, _MAIN, why)
        elif _together(room) > room.free_bytes:
            taken = _gib(_together(room))
            why = f"diffusion models and clip take {taken} together, the card has {_gib(room.free_bytes)}"
            draft.set(node_id, LOAD_DEVICE, _OFFLOAD, why)


def size_block_swap(draft: Draft) -> None:
    """Swap as many blocks as the card lacks, and fetch one ahead."""
    nodes = list(draft.running(*_BLOCK_SWAPS))
    room = _room(draft, nodes, "block swap stays")
    for node_id in nodes:
        if room is not None:
            _swap(draft, node_id, room)
        unset = draft.value(node_id, "prefetch_blocks") in (0, None)
        if unset and draft.has_input(node_id, "prefetch_blocks") and draft.value(node_id, "blocks_to_swap"):
            draft.set(node_id, "prefetch_blocks", 1, "one block fetched ahead hides its copy")


def choose_force_offload(draft: Draft) -> None:
    """Keep the model on the card between two samplers where all fits; else make room after each."""
    nodes = [each for each in draft.running(_SAMPLER) if draft.has_input(each, "force_offload")]
    room = _room(draft, nodes, "force_offload stays")
    if room is None:
        return
    for node_id in nodes:
        if room.fit.all_stay:
            draft.set(node_id, "force_offload", False, "all models fit on the card together")
        elif _together(room) > room.free_bytes:
            draft.set(node_id, "force_offload", True, "the next stage needs the memory of this one's model")


def place_encoder(draft: Draft) -> None:
    """Take the text encoder off the CPU where the card has room for it before sampling begins."""
    for node_id in draft.running():
        if work_of(draft.class_of(node_id)) is not Work.LOAD or draft.value(node_id, _DEVICE) != _CPU:
            continue
        files = [file for file in model_files(draft.graph) if file.node_id == node_id]
        if not files or any(file.folder != "text_encoders" for file in files):
            continue
        sizes = [file_bytes(file.name, file.folder, draft.site.model_bytes) for file in files]
        if draft.site.vram_bytes is None or any(size is None for size in sizes):
            draft.note(node_id, "stays on the CPU: the card or the file's size is not known")
            continue
        wanted = int(1.1 * sum(size or 0 for size in sizes)) + RESERVE_BYTES + MIN_INFERENCE_BYTES
        if wanted <= draft.site.vram_bytes:
            why = f"the encoder takes {_gib(wanted)} and is off the card before sampling begins"
            draft.set(node_id, _DEVICE, "default", why)


def _unless_kept(apply: Callable[[Draft], None]) -> Callable[[Draft], None]:
    """The rewrite, but for a job that keeps what its graph says of these things."""

    def asked(draft: Draft) -> None:
        if not draft.options.keep_offloading:
            apply(draft)

    return asked


def _room(draft: Draft, nodes: list[str], what: str) -> Room | None:
    if not nodes:
        return None
    try:
        return draft.reading.room()
    except NotKnown as exc:
        draft.notes.append(f"{what}: {exc}")
        return None


def _together(room: Room) -> int:
    beside = max(room.models.activations, room.models.decode)
    return sum(room.models.experts) + beside + RESERVE_BYTES + MIN_INFERENCE_BYTES


def _swap(draft: Draft, node_id: str, room: Room) -> None:
    expert = max(room.models.experts)
    full = int(1.1 * expert) + room.models.activations + RESERVE_BYTES + _FULL_MARGIN_BYTES
    lacking = max(full - room.free_bytes, 0)
    blocks = min(math.ceil(lacking / room.block_bytes), room.family.layers)
    why = (
        f"the card lacks {_gib(lacking)} for one expert of {_gib(expert)} at this size; "
        f"a block is {_gib(room.block_bytes)}"
    )
    draft.set(node_id, "blocks_to_swap", blocks, why)


def _has_unmerged_lora(draft: Draft, node_id: str) -> bool:
    """Whether the chain of LoRAs at a loader holds one that stays apart from the weights."""
    link: Any = draft.inputs(node_id).get("lora")
    seen: set[str] = set()
    while isinstance(link, list) and is_link(link) and link[0] not in seen:
        seen.add(link[0])
        if draft.value(link[0], "merge_loras") is False:
            return True
        link = draft.inputs(link[0]).get("prev_lora")
    return False


def _gib(count: int) -> str:
    return f"{count / GIB:.1f} GiB"


LOAD: Final = Rewrite(
    name="load-device",
    kind=ChangeKind.NEAR,
    title="loads weights straight to the card where they fit, to host memory where they do not",
    when=(
        "the installed node has the input `load_device` (WanVideoModelLoader and its MultiGPU form, "
        "LoadWanVideoT5TextEncoder, some forks of UnetLoaderGGUF; city96's own has none), and the sizes of "
        "card, models and clip are known"
    ),
    effect=(
        "spares the way through host memory when a model is loaded for the first time; where the models do "
        "not fit, it avoids running out of memory. Sampling itself runs at the same pace"
    ),
    source="https://github.com/kijai/ComfyUI-WanVideoWrapper (nodes_model_loading.py)",
    apply=_unless_kept(set_load_device),
)
BLOCK_SWAP: Final = Rewrite(
    name="block-swap",
    kind=ChangeKind.NEAR,
    title="sizes the block swap to the card, and prefetches one block",
    when="a linked WanVideoBlockSwap runs, and the sizes of card, model and clip are known",
    effect=(
        "blocks = (what a fully resident expert needs - VRAM) / block; a 14B block is 0.33 GiB in fp8 and "
        "0.66 in bf16, and each one that is swapped crosses the bus in every step. Prefetching hides the copy"
    ),
    source="https://github.com/kijai/ComfyUI-WanVideoWrapper (nodes_model_loading.py)",
    apply=_unless_kept(size_block_swap),
)
FORCE_OFFLOAD: Final = Rewrite(
    name="force-offload",
    kind=ChangeKind.NEAR,
    title="moves models off the card after a stage only where room is short",
    when="WanVideoSampler runs, and the sizes of card, models and clip are known",
    effect=(
        "on a card that holds both experts no copy of 13 to 27 GiB between stages (0.6 s each over PCIe 4 "
        "x16 for fp8); on a smaller one the second stage has the room it needs"
    ),
    source="https://github.com/kijai/ComfyUI-WanVideoWrapper (nodes.py)",
    apply=_unless_kept(choose_force_offload),
)
ENCODER: Final = Rewrite(
    name="encoder-device",
    kind=ChangeKind.NEAR,
    title="takes the text encoder off the CPU where it fits the card",
    when="a text encoder's loader says `cpu`, the installed one offers `default`, and the card has the room",
    effect="a new prompt is encoded on the card; ComfyUI moves the encoder off it before it samples",
    source="https://github.com/Comfy-Org/ComfyUI (nodes.py, CLIPLoader)",
    apply=_unless_kept(place_encoder),
)
