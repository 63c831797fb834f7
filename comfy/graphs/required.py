"""What a graph needs from the machine that runs it: node classes, model files, input files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from comfy.graphs.links import ancestors, class_of, inputs_of, is_link
from comfy.graphs.values import literal, running
from comfy.node_defs.definitions import Definitions
from comfy.node_defs.node_classes import base_class, model_folder, node_class

# Kind -> the folders below models/ that hold it. Source: ComfyUI folder_paths.py.
SAME_FOLDER = {
    "diffusion_models": ("diffusion_models", "unet"),
    "text_encoders": ("text_encoders", "clip"),
}

MODEL_ENDING: Final = r"\.(safetensors|sft|gguf|ckpt|pt|pth|bin|onnx)"  # of a file, as a pattern, in any case
_MODEL_FILE = re.compile(MODEL_ENDING + "$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A model file that a loader names."""

    name: str  # as the graph has it, with a sub-folder if there is one
    folder: str  # below ComfyUI's models/: "diffusion_models", "vae", …
    node_id: str
    input_name: str

    @property
    def path(self) -> str:
        """The name with ``/`` between its folders, whatever system the graph was saved on."""
        return self.name.replace("\\", "/")


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """A file that a node expects in ComfyUI's input folder."""

    name: str
    node_id: str
    input_name: str


def is_model_file(value: object) -> bool:
    """Tell whether a value is the name of a model file, by its ending."""
    return isinstance(value, str) and _MODEL_FILE.search(value) is not None


def node_classes(graph: Mapping[str, Any]) -> tuple[str, ...]:
    """List every class of the graph once; ComfyUI wants all of them installed, dead branches included."""
    return tuple(sorted({str(class_of(graph, node_id)) for node_id in graph}))


def is_output(graph: Mapping[str, Any], node_id: str, definitions: Definitions | None = None) -> bool:
    """Tell whether a node is an output: as its definition says, or else as far as names tell."""
    class_type = class_of(graph, node_id) or ""
    known = definitions or {}
    told = known.get(class_type) or known.get(base_class(class_type))
    return node_class(class_type).is_output if told is None else told.output_node


def output_nodes(graph: Mapping[str, Any], definitions: Definitions | None = None) -> list[str]:
    """List the nodes that are outputs, in the graph's order."""
    return [node_id for node_id in graph if is_output(graph, node_id, definitions)]


def _checked_nodes(graph: Mapping[str, Any]) -> set[str]:
    """Collect what ComfyUI checks before it runs the graph: what feeds an output, untaken branches included.

    All nodes when no output is recognised.
    """
    outputs = output_nodes(graph)
    return ancestors(graph, outputs) if outputs else set(graph)


def running_nodes(graph: Mapping[str, Any], definitions: Definitions | None = None) -> set[str]:
    """Collect the nodes that run: what feeds an output, but for branches that a switch leaves out.

    All of them when no output is recognised.
    """
    outputs = output_nodes(graph, definitions)
    return running(graph, outputs) if outputs else set(graph)


def folders_of_kind(kind: str) -> tuple[str, ...]:
    """The folders below models/ in which files of that kind may lie."""
    return SAME_FOLDER.get(kind, (kind,))


def model_files(graph: Mapping[str, Any]) -> tuple[ModelFile, ...]:
    """List the model files that the nodes of the graph name, each input that names one."""
    return tuple(_walk_model_files(graph))


def input_files(graph: Mapping[str, Any]) -> tuple[InputFile, ...]:
    """List the files that the running nodes expect in ComfyUI's input folder."""
    checked = _checked_nodes(graph)
    found = []
    for node_id in graph:
        input_name = node_class(class_of(graph, node_id) or "").input_file
        name = literal(graph, node_id, input_name) if input_name and node_id in checked else None
        if input_name and isinstance(name, str) and name:
            found.append(InputFile(name=name, node_id=node_id, input_name=input_name))
    return tuple(found)


def _walk_model_files(graph: Mapping[str, Any]) -> Iterator[ModelFile]:
    checked = _checked_nodes(graph)
    for node_id in graph:
        if node_id not in checked:
            continue
        for input_name, value in inputs_of(graph, node_id).items():
            folder = model_folder(class_of(graph, node_id) or "", input_name)
            name = literal(graph, node_id, input_name) if folder and is_link(value) else value
            # Without a model's ending it is a choice that the node brings along ("pixel_space", "none").
            if folder and isinstance(name, str) and is_model_file(name):
                yield ModelFile(name=name, folder=folder, node_id=node_id, input_name=input_name)
