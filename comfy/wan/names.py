"""What a model file's name tells: of which set it is, how large, for which expert, in how many steps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from comfy.graphs.required import MODEL_ENDING
from comfy.wan.model_table import FEW_STEPS, GUESSED, HIGH_LOW, MODEL_SETS, STEPS_OF_MOST, Kind, ModelSet
from comfy.wan.models import GIB, WAN_1_3B, WAN_5B, WAN_14B, Expert, ModelFamily
from comfy.wan.precision import Precision, width_of

_LONGEST: Final = 255  # characters that are read, from the end: Linux's NAME_MAX
_ENDING: Final = re.compile(f"({MODEL_ENDING})+$", re.IGNORECASE)
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_HIGH_OR_LOW: Final = re.compile(
    r"(?<![a-z])(high|low)( ?noise)?(?![a-z]| ?(vram|res|quality|detail|poly|speed|motion|angle|key))"
)
_TASK: Final = re.compile(r"(?<![a-z0-9])(t2v|i2v)")
_STEPS: Final = re.compile(r"(?<!\d)(\d{1,2}) ?steps?(?![a-z])")
_RANK: Final = re.compile(r"(?<![a-z])(?:rank|r) ?(\d{1,3})(?!\d)")
# Of a 14B LoRA: 601.5 MiB of rank 64 in 16 bits (lightx2v_T2V_14B_cfg_step_distill_v2); 5B and 1.3B by their
# widths and layers. Source: notes in ComfyUI's official templates (comfyui-workflow-templates).
_MIB_PER_RANK: Final[Mapping[str, float]] = {WAN_14B.name: 9.4, WAN_5B.name: 4.2, WAN_1_3B.name: 2.1}
# What lies in a folder below models/. The wrapper looks for the parts that it adds among diffusion models.
_KINDS: Final[Mapping[str, tuple[Kind, ...]]] = {
    "diffusion_models": (Kind.ADDED, Kind.MODEL),
    "checkpoints": (Kind.MODEL,),
    "loras": (Kind.LORA,),
    "vae": (Kind.VAE,),
    "text_encoders": (Kind.ENCODER,),
    "clip_vision": (Kind.ENCODER,),
    "model_patches": (Kind.ADDED,),
    "controlnet": (Kind.ADDED,),
}


@lru_cache(maxsize=4096)
def words_of(name: str) -> str:
    """A name as patterns read it: "wan2 2 i2v high noise 14b fp8 scaled"."""
    # A longer one is made to hurt: the patterns take a time that grows with its square.
    text = _CAMEL.sub(" ", _ENDING.sub("", name[-_LONGEST:]))
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


@lru_cache(maxsize=4096)
def set_of(name: str, kind: Kind = Kind.MODEL) -> ModelSet | None:
    """The set that a file belongs to; None when its name fits none of that kind.

    A file's own name counts before the folders that it lies in.
    """
    own = re.split(r"[/\\]", name)[-1]
    for words in (words_of(own), words_of(name)):
        for row in MODEL_SETS:
            if row.kind is kind and _compiled(row.pattern).search(words):
                return row
    return None


def family_of(name: str) -> ModelFamily | None:
    """The transformer in a diffusion model's file; None when the name tells of no WAN."""
    found = set_of(name)
    return found.family if found is not None else None


def is_guess(name: str) -> bool:
    """Whether a diffusion model's name leaves open which family it is of."""
    found = set_of(name)
    return found is None or found.family is None or found.name in GUESSED


def file_bytes(name: str, folder: str, real_sizes: Mapping[str, int] | None = None) -> int | None:
    """A model file's size in bytes: the real one when it is given, else as its set was published, else None.

    Args:
        folder: below models/ in which it lies, "loras".
    """
    if real_sizes is not None and name in real_sizes:
        return real_sizes[name]
    return _published_bytes(name, folder)


def expert_of_file(name: object) -> Expert | None:
    """For which expert a model is; None when its name tells neither, or both, or its set has no experts."""
    if not isinstance(name, str):
        return None
    row = set_of(name)
    return _expert_in(name) if row is None or row.experts == HIGH_LOW else None


def is_single(name: object) -> bool:
    """Whether a model is known to do all steps alone, whatever else its name says."""
    row = set_of(name) if isinstance(name, str) else None
    return row is not None and row.experts != HIGH_LOW


def expert_of_lora(name: object) -> Expert | None:
    """For which expert a LoRA is; None when its name tells neither, or both."""
    return _expert_in(name) if isinstance(name, str) else None


def is_distilled(name: object) -> bool:
    """Whether a LoRA's name says that it makes a model do with few steps."""
    return distilled_steps(name, Kind.LORA) is not None


@lru_cache(maxsize=4096)
def distilled_steps(name: object, kind: Kind = Kind.MODEL) -> int | None:
    """The steps that a model or LoRA was distilled for; None: it was not, as far as its name tells."""
    row = set_of(name, kind) if isinstance(name, str) else None
    if row is None or not isinstance(name, str):
        return None
    words = words_of(name)
    steps = row.steps or (STEPS_OF_MOST if _compiled(FEW_STEPS).search(words) else None)
    named = _STEPS.search(words)
    return steps if steps is None or named is None else int(named[1])


def task_of(name: str) -> str | None:
    """What a model's or LoRA's name says it is for: ``t2v`` or ``i2v``; None: something else, or both."""
    found = set(_TASK.findall(words_of(re.split(r"[/\\]", name)[-1])))
    return found.pop() if len(found) == 1 else None


def _expert_in(name: str) -> Expert | None:
    found = {each[1] for each in _HIGH_OR_LOW.finditer(words_of(name))}
    return Expert(found.pop()) if len(found) == 1 else None


@lru_cache(maxsize=4096)
def _published_bytes(name: str, folder: str) -> int | None:
    rows = (set_of(name, kind) for kind in _KINDS.get(folder, ()))
    row = next((row for row in rows if row is not None), None)
    if row is None:
        return None
    if row.kind is Kind.LORA:
        return _lora_bytes(name, row)
    width = width_of(name)
    precision = width.precision if width is not None else row.precision
    if row.weights is not None:
        bits = width.bits if width is not None else 8.0 if row.precision is not None else None
        return None if bits is None else int(row.weights * bits / 8)
    if row.gib is None:
        return None
    narrow = precision in (Precision.FP8, Precision.INT8) and row.narrow_gib is not None
    return int((row.narrow_gib if narrow and row.narrow_gib is not None else row.gib) * GIB)


def _lora_bytes(name: str, row: ModelSet) -> int | None:
    rank = _RANK.search(words_of(name))
    if rank is not None and row.family is not None:
        return int(int(rank[1]) * (row.mib_per_rank or _MIB_PER_RANK[row.family.name]) * 2**20)
    return None if row.gib is None else int(row.gib * GIB)


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
