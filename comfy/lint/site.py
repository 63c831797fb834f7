"""Rules about the site: its nodes, its memory, how its ComfyUI was started."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from comfy.graphs.links import inputs_of, is_link
from comfy.graphs.required import model_files
from comfy.lint.diagnostic import Severity
from comfy.lint.rule import Found, Rule, Subject
from comfy.node_defs.definitions import NodeDef, Section
from comfy.node_defs.later_inputs import earlier_forms
from comfy.rewrites.gguf import is_wide_gguf
from comfy.rewrites.offers import offered_input

_LOAD_DEVICE: Final = "load_device"
# Inputs of which editors add as many as are linked: "any_01", "input3", and the variables of a formula.
_GROWN: Final = re.compile(
    r"(any(thing)?|args?|audio|cond(itioning)?|float|image|input|int|item|latent|lora|mask|model|number|prompt"
    r"|str|string|text|value|var|variable|video)s?_?\d+|[a-zA-Z]"
)
_COMPILE: Final = "TorchCompileSettings"


def _load_device(subject: Subject) -> Iterator[Found]:
    for node_id in subject.graph:
        if _LOAD_DEVICE in inputs_of(subject.graph, node_id) and _unknown(subject, node_id, _LOAD_DEVICE):
            message = (
                f"{subject.class_of(node_id)} has no input {_LOAD_DEVICE}: the model loads once more for it"
            )
            yield Found(message=message, node_id=node_id, input_name=_LOAD_DEVICE)


def _unknown_link(subject: Subject) -> Iterator[Found]:
    for node_id in subject.graph:
        for name, value in inputs_of(subject.graph, node_id).items():
            if is_link(value) and _unknown(subject, node_id, name):
                message = (
                    f"{subject.class_of(node_id)} has no input {name}, and a link into it fails when it runs"
                )
                yield Found(message=message, node_id=node_id, input_name=name)


def _unknown(subject: Subject, node_id: str, name: str) -> bool:
    """Whether the installed class is known, takes a fixed set of inputs, and has none of this name."""
    class_type = subject.graph[node_id]["class_type"]
    node = subject.site.definitions.get(class_type)
    if node is None or any(_grows(each.kind) for each in node.inputs) or "." in name:
        return False
    if _takes_any_number(node, name):
        return False
    # Ours may be older or newer than the file: what any version took is no fault of it.
    forms = [node] if subject.site.is_live else [node, *earlier_forms(class_type)]
    return all(offered_input(form, inputs_of(subject.graph, node_id), name) is None for form in forms)


def _takes_any_number(node: NodeDef, name: str) -> bool:
    """Whether an input may be one of those that the editor adds to a node as its user asks for them.

    Servers do not tell of them: a definition has the first ("image_1"), or none at all ("any_01").
    """
    if not any(each.section is not Section.HIDDEN for each in node.inputs):
        return True
    numbered = {_stem(each.name) for each in node.inputs} - {each.name for each in node.inputs}
    if numbered:
        return _stem(name) in numbered and _stem(name) != name
    return _GROWN.fullmatch(name) is not None


def _stem(name: str) -> str:
    return name.rstrip("0123456789")


def _grows(kind: str) -> bool:
    """Whether inputs of this kind bring further ones along. Source: ComfyUI comfy_api/latest/_io.py."""
    return kind.startswith("COMFY_") or kind == "*"


def _compile(subject: Subject) -> Iterator[Found]:
    for node_id in subject.graph:
        if node_id not in subject.roles.running and _COMPILE in subject.class_of(node_id):
            yield Found(message="compile settings that no running node uses", node_id=node_id)


def _forgets(subject: Subject) -> Iterator[Found]:
    if "--cache-none" in subject.site.arguments:
        where = subject.site.name or "ComfyUI"
        yield Found(message=f"{where} was started with --cache-none: every job reads all models again")


def _gguf(subject: Subject) -> Iterator[Found]:
    for file in model_files(subject.graph):
        if file.folder == "diffusion_models" and is_wide_gguf(file.name):
            message = f"{file.name} is unpacked at each use of a layer"
            yield Found(message=message, node_id=file.node_id, input_name=file.input_name)


RULES: Final = (
    Rule(
        id="load-device-unknown",
        severity=Severity.WARNING,
        title="`load_device` on a loader that has no such input: no effect but one needless load",
        remedy="take it out; the input exists on WanVideoModelLoader and its kin",
        source="https://github.com/city96/ComfyUI-GGUF (nodes.py)",
        check=_load_device,
        any_model=True,
        by_definitions=True,
    ),
    Rule(
        id="unknown-link",
        severity=Severity.ERROR,
        title="a link into an input that the installed node does not have: ComfyUI passes it on and fails",
        remedy="take the link out, or install the version of the node that has the input",
        source="https://github.com/Comfy-Org/ComfyUI (execution.py)",
        check=_unknown_link,
        any_model=True,
        by_definitions=True,
    ),
    Rule(
        id="compile-unlinked",
        severity=Severity.INFO,
        title="compile settings without effect: no running node uses them",
        remedy="link them into the model loader, or take them out",
        source="https://github.com/kijai/ComfyUI-WanVideoWrapper (nodes_model_loading.py)",
        check=_compile,
        any_model=True,
    ),
    Rule(
        id="cache-none",
        severity=Severity.WARNING,
        title="a worker whose ComfyUI was started with `--cache-none` is never warm",
        remedy="take --cache-none out of COMFYUI_ARGS",
        source="https://github.com/Comfy-Org/ComfyUI/pull/13802",
        check=_forgets,
        any_model=True,
    ),
    Rule(
        id="gguf",
        severity=Severity.INFO,
        title="GGUF of five bits or more: saves memory, not time",
        remedy="take the fp8_scaled file where it fits: `farm optimize FILE --vram GIB` says whether it does",
        source="https://github.com/city96/ComfyUI-GGUF/issues/313",
        check=_gguf,
    ),
)
