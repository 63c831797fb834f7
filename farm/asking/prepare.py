"""From what a caller asks for to a job that can be queued: checked here, before anything is stored."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from comfy.errors import GraphError, GraphProblem
from comfy.graphs.faults import shorten
from comfy.judging.advice import no_outputs
from comfy.protocol.sniff import HEAD_BYTES, sniff
from comfy.rewrites.change import ChangeKind
from comfy.rewrites.options import RewriteOptions
from comfy.wan.templates import TEMPLATES
from farm.asking.building import Built, InputSource, build_graph, build_template, draw_seed, shown_source
from farm.asking.content import reuse_problems
from farm.asking.editor_file import editor_file
from farm.asking.graphs import GraphFacts, Knowledge, facts_of, known_without_a_fleet, with_values
from farm.asking.measure import check_measure, too_large
from farm.asking.request import JobOptions, JobRequest
from farm.asking.saved import SavedTemplate, read_saved
from farm.asking.sources import address_fault, scheme_of
from farm.asking.titles import default_title, filled_title
from farm.errors import InvalidJob, Problem
from farm.job import VRAM_CLASSES_GIB, JobSpec, Requirements, make_spec, spec_to_json
from farm.limits import MOST_JOB_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A job that can be queued, once the files that it reads are stored."""

    spec: JobSpec  # names local input files by their path
    inputs: Mapping[str, InputSource]  # "node.input" -> file, as it was given
    notes: tuple[str, ...] = ()  # what was taken otherwise than it was given, in words


def prepare(request: JobRequest, known: Knowledge = known_without_a_fleet) -> JobSpec:
    """Make the job's spec; see `prepare_with_files`.

    Raises:
        InvalidJob: as there.
    """
    return prepare_with_files(request, known).spec


def prepare_with_files(request: JobRequest, known: Knowledge = known_without_a_fleet) -> Prepared:
    """Make the job's spec: graph built, parameters set, requirements computed, every field checked.

    Args:
        known: what is known of nodes; asked only when the graph is a workflow as ComfyUI's editor saves it.

    Local input files are only looked at; the spec names them by their input path until
    `Farm` has stored them and puts the address there.

    Raises:
        InvalidJob: with one problem for each thing that is wrong, naming field, node and input.
    """
    check_measure(request)
    try:
        built = build(request, known)
        facts = facts_of(built.graph, built.key)
        if not facts.saves:
            raise GraphError([GraphProblem(kind="prompt_no_outputs", message=no_outputs(built.graph))])
        if outside := _not_given(facts.outside, built.inputs):
            raise GraphError(outside)
        if built.inputs:
            # Only to see that each input exists: the worker sets the name that the file gets there.
            with_values(built.graph, dict.fromkeys(built.inputs, ""))
    except GraphError as exc:
        raise InvalidJob([as_problem(problem) for problem in exc.problems]) from exc
    problems = [*_bad_options(request.options), *_bad_inputs(built.inputs)]
    if request.options.get("reuse") and not problems:
        problems += reuse_problems(built.graph, built.inputs)
    if problems:
        raise InvalidJob(problems)
    keeps = bool(request.options.get("keep_metadata"))
    workflow = editor_file(request.graph, built.graph, known, wanted=keeps)
    fields = {**_fields(request, built, facts), **({} if workflow is None else {"workflow": workflow})}
    spec = make_spec(fields)
    # Not among the options above: only here one that came as text or as a number has been read.
    if spec.deadline is not None and spec.deadline <= datetime.now(UTC):
        past = f"{spec.deadline.isoformat(' ', 'seconds')} is past"
        raise InvalidJob([Problem(field="deadline", message=past)])
    if (size_bytes := len(spec_to_json(spec))) > MOST_JOB_BYTES:
        raise InvalidJob([too_large(size_bytes)])
    notes = (*built.notes, *_without_effect(spec))
    return Prepared(spec=spec, inputs=built.inputs, notes=notes)


def notes_of(request: JobRequest, known: Knowledge = known_without_a_fleet) -> tuple[str, ...]:
    """What is taken otherwise than it was given, in words; nothing for what `prepare` refuses."""
    try:
        return prepare_with_files(request, known).notes
    except InvalidJob:
        return ()


def _without_effect(spec: JobSpec) -> Iterator[str]:
    """Options that were given and do nothing, since the job accepts no change of that kind."""
    if not ChangeKind.DIFFERENT.within(spec.accept) and (names := spec.rewrite_options.of_another_picture):
        is_it = "is without effect: it makes" if len(names) == 1 else "are without effect: they make"
        yield (
            f"{', '.join(names)} {is_it} another picture, and the job accepts {spec.accept} changes only "
            "(--accept different)"
        )


def built_for(request: JobRequest, known: Knowledge = known_without_a_fleet) -> Built:
    """As `build`, for who wants the graph alone: what it refuses is told as `prepare` tells it.

    Raises:
        InvalidJob: names every node and input at fault.
    """
    check_measure(request)
    try:
        return build(request, known)
    except GraphError as exc:
        raise InvalidJob([as_problem(problem) for problem in exc.problems]) from exc


