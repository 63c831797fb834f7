"""Rules about single nodes, whatever model the graph runs: what is missing, empty, left over, or not used."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from comfy.graphs.graph import LeftOut
from comfy.graphs.links import class_of, inputs_of, is_link, links
from comfy.judging.validation import validate
from comfy.lint.diagnostic import Severity
from comfy.lint.rule import Found, Rule, Subject
from comfy.node_defs.definitions import Section
from comfy.node_defs.dynamic_inputs import inputs_for
from comfy.node_defs.later_inputs import later_inputs
from comfy.node_defs.node_classes import Names, cleans_memory, model_folder, node_class, what_it_names
from comfy.wan.names import set_of

_COMPILE: Final = "TorchCompileSettings"
_NOTHING: Final = frozenset({"", "none", "undefined", "null"})
# What a program or a person was to replace: the whole of a text, or a word in capitals in it.
_PLACEHOLDER: Final = re.compile(
    r"\s*(%[A-Za-z]\w*%|\{\{?[\w .-]+\}?\}|\$\{?\w+\}?|<[\w .-]+>|\[[A-Z][A-Z0-9_ ]+\]|__\w+__"
    r"|PARAM_[A-Z]+_\w+)\s*"
)
# Within a text only what no prompt of people has, unlike "{red|green}", "__animal__" and "<lora:x:1>".
_WITHIN: Final = re.compile(r"\{\{\s*[A-Za-z_][\w.]*\s*\}\}|\$\{\w+\}|%[A-Z][A-Z0-9_]+%|\bPARAM_[A-Z]+_\w+")
_TO_REPLACE: Final = re.compile(r"(?<![A-Za-z])(PLACEHOLDER|REPLACE_?ME|CHANGE_?ME|YOUR_[A-Z_]+)(?![A-Za-z])")
_YOURS: Final = re.compile(
    r"(your|placeholder)[_ -]?(image|video|picture|file|audio|prompt)([_ -]?here)?", re.IGNORECASE
)
# One of several parts, a pickle, or what TensorRT built: ComfyUI's own loaders make no model of it.
_OTHER_LAYOUT: Final = re.compile(
    r"-\d{5}-of-\d{5}\.|(^|[\\/])diffusion_pytorch_model\.|\.(pth?|bin|engine|plan)$", re.IGNORECASE
)
# What hardly any version of a node takes, and what a worker's own may yet take.
_BROKEN: Final = frozenset(
    {
        "invalid_input_type",
        "not_finite",
        "exception_during_inner_validation",
        "value_smaller_than_min",
        "value_bigger_than_max",
    }
)
_DENIED: Final = frozenset({"return_type_mismatch"})
_CONSUMERS: Final = 3  # of a node that is left out, as many as are told of
_OWN_LOADERS: Final = frozenset({"UNETLoader", "CheckpointLoaderSimple"})
_LATER_GPU: Final = re.compile(r"(cuda|gpu|xpu):?([1-9]\d*)")


def _missing(subject: Subject) -> Iterator[Found]:
    for node_id in subject.running():
        node = subject.site.definitions.get(class_of(subject.graph, node_id) or "")
        if node is None:
            continue
        given = inputs_of(subject.graph, node_id)
        filled = later_inputs(node, given)
        for wanted in inputs_for(node, given):
            # A later version of a node has more widgets than the file can: only a worker knows which it has.
            later = not subject.site.is_live and wanted.default is not None
            missing = wanted.section is Section.REQUIRED and wanted.name not in given
            if missing and wanted.name not in filled and not later:
                yield Found(
                    message=f"{subject.class_of(node_id)} requires {wanted.name}, and nothing is there",
                    node_id=node_id,
                    input_name=wanted.name,
                )


def _refused(subject: Subject) -> Iterator[Found]:
    kinds = _BROKEN | _DENIED if subject.site.is_live else _BROKEN
    for problem in validate(subject.graph, subject.site.definitions).problems:
        if problem.kind not in kinds or problem.node_id not in subject.roles.running:
            continue
        given = inputs_of(subject.graph, problem.node_id).get(problem.input_name or "")
        if not isinstance(given, str) or not _is_placeholder(given):  # which a rule of its own tells
            message = f"{problem.class_type}.{problem.input_name}: {problem.message}"
            yield Found(message=message, node_id=problem.node_id, input_name=problem.input_name)


def _empty_model(subject: Subject) -> Iterator[Found]:
    for node_id in subject.running():
        class_type = class_of(subject.graph, node_id) or ""
        for name in inputs_of(subject.graph, node_id):
            folder = model_folder(class_type, name)
            value = subject.value(node_id, name) if folder not in (None, "loras") else None
            if isinstance(value, str) and value.strip().lower() in _NOTHING:
                message = f"{subject.class_of(node_id)} is to load {value!r}: no file is chosen"
                yield Found(message=message, node_id=node_id, input_name=name)


def _placeholders(subject: Subject) -> Iterator[Found]:
    for node_id in subject.running():
        for name, value in inputs_of(subject.graph, node_id).items():
            if isinstance(value, str) and not _fills_in(subject, node_id, name) and _is_placeholder(value):
                message = f"{value.strip()[:60]!r} was to be replaced by something"
                yield Found(message=message, node_id=node_id, input_name=name)


def _fills_in(subject: Subject, node_id: str, name: str) -> bool:
    """Whether the node itself puts something in the place of such words: a date, or a wildcard's text."""
    class_type = subject.class_of(node_id)
    named = what_it_names(class_type, name)
    writes = "Save" in class_type or node_class(class_type).is_output
    return named is Names.OUTPUT_PREFIX or "ildcard" in class_type or (writes and named is Names.PATH)


