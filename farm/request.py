"""From what a caller asks for to a job that can be queued: checked here, before anything is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypedDict

from comfy.errors import GraphError
from comfy.graph import load_graph, set_inputs
from comfy.required import model_files, node_classes
from comfy.wan.describe import describe
from comfy.wan.memory import smallest_vram_class_gib
from comfy.wan.templates import BuiltGraph, get_template
from farm.errors import InvalidJob, Problem
from farm.job import JobSpec, ModelFile, Requirements, make_spec

GraphSource = Mapping[str, Any] | str | bytes | Path  # a str or Path is a file's path; bytes are JSON
InputSource = str | Path | bytes  # a URL (s3://, https://), a local path, or the bytes themselves


class JobOptions(TypedDict, total=False):
    """What may be said about any job, whatever it renders."""

    title: str  # shown in lists and Flower; default: found from the graph
    priority: int  # 0 most urgent … 9; default 5
    deadline: datetime | None  # aware; not started by then: expired
    time_limit_s: float  # of one attempt; default 3600
    max_attempts: int  # failed attempts before the job is failed; default 3
    labels: Sequence[str]  # to list and retry by
    idempotency_key: str | None  # the same key twice: the same job
    vram_gib: int  # smallest VRAM class, when you know better than the estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """One job as a caller asks for it: a graph or a template, its parameters, its options."""

    graph: GraphSource | None = None
    template: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)  # of the template, or "node.input" -> value
    inputs: Mapping[str, InputSource] = field(default_factory=dict)  # "node.input" -> file
    options: JobOptions = field(default_factory=JobOptions)


def prepare(request: JobRequest, *, inputs: Mapping[str, str] | None = None) -> JobSpec:
    """The job's spec: graph built, parameters set, requirements computed, every field checked.

    Args:
        inputs: "node.input" -> source, once local files have become sources that a worker can reach.

    Raises:
        InvalidJob: with one problem for each thing that is wrong, naming field, node and input.
    """
    if (request.graph is None) == (request.template is None):
        raise InvalidJob([Problem(field="graph", message="give either a graph or the name of a template")])
    try:
        built = _build(request)
    except GraphError as exc:
        raise InvalidJob([_as_problem(problem) for problem in exc.problems]) from exc
    options = dict(request.options)
    vram_gib = options.pop("vram_gib", None)
    fields: dict[str, Any] = {
        "title": built.title,
        **options,
        "labels": tuple(request.options.get("labels", ())),
        "graph": built.graph,
        "inputs": dict(inputs or {}),
        "requirements": _requirements(built.graph, vram_gib),
    }
    if request.template is not None:
        fields |= {"template": request.template, "template_parameters": dict(built.parameters)}
    else:
        fields["parameters"] = dict(request.parameters)
    return make_spec(fields)


def _build(request: JobRequest) -> BuiltGraph:
    if request.template is not None:
        return get_template(request.template).build(**request.parameters)
    graph = load_graph(read_source(request.graph))
    if request.parameters:
        graph = set_inputs(graph, request.parameters)
    return BuiltGraph(graph=graph, title=describe(graph), parameters=dict(request.parameters))


def read_source(source: GraphSource | None) -> Mapping[str, Any] | bytes:
    """The graph as `load_graph` takes it; a file is read.

    Raises:
        InvalidJob: the file cannot be read.
    """
    if isinstance(source, (str, Path)):
        try:
            return Path(source).read_bytes()
        except OSError as exc:
            reason = exc.strerror or str(exc)
            raise InvalidJob([Problem(field="graph", message=f"cannot read {source}: {reason}")]) from exc
    return source or {}


def _requirements(graph: Mapping[str, Any], vram_gib: int | None) -> Requirements | dict[str, Any]:
    models = tuple(ModelFile(folder=file.folder, name=file.name) for file in model_files(graph))
    found = {"node_classes": node_classes(graph), "models": models}
    return {"vram_gib": vram_gib or smallest_vram_class_gib(graph), **found}


def _as_problem(problem: Any) -> Problem:
    place = ".".join(part for part in (problem.node_id, problem.input_name) if part)
    kind = f" ({problem.class_type})" if problem.class_type else ""
    return Problem(field=f"node {place}{kind}" if place else "graph", message=problem.message)