def build(request: JobRequest, known: Knowledge = known_without_a_fleet) -> Built:
    """The graph of a request with all that was asked for in it.

    Raises:
        GraphError: the graph or the template does not take what is asked.
        InvalidJob: there is no graph, or its file cannot be read.
    """
    if (request.graph is None) == (request.template is None):
        raise InvalidJob([Problem(field="graph", message="give either a graph or the name of a template")])
    if request.template is not None:
        saved = saved_template(request.template)
        if saved is None:
            key, given = request.options.get("idempotency_key"), request.parameters
            if key is not None and given.get("seed") is None:
                given = {**given, "seed": draw_seed(key)}
            return build_template(request.template, given, request.inputs)
        bind = {**saved.bind, **request.bind}
        return build_graph(saved.graph, request.parameters, request.inputs, bind, known=known)
    return build_graph(request.graph or {}, request.parameters, request.inputs, request.bind, known=known)


def _not_given(problems: Sequence[GraphProblem], inputs: Mapping[str, InputSource]) -> Sequence[GraphProblem]:
    """Those of file names that the job does not replace by files of its own."""
    return (
        [each for each in problems if f"{each.node_id}.{each.input_name}" not in inputs] if problems else ()
    )


def saved_template(template: str) -> SavedTemplate | None:
    """The template of that name that somebody saved; None: it is one that ships, or there is none."""
    return None if template in TEMPLATES else read_saved(template)


def _fields(request: JobRequest, built: Built, facts: GraphFacts) -> dict[str, Any]:
    options: dict[str, Any] = dict(request.options)
    options.pop("if_unplaceable", None)  # decides how it is stored, and is no part of what is asked
    vram_gib = options.pop("vram_gib", None) or facts.vram_gib or VRAM_CLASSES_GIB[0]
    rewriting = {name: options.pop(name) for name in RewriteOptions.__dataclass_fields__ if name in options}
    labels = tuple(options.get("labels", ()))
    return {
        **options,
        "title": _title(options.get("title"), request, built, facts),
        "labels": labels,
        **({"rewrite_options": rewriting} if rewriting else {}),
        "graph": built.graph,
        "parameters": dict(built.values),
        "template": request.template,
        "template_parameters": dict(built.template_parameters),
        "inputs": {input_path: shown_source(source) for input_path, source in built.inputs.items()},
        "requirements": Requirements(vram_gib=vram_gib, node_classes=facts.node_classes, models=facts.models),
    }


def _title(given: Any, request: JobRequest, built: Built, facts: GraphFacts) -> Any:
    if given is None:
        return default_title(built, facts)
    if not isinstance(given, str):
        return given  # refused with the other fields
    labels = request.options.get("labels", ())
    return filled_title(given, built, facts, request.parameters, labels)


def local_file(source: InputSource) -> Path | bytes | None:
    """What must be stored before a worker can reach it; None for an address."""
    if isinstance(source, str):
        return None if scheme_of(source) else Path(source)
    return source


def as_problem(problem: GraphProblem) -> Problem:
    """What is wrong with a graph, as the farm tells it."""
    input_path = ".".join(part for part in (problem.node_id, problem.input_name) if part)
    kind = f" ({problem.class_type})" if problem.class_type else ""
    return Problem(
        field=f"node {input_path}{kind}" if input_path else "graph",
        message=problem.message,
        kind=problem.kind,
        node_id=problem.node_id,
        input_name=problem.input_name,
    )


def _bad_options(options: JobOptions) -> Iterator[Problem]:
    for name in sorted(set(options) - set(JobOptions.__annotations__)):
        known = ", ".join(JobOptions.__annotations__)
        yield Problem(field=name, message=f"there is no such option; there are {known}")
    vram_gib = options.get("vram_gib")
    if options.get("if_unplaceable", "refuse") not in ("refuse", "park"):
        yield Problem(field="if_unplaceable", message="is refuse or park")
    if vram_gib is not None and vram_gib not in VRAM_CLASSES_GIB:
        classes = ", ".join(map(str, VRAM_CLASSES_GIB))
        said = shorten(json.dumps(vram_gib, default=str))
        yield Problem(field="vram_gib", message=f"{said} is no VRAM class; one of {classes} (GiB)")


def _bad_inputs(inputs: Mapping[str, InputSource]) -> Iterator[Problem]:
    for input_path, source in inputs.items():
        if fault := _bad_input(source):
            yield Problem(field=f"input {input_path}", message=fault)


def _bad_input(source: InputSource) -> str | None:
    if isinstance(source, str) and scheme_of(source):
        return address_fault(source)
    if isinstance(source, bytes):
        return _bad_head(source[:HEAD_BYTES], "the file")
    try:
        with Path(source).open("rb") as file:
            return _bad_head(file.read(HEAD_BYTES), f"the file {source}")
    except (OSError, ValueError) as exc:
        return f"cannot read {source}: {getattr(exc, 'strerror', None) or exc}"


def _bad_head(head: bytes, name: str) -> str | None:
    """What a worker would say of a file that begins so, said before anything is stored."""
    if not head:
        return f"{name} is empty"
    if sniff(head) is not None:
        return None
    return (
        f"{name} is no picture, video or sound that ComfyUI's loaders read (it begins with {head[:12]!r}); "
        "docs/inputs.md lists them"
    )
