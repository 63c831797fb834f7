"""Finds the prompts: which text ends up as what a sampler shall show, and which as what it shall avoid."""

from __future__ import annotations

import re
from typing import Final

from comfy.graphs.values import InputPath, Setting
from comfy.node_defs.node_classes import model_folder
from comfy.wan.reader import Carried, Reader

# Inputs that hold a prompt, in the order in which they are tried.
_TEXT: Final = ("text", "prompt")
_POSITIVE: Final = ("positive_prompt", *_TEXT)
_NEGATIVE: Final = ("negative_prompt",)
# What makes a condition of nothing: no text has an effect behind it.
_ZERO: Final = re.compile(r"ZeroOut")
_NEGATIVE_NAME: Final = re.compile(r"^neg|^nag|_negative$|uncond")


def find_prompts(reader: Reader, nodes: tuple[str, ...]) -> tuple[list[Setting], list[Setting]]:
    """Find the texts behind a sampler: positive, negative.

    Args:
        nodes: the sampler and what it is put together from.
    """
    for node_id in nodes:
        names = reader.linked(node_id, Carried.TEXT)
        if names:
            return _behind(reader, node_id, names)
    return [], []


def text_encoders(reader: Reader) -> list[str]:
    """The nodes that load a text encoder; one that encodes as well (WanVideoTextEncodeCached) included."""
    found: dict[str, None] = {}
    for node_id in reader.nodes():
        for name in reader.linked(node_id, Carried.ENCODER):
            source = reader.source(node_id, name)
            if source is not None and not reader.linked(source[0], Carried.ENCODER):
                found[source[0]] = None
        class_type = reader.class_type(node_id)
        if any(model_folder(class_type, name) == "text_encoders" for name in reader.inputs(node_id)):
            found[node_id] = None
    return list(found)


def _behind(reader: Reader, node_id: str, names: tuple[str, ...]) -> tuple[list[Setting], list[Setting]]:
    positive: dict[InputPath, Setting] = {}
    negative: dict[InputPath, Setting] = {}
    # One link carries both prompts in the wrapper, and in a sampler that takes a single condition only one.
    waiting = [(node_id, name, _NEGATIVE_NAME.search(name) is not None) for name in reversed(names)]
    seen: set[tuple[str, int, bool]] = set()
    while waiting:
        at, name, is_negative = waiting.pop()
        source = reader.source(at, name)
        if source is None or (*source, is_negative) in seen:
            continue
        seen.add((*source, is_negative))
        behind = _texts(reader, source[0], is_negative=is_negative)
        if behind is not None:
            positive.update((each.set_at, each) for each in behind[0])
            negative.update((each.set_at, each) for each in behind[1])
        elif not _ZERO.search(reader.class_type(source[0])):
            waiting += [(source[0], *each) for each in _onward(reader, source, is_negative=is_negative)]
    return list(positive.values()), list(negative.values())


def _texts(reader: Reader, node_id: str, *, is_negative: bool) -> tuple[list[Setting], list[Setting]] | None:
    """The texts that a node encodes; None when it is no encoder of texts."""
    if reader.linked(node_id, Carried.TEXT):
        return None
    own = reader.setting(node_id, *_POSITIVE)
    other = reader.setting(node_id, *_NEGATIVE)
    if own is None and other is None:
        return None
    first = [own] if own is not None else []
    if is_negative:
        return [], first
    return first, [other] if other is not None else []


def _onward(reader: Reader, source: tuple[str, int], *, is_negative: bool) -> list[tuple[str, bool]]:
    """The inputs from which a node makes what leaves by this output, each with whether it is negative."""
    node_id, slot = source
    names = reader.linked(node_id, Carried.TEXT)
    sides = {name: _NEGATIVE_NAME.search(name) is not None for name in names}
    if len(set(sides.values())) < 2:
        return [(name, is_negative) for name in names]
    if _joins(reader, node_id):
        return list(sides.items())
    # Two sides in, two sides out: the first output is the positive one.
    wanted = slot > 0
    return [(name, is_negative) for name, side in sides.items() if side is wanted]


def _joins(reader: Reader, node_id: str) -> bool:
    """Whether a node makes one output of both sides, as the wrapper's nodes for text embeddings do."""
    return reader.class_type(node_id).startswith("WanVideo")