def _is_placeholder(value: str) -> bool:
    stem = value.rsplit(".", 1)[0]
    whole = any(_PLACEHOLDER.fullmatch(each) for each in (value, stem))
    return whole or any(each.search(value) for each in (_WITHIN, _TO_REPLACE)) or bool(_YOURS.fullmatch(stem))


def _feeds_nothing(subject: Subject) -> Iterator[Found]:
    drawn_on = {link.source_id for link in links(subject.graph)}
    for node_id in subject.graph:
        settings = _COMPILE in subject.class_of(node_id)  # which a rule of its own tells
        if node_id not in subject.roles.running and node_id not in drawn_on and not settings:
            message = (
                f"{subject.class_of(node_id)} feeds no output: it does not run, nor what it alone draws on"
            )
            yield Found(message=message, node_id=node_id)


def _left_out(subject: Subject) -> Iterator[Found]:
    for node in subject.left_out:
        what = "it does not run" if node.how == "muted" else "it hands its inputs on"
        parts = [
            f"{node.class_type} is {node.how}: {what}",
            *islice(_left_without(subject, node), _CONSUMERS),
        ]
        yield Found(message="; ".join(parts), node_id=node.node_id)


def _left_without(subject: Subject, node: LeftOut) -> Iterator[str]:
    """What becomes of those that drew on it, where nothing else comes along the link."""
    for consumer, name in node.feeds:
        given = inputs_of(subject.graph, consumer) if consumer in subject.roles.running else None
        if given is None or is_link(given.get(name)):
            continue
        class_type = class_of(subject.graph, consumer) or ""
        known = subject.site.definitions.get(class_type)
        wanted = known.input(name) if known is not None else None
        if name in given:
            what = f"takes the {name} that stands at it"
        elif wanted is None:
            what = f"gets no {name}"
        elif wanted.section is Section.REQUIRED:
            what = f"requires {name}, and nothing is there"
        else:
            what = f"runs without {name}"
        yield f"{class_type} ({consumer}) {what}"


def _unload(subject: Subject) -> Iterator[Found]:
    for node_id in subject.running():
        if cleans_memory(subject.class_of(node_id)):
            message = f"{subject.class_of(node_id)} throws out what the next job loads again"
            yield Found(message=message, node_id=node_id)


def _more_gpus(subject: Subject) -> Iterator[Found]:
    for node_id in subject.running():
        for name, value in inputs_of(subject.graph, node_id).items():
            found = _LATER_GPU.search(value) if isinstance(value, str) and "device" in name.lower() else None
            found = found or _in_allocation(name, value)
            if found is not None:
                message = f"{name} names {found[0]}: the graph wants {int(found[2]) + 1} cards in one machine"
                yield Found(message=message, node_id=node_id, input_name=name)


def _in_allocation(name: str, value: Any) -> re.Match[str] | None:
    """A later card in MultiGPU's "cuda:0,12gb;cuda:1,0.5"."""
    return _LATER_GPU.search(value) if isinstance(value, str) and name.endswith("allocations") else None


