"""Finds the LoRAs that a node puts on its model: one by name, many in rows, or a stack linked to it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from comfy.graphs.required import is_model_file
from comfy.graphs.values import InputPath, Setting
from comfy.node_defs.node_classes import model_folder
from comfy.wan.parts import Lora
from comfy.wan.reader import Carried, Reader

# An input that names one LoRA of several: "lora_2", "lora_02", "lora_name_2", "lora_2_name".
# Source: ComfyUI nodes.py; WanVideoWrapper nodes_model_loading.py; rgthree-comfy py/lora_stack.py; Comfyroll
# nodes/nodes_lora.py; efficiency-nodes efficiency_nodes.py; ComfyUI-Easy-Use py/nodes/loaders.py.
_NAMES_ONE: Final = re.compile(r"lora(?:_name)?(?:_?(?P<number>\d+))?(?:_name)?")
_STRENGTHS: Final = (
    "strength_model",
    "strength",
    "lora_strength",
    "model_strength",
    "model_weight",
    "model_str",
    "lora_wt",
    "weight",
)
_COUNTS: Final = ("lora_count", "num_loras")  # rows beyond it are not used
# A row that is one value. Source: rgthree-comfy py/power_lora_loader.py; ComfyUI-Lora-Manager py/nodes.
_ON: Final = ("on", "active")
_NAME: Final = ("lora", "name")
_LIST: Final = "__value__"


def loras_of(reader: Reader, node_id: str) -> list[Lora]:
    """The LoRAs of a node, in the order in which they are put on: its own come after a linked stack's."""
    row = list(_own(reader, node_id))
    seen = {node_id}
    at = node_id
    while (source := _stack_behind(reader, at)) is not None and source not in seen:
        at = source
        seen.add(at)
        row = [*_own(reader, at), *row]
    return row


def is_lora_node(reader: Reader, node_id: str) -> bool:
    """Whether a node puts LoRAs on a model, or would."""
    return bool(list(_own(reader, node_id))) or _stack_behind(reader, node_id) is not None


def _stack_behind(reader: Reader, node_id: str) -> str | None:
    for name in reader.linked(node_id, Carried.LORA):
        source = reader.source(node_id, name)
        # What only holds a name is passed by `Reader.setting`.
        if source is not None and not is_model_file(_text(reader, node_id, name)):
            return source[0]
    return None


def _text(reader: Reader, node_id: str, name: str) -> object:
    found = reader.setting(node_id, name)
    return None if found is None else found.value


def _own(reader: Reader, node_id: str) -> Iterator[Lora]:
    inputs = reader.inputs(node_id)
    for name, value in inputs.items():
        if isinstance(value, Mapping):
            yield from _of_rows(reader, node_id, name, value)
        elif (number := _number(reader, node_id, name)) is not None and _is_used(inputs, number):
            file = reader.setting(node_id, name)
            if file is not None and str(file.value).lower() != "none":
                yield Lora(
                    node_id=node_id,
                    class_type=reader.class_type(node_id),
                    file=file,
                    strength=reader.setting(node_id, *_strengths(number)),
                )


def _number(reader: Reader, node_id: str, name: str) -> str | None:
    """Which of a node's LoRAs an input names, "" for its only one; None: it names none."""
    found = _NAMES_ONE.fullmatch(name)
    known = model_folder(reader.class_type(node_id), name) == "loras"
    if not known and not (found and is_model_file(_text(reader, node_id, name))):
        return None
    return (found["number"] if found else None) or ""


def _strengths(number: str) -> tuple[str, ...]:
    if not number:
        return _STRENGTHS
    ahead = (f"lora_{number}_{name}" for name in _STRENGTHS)
    return (*(f"{name}_{number}" for name in _STRENGTHS), *ahead, *_STRENGTHS)


def _is_used(inputs: Mapping[str, Any], number: str) -> bool:
    if inputs.get("toggle") is False or inputs.get(f"switch_{number}") == "Off":
        return False
    count = next((inputs[name] for name in _COUNTS if isinstance(inputs.get(name), int)), None)
    return count is None or not number or int(number) <= count


def _of_rows(reader: Reader, node_id: str, name: str, value: Mapping[str, Any]) -> Iterator[Lora]:
    """LoRAs of values such as ``{"on": true, "lora": "x.safetensors", "strength": 1}``."""
    rows = value.get(_LIST) if isinstance(value.get(_LIST), list) else [value]
    for row in rows or ():
        if not isinstance(row, Mapping) or any(row.get(key) is False for key in _ON):
            continue
        file = next((row[key] for key in _NAME if isinstance(row.get(key), str)), None)
        if file is not None and file.lower() != "none":
            path = InputPath(node_id=node_id, input_name=name)
            yield Lora(
                node_id=node_id,
                class_type=reader.class_type(node_id),
                file=Setting(asked=path, set_at=path, value=file),
                strength=Setting(asked=path, set_at=path, value=row.get("strength")),
            )
