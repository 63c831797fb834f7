"""Attention back-ends: set where a graph really sets them."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from comfy.graphs.links import class_of
from comfy.graphs.values import literal
from comfy.node_defs.node_classes import base_class
from comfy.rewrites.change import Change, ChangeKind
from comfy.rewrites.draft import Draft
from comfy.rewrites.options import Attention
from comfy.rewrites.rewrite import Rewrite

_WRAPPER: Final = {
    "sdpa": "sdpa",
    "sage": "sageattn",
    "sage3": "sageattn_3",
    "flash2": "flash_attn_2",
    "flash3": "flash_attn_3",
}
_KJ: Final = {
    "sdpa": "disabled",
    "sage": "auto",
    "sage_fp16_cuda": "sageattn_qk_int8_pv_fp16_cuda",
    "sage_fp16_triton": "sageattn_qk_int8_pv_fp16_triton",
    "sage_fp8_cuda": "sageattn_qk_int8_pv_fp8_cuda",
    "sage3": "sageattn3",
}
# (class, input) -> back-end -> how that input spells it. One that is missing cannot be had there.
# Source: WanVideoWrapper nodes_model_loading.py; KJNodes nodes/model_optimization_nodes.py.
_SPELLINGS: Final[Mapping[tuple[str, str], Mapping[str, str]]] = {
    ("WanVideoModelLoader", "attention_mode"): _WRAPPER,
    ("WanVideoSetAttentionModeOverride", "attention_mode"): _WRAPPER,
    ("PathchSageAttentionKJ", "sage_attention"): _KJ,
    ("DiffusionModelLoaderKJ", "sage_attention"): _KJ,
    ("CheckpointLoaderKJ", "sage_attention"): _KJ,
    ("GGUFLoaderKJ", "attention_override"): {"sdpa": "sdpa", "sage": "sageattn", "flash2": "flashattn"},
}
_LOADS_MODEL: Final = re.compile(r"Load(er)?\w*Model|Model\w*Load(er)?")
# What forces SageAttention, in any of its builds. KJNodes' "auto" picks one of them.
_PYTORCHS: Final = ("sdpa", "disabled", "none", "comfy")  # the last: as ComfyUI itself
_SAGE_PREFIXES: Final = ("sage", "radial_sage", "auto")


def attention_inputs(class_type: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """The inputs with which a class may choose an attention, each with how it spells the back-ends."""
    base = base_class(class_type)
    told = [(name, spelling) for (known, name), spelling in _SPELLINGS.items() if known == base]
    # Forks of the wrapper's loader, and loaders of other packs, took its name and words over.
    return iter(told or ([("attention_mode", _WRAPPER)] if _LOADS_MODEL.search(base) else []))


def forced_sage(class_type: str, value_of: Callable[[str], object]) -> Iterator[tuple[str, str]]:
    """The inputs of a node of this class that force SageAttention, with what stands there."""
    for input_name, _ in attention_inputs(class_type):
        value = value_of(input_name)
        if isinstance(value, str) and value.startswith(_SAGE_PREFIXES):
            yield input_name, value


def other_attentions(graph: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Where nodes choose another attention than PyTorch's: node, input, and what stands there."""
    for node_id in graph:
        for input_name, _ in attention_inputs(class_of(graph, node_id) or ""):
            value = literal(graph, node_id, input_name)
            if isinstance(value, str) and value not in _PYTORCHS:
                yield node_id, input_name, value


def take_pytorchs(graph: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[Change, ...]]:
    """Give a copy of the graph whose nodes choose PyTorch's attention, or leave the choice to ComfyUI."""
    rewritten: dict[str, Any] = copy.deepcopy(dict(graph))
    changes = []
    for node_id, input_name, value in other_attentions(graph):
        sdpa = dict(attention_inputs(class_of(graph, node_id) or ""))[input_name]["sdpa"]
        rewritten[node_id]["inputs"][input_name] = sdpa
        changes.append(
            Change(
                node_id=node_id,
                input_name=input_name,
                old=value,
                new=sdpa,
                why="the clip was black or noise with it",
                kind=ChangeKind.NEAR,
                rewrite=ATTENTION.name,
            )
        )
    return rewritten, tuple(changes)


def set_attention(draft: Draft) -> None:
    """Write the attention back-end that the job's policy asks for."""
    policy = draft.options.attention
    if policy is Attention.KEEP:
        return
    for node_id in tuple(draft.running()):
        for input_name, spelling in attention_inputs(draft.class_of(node_id)):
            present = draft.value(node_id, input_name)
            if not isinstance(present, str):
                continue
            if policy is Attention.AUTO:
                _set_fastest(draft, node_id, input_name, spelling)
            elif present.startswith(_SAGE_PREFIXES):
                why = "SageAttention only where a host has proven it: PyTorch's own is right everywhere"
                draft.set(node_id, input_name, spelling["sdpa"], why)


def _set_fastest(draft: Draft, node_id: str, input_name: str, spelling: Mapping[str, str]) -> None:
    proven = draft.site.attention_proven
    order = sorted((name for name in proven if name in spelling), key=lambda name: proven[name])
    if not order:
        draft.set(node_id, input_name, spelling["sdpa"], "no back-end is proven on this host")
        return
    before = len(draft.notes)
    for name in order:
        why = f"{name} is the fastest that this host has proven: {proven[name] * 1e3:.1f} ms in the probe"
        if draft.set(node_id, input_name, spelling[name], why):
            # What a faster one was refused for is of no interest any more.
            del draft.notes[before:]
            return


ATTENTION: Final = Rewrite(
    name="attention",
    kind=ChangeKind.NEAR,
    title="sets the attention back-end",
    when=(
        "`sdpa` (default): a running node forces SageAttention. `auto`: always, to the fastest back-end that "
        "the host has proven (cosine to SDPA above 0.99). `keep`: never"
    ),
    effect=(
        "`sdpa` rules out black or noisy frames from a wrong SageAttention build. On Ada and Blackwell "
        "consumer cards it costs speed (a 5090 is 37 % faster with sage at 720p), on A100 and A6000 none"
    ),
    source="https://github.com/Wan-Video/Wan2.1/issues/273",
    apply=set_attention,
)