def _services(subject: Subject) -> Iterator[Found]:
    for stage in subject.roles.stages:
        file = stage.loader.file if stage.loader is not None else None
        row = set_of(file.value) if file is not None and isinstance(file.value, str) else None
        if row is not None and not row.is_open and file is not None:
            message = f"{file.value}: there are no weights of {row.name}, so this is some other model"
            yield Found(message=message, node_id=file.asked.node_id, input_name=file.asked.input_name)


def _layouts(subject: Subject) -> Iterator[Found]:
    for node_id in subject.running(*_OWN_LOADERS):
        for name in inputs_of(subject.graph, node_id):
            value = subject.value(node_id, name)
            if isinstance(value, str) and _OTHER_LAYOUT.search(value):
                message = f"{value} is a part, a pickle or of another layout: {subject.class_of(node_id)} "
                message += "reads whole files of ComfyUI's own layout"
                yield Found(message=message, node_id=node_id, input_name=name)


RULES: Final = (
    Rule(
        id="input-missing",
        severity=Severity.ERROR,
        title="an input that the node requires is not there: ComfyUI refuses the graph",
        remedy="give it a value, or save the workflow anew with the node as it is installed",
        source="https://github.com/Comfy-Org/ComfyUI (execution.py, validate_inputs)",
        check=_missing,
        any_model=True,
        by_definitions=True,
    ),
    Rule(
        id="value-refused",
        severity=Severity.ERROR,
        title="a value or a link that the node does not take: the graph is refused",
        remedy="give it what the message names; `farm validate` tells of every input",
        source="https://github.com/Comfy-Org/ComfyUI (execution.py, validate_inputs)",
        check=_refused,
        any_model=True,
        by_definitions=True,
    ),
    Rule(
        id="model-empty",
        severity=Severity.ERROR,
        title="a loader without a file",
        remedy="choose the model file",
        source="https://github.com/Comfy-Org/ComfyUI (folder_paths.py)",
        check=_empty_model,
        any_model=True,
    ),
    Rule(
        id="placeholder",
        severity=Severity.WARNING,
        title="a placeholder that nobody replaced",
        remedy="write what it stands for, or give it with the job",
        source="https://github.com/runpod-workers/worker-comfyui (workflows that programs fill in)",
        check=_placeholders,
        any_model=True,
    ),
    Rule(
        id="feeds-nothing",
        severity=Severity.INFO,
        title="a branch that feeds no output: it costs nothing, and does nothing",
        remedy="take it out, or link it to an output; ComfyUI wants its nodes installed all the same",
        source="https://github.com/Comfy-Org/ComfyUI (execution.py)",
        check=_feeds_nothing,
        any_model=True,
    ),
    Rule(
        id="left-out",
        severity=Severity.INFO,
        title="a node that is muted or bypassed in the editor",
        remedy="switch it on in the editor if it was to run",
        source="https://github.com/Comfy-Org/ComfyUI_frontend (executionUtil.ts)",
        check=_left_out,
        any_model=True,
    ),
    Rule(
        id="unload-between",
        severity=Severity.WARNING,
        title="a node that unloads models or cleans memory: on a warm worker it costs a load in each job",
        remedy="take it out where the models fit; the farm does so itself on such a card",
        source="https://github.com/Comfy-Org/ComfyUI (comfy/model_management.py)",
        check=_unload,
        any_model=True,
    ),
    Rule(
        id="more-gpus",
        severity=Severity.WARNING,
        title="a second card is asked for: a worker owns one",
        remedy="set the device to cuda:0, or split the job; a virtual_vram_gb on the cpu does without a card",
        source="https://github.com/pollockjj/ComfyUI-MultiGPU",
        check=_more_gpus,
        any_model=True,
    ),
    Rule(
        id="service-only",
        severity=Severity.WARNING,
        title="a model named after a version of WAN without weights: 2.5, 2.6, 2.7, 3.0 are services only",
        remedy="use the API node, or a model of WAN 2.2; look where the file came from",
        source="https://docs.comfy.org/changelog",
        check=_services,
        any_model=True,
    ),
    Rule(
        id="file-layout",
        severity=Severity.WARNING,
        title="a model file that ComfyUI's own loader makes no model of: diffusers' parts, .pth, TensorRT",
        remedy="take the file repackaged for ComfyUI, or the loader of the pack that the file is for",
        source="https://github.com/Comfy-Org/ComfyUI (comfy/sd.py, load_diffusion_model_state_dict)",
        check=_layouts,
        any_model=True,
    ),
)
