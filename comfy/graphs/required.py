"""What a graph needs from the machine that runs it: node classes, model files, input files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from comfy.graphs.links import (
    ancestors,
    class_of,
    inputs_of,
    is_link,
)
from comfy.graphs.values import literal

# Input name -> folder below ComfyUI's models/. Source: ComfyUI nodes.py and comfy_extras; wan.md section 3.1.
_FOLDER_OF_INPUT = {
    "unet_name": "diffusion_models",
    "clip_name": "text_encoders",
    "clip_name1": "text_encoders",
    "clip_name2": "text_encoders",
    "clip_name3": "text_encoders",
    "clip_name4": "text_encoders",
    "vae_name": "vae",
    "lora_name": "loras",
    "ckpt_name": "checkpoints",
    "control_net_name": "controlnet",
    "style_model_name": "style_models",
    "audio_encoder_name": "audio_encoders",
}

# Classes whose inputs are named otherwise, or whose file is of another kind. An empty table: the node fetches
# its own file (RIFE downloads its checkpoint), so nothing has to be in place.
_FOLDERS_OF_CLASS: dict[str, dict[str, str]] = {
    "CLIPVisionLoader": {"clip_name": "clip_vision"},
    "UpscaleModelLoader": {"model_name": "upscale_models"},
    "ModelPatchLoader": {"name": "model_patches"},
    "DiffusionModelLoaderKJ": {"model_name": "diffusion_models"},
    "GGUFLoaderKJ": {"model_name": "diffusion_models"},
    "WanVideoModelLoader": {"model": "diffusion_models"},
    "WanVideoVAELoader": {"model_name": "vae"},
    "WanVideoLoraSelect": {"lora": "loras"},
    "WanVideoLoraSelectMulti": {f"lora_{index}": "loras" for index in range(5)},
    "LoadWanVideoT5TextEncoder": {"model_name": "text_encoders"},
    "WanVideoTextEncodeCached": {"model_name": "text_encoders"},
    "RIFE VFI": {},
    "FILM VFI": {},
}

# The input that names a file of ComfyUI's input folder.
_INPUT_FILE_OF_CLASS = {
    "LoadImage": "image",
    "LoadImageMask": "image",
    "LoadImageOutput": "image",
    "LoadAudio": "audio",
    "LoadVideo": "file",
    "VHS_LoadVideo": "video",
    "VHS_LoadAudioUpload": "audio",
}

# Kind -> the folders below models/ that hold it. Source: ComfyUI folder_paths.py.
SAME_FOLDER = {
    "diffusion_models": ("diffusion_models", "unet"),
    "text_encoders": ("text_encoders", "clip"),
}

_OUTPUT_CLASSES = frozenset({"PreviewImage", "PreviewAny", "PreviewAudio", "VHS_VideoCombine", "Image Save"})
_MODEL_FILE = re.compile(r"\.(safetensors|sft|gguf|ckpt|pt|pth|bin|onnx)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A model file that a loader names."""

    name: str  # as the graph has it, with a sub-folder if there is one
    folder: str  # below ComfyUI's models/: "diffusion_models", "vae", …
    node_id: str
    input_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """A file that a node expects in ComfyUI's input folder."""

    name: str
    node_id: str
    input_name: str


def is_model_file(value: object) -> bool:
    """Tell whether a value is the name of a model file, by its ending."""
    return isinstance(value, str) and _MODEL_FILE.search(value) is not None


@lru_cache(maxsize=4096)
def base_class(class_type: str) -> str:
    """Give the class that MultiGPU's forms wrap (UNETLoaderMultiGPU, …DisTorch2MultiGPU): same inputs."""
    return re.sub(r"(DisTorch2?)?MultiGPU$", "", class_type)


def node_classes(graph: Mapping[str, Any]) -> tuple[str, ...]:
    """List every class of the graph once; ComfyUI wants all of them installed, dead branches included."""
    return tuple(sorted({str(class_of(graph, node_id)) for node_id in graph}))


def output_nodes(graph: Mapping[str, Any]) -> list[str]:
    """List the nodes that are outputs as far as class names tell; a server's ``/object_info`` knows all."""
    return [node_id for node_id in graph if is_output_class(class_of(graph, node_id) or "")]


def is_output_class(class_type: str) -> bool:
    """Tell whether a class is known, or by its name likely, to be an output node that writes files."""
    return class_type in _OUTPUT_CLASSES or class_type.startswith("Save")


def running_nodes(graph: Mapping[str, Any]) -> set[str]:
    """Collect the nodes that run: what feeds an output. All of them when no output is recognised."""
    outputs = output_nodes(graph)
    return ancestors(graph, outputs) if outputs else set(graph)


def model_folder(class_type: str, input_name: str) -> str | None:
    """Name the folder below models/ in which this input's file is looked for; None: it names no model."""
    return _FOLDERS_OF_CLASS.get(base_class(class_type), _FOLDER_OF_INPUT).get(input_name)


def input_name_of(class_type: str) -> str | None:
    """Name the input in which this class expects a file of ComfyUI's input folder; None: it reads none."""
    return _INPUT_FILE_OF_CLASS.get(base_class(class_type))


def folders_of_kind(kind: str) -> tuple[str, ...]:
    """The folders below models/ in which files of that kind may lie."""
    return SAME_FOLDER.get(kind, (kind,))


def model_files(graph: Mapping[str, Any]) -> tuple[ModelFile, ...]:
    """List the model files that the running nodes of the graph name, each place that names one."""
    return tuple(_walk_model_files(graph))


def input_files(graph: Mapping[str, Any]) -> tuple[InputFile, ...]:
    """List the files that the running nodes expect in ComfyUI's input folder."""
    running = running_nodes(graph)
    found = []
    for node_id in graph:
        input_name = input_name_of(class_of(graph, node_id) or "")
        name = literal(graph, node_id, input_name) if input_name and node_id in running else None
        if input_name and isinstance(name, str) and name:
            found.append(InputFile(name=name, node_id=node_id, input_name=input_name))
    return tuple(found)


def _walk_model_files(graph: Mapping[str, Any]) -> Iterator[ModelFile]:
    running = running_nodes(graph)
    for node_id in graph:
        if node_id not in running:
            continue
        for input_name, value in inputs_of(graph, node_id).items():
            folder = model_folder(class_of(graph, node_id) or "", input_name)
            name = literal(graph, node_id, input_name) if folder and is_link(value) else value
            # Without a model's ending it is a choice that the node brings along ("pixel_space", "none").
            if folder and isinstance(name, str) and is_model_file(name):
                yield ModelFile(name=name, folder=folder, node_id=node_id, input_name=input_name)
