"""From what a caller asks for to a job that can be queued: checked here, before anything is stored."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, TypedDict, Unpack

from comfy.errors import GraphError, GraphProblem
from comfy.graphs.graph import Graph
from comfy.graphs.plain_json import MAX_BITS, exceeds, walk
from comfy.judging.advice import no_outputs
from comfy.protocol.sniff import HEAD_BYTES, sniff
from comfy.rewrites.change import ChangeKind
from comfy.rewrites.options import Attention, RewriteOptions
from comfy.wan.binding import Bindings
from comfy.wan.templates import TEMPLATES
from farm.asking.building import Built, GraphSource, InputSource, build_graph, build_template, shown_source
from farm.asking.content import reuse_problems
from farm.asking.editor_file import editor_file
from farm.asking.graphs import GraphFacts, Knowledge, facts_of, known_without_a_fleet, roles_of, with_values
from farm.asking.saved import SavedTemplate, read_saved
from farm.asking.sources import address_fault, scheme_of
from farm.asking.titles import default_title, filled_title
from farm.errors import InvalidJob, Problem
from farm.job import LONGEST_TITLE, VRAM_CLASSES_GIB, JobSpec, Requirements, make_spec, spec_to_json
from farm.limits import MOST_INPUTS, MOST_JOB_BYTES, MOST_PARAMETERS

_SEED_INPUTS: Final = ("seed", "noise_seed")
_SEED_BITS: Final = 48  # counted up, it stays a number that JavaScript can show without rounding


class JobOptions(TypedDict, total=False):
    """What may be said about any job, whatever it renders."""

    title: str  # shown in lists and Flower; may hold {prompt}, {seed}, {graph}, {labels}, any parameter
    priority: int  # 0 most urgent … 9; default 5
    deadline: datetime | None  # aware; not started by then: expired
    time_limit_s: float  # of one attempt; default 3600
    max_attempts: int  # failed attempts before the job is failed; default 3
    labels: Sequence[str]  # to list and retry by
    idempotency_key: str | None  # the same key twice: the same job
    reuse: bool  # take the stored result of an equal job that asked for this too, and render nothing
    vram_gib: int  # smallest VRAM class, when you know better than the estimate
    # When no live worker has the card, nodes and models: refuse it (default), or let it wait for one.
    if_unplaceable: Literal["refuse", "park"]
    accept: ChangeKind | str  # "exact", "near" (default) or "different": what the worker may change
    attention: Attention | str  # "sdpa" (default), "keep" or "auto"
    lightning: bool  # few-step LoRAs with the settings they want
    keep_metadata: bool  # the graph, with its prompt, inside the files
    keep_offloading: bool  # devices, block swap and offload of models as the graph says
    mp4: bool  # a clip saved as animated WEBP becomes H.264 in MP4
    max_width: int  # pixels; the clip keeps its proportions
    max_height: int  # pixels
    max_frames: int  # generated, before interpolation
    max_fps: float
    max_seconds: float  # of the clip
    interpolation: int  # largest factor; 1: none


@dataclass(frozen=True, slots=True, init=False)
class JobRequest:
    """One job as a caller asks for it: a graph or a template, its parameters, its options."""

    graph: GraphSource | None
    template: str | None
    # Of the template; or of the graph: "node.input", a name of `bind`, or a role ("prompt", "frames", …).
    parameters: Mapping[str, Any]
    inputs: Mapping[str, InputSource]  # files, by names of the same kinds
    bind: Bindings  # names of your own -> "node.input" of the graph, or several
    options: JobOptions

    def __init__(
        self,
        graph: GraphSource | None = None,
        parameters: Mapping[str, Any] | None = None,
        *,
        template: str | None = None,
        inputs: Mapping[str, InputSource] | None = None,
        bind: Bindings | None = None,
        options: JobOptions | None = None,
        **more: Unpack[JobOptions],
    ) -> None:
        """What `Farm.submit` takes; options come one by one, or together as `options`.

        Raises:
            InvalidJob: `options` are none.
        """
        if not isinstance(options, Mapping | None):
            raise InvalidJob([_not(options, "options", "are names with values")])
        given = {
            "graph": graph,
            "template": template,
            "parameters": parameters or {},
            "inputs": inputs or {},
            "bind": bind or {},
            "options": {**(options or {}), **more},
        }
        for name, value in given.items():
            object.__setattr__(self, name, value)


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


def check_measure(request: JobRequest) -> None:
    """Refuse what no job can be, before anything is made of it.

    Raises:
        InvalidJob: an argument is of another kind, too large, or has too many entries.
    """
    check_kinds(request)
    counts = (("inputs", request.inputs, MOST_INPUTS), ("parameters", request.parameters, MOST_PARAMETERS))
    for name, given, most in counts:
        if len(given) > most:
            raise InvalidJob(
                [Problem(field=name, message=f"there are {len(given):,}, the limit is {most:,}")]
            )
    # A graph that is a text or a file is measured when it is read.
    parts = [request.parameters, request.bind, request.options, request.template, request.graph]
    if exceeds(parts, MOST_JOB_BYTES):
        raise InvalidJob([too_large()])
    if any(isinstance(each, int) and each.bit_length() > MAX_BITS for each in walk(parts)):
        raise InvalidJob([Problem(field="job", message=f"holds a whole number of more than {MAX_BITS} bits")])


def check_kinds(request: JobRequest) -> None:
    """Refuse arguments of another kind than `JobRequest` says, as JSON may bring them.

    Raises:
        InvalidJob: names each of them.
    """
    if problems := [*_of_another_kind(request)]:
        raise InvalidJob(problems)


def _of_another_kind(request: Any) -> Iterator[Problem]:
    if not isinstance(request.graph, Mapping | str | bytes | Path | None):
        yield _not(request.graph, "graph", "is a graph, or the path of its file")
    if not isinstance(request.template, str | None):
        yield _not(request.template, "template", "is a name")
    yield from _bad_labels(request.options.get("labels", ()))
    named = {"parameters": request.parameters, "inputs": request.inputs, "bind": request.bind}
    for field, given in named.items():
        if not isinstance(given, Mapping):
            yield _not(given, field, "are names with values")
        elif strange := [name for name in given if not isinstance(name, str)][:1]:
            yield _not(strange[0], field, "have names that are texts")
    if isinstance(request.inputs, Mapping):
        for name, source in request.inputs.items():
            if not isinstance(source, str | bytes | Path):
                yield _not(source, f"input {name}", "is an address, a path, or the bytes of a file")
    if isinstance(request.bind, Mapping):
        for name, bound_to in request.bind.items():
            if not _names_inputs(bound_to):
                yield _not(bound_to, f"bind {name}", 'is "node.input", or a list of such')


def _bad_labels(labels: object) -> Iterator[Problem]:
    if not isinstance(labels, Collection) or isinstance(labels, str | bytes | Mapping):
        yield _not(labels, "labels", "is a list of texts")
    elif strange := [label for label in labels if not isinstance(label, str)][:1]:
        yield _not(strange[0], "labels", "are texts")


def _names_inputs(bound_to: object) -> bool:
    several = isinstance(bound_to, list | tuple) and all(isinstance(each, str) for each in bound_to)
    return several or isinstance(bound_to, str)


def _not(value: object, field: str, wanted: str) -> Problem:
    return Problem(field=field[:LONGEST_TITLE], message=f"{wanted}, {_kind_words(value)}")


def _kind_words(value: object) -> str:
    if value is None:
        return "this is None"
    kind = type(value).__name__
    return f"not {'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"


def too_large(size_bytes: int | None = None) -> Problem:
    """That a job is larger than one may be."""
    size = "more than that" if size_bytes is None else f"{size_bytes / 2**20:.1f} MiB"
    limit_mib = MOST_JOB_BYTES // 2**20
    message = (
        f"a job may have {limit_mib} MiB with all that it holds but its input files; this one has {size}"
    )
    return Problem(field="job", message=message)


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


def build(request: JobRequest, known: Knowledge = known_without_a_fleet) -> Built:
    """The graph of a request with all that was asked for in it.

    Raises:
        GraphError: the graph or the template does not take what is asked.
        InvalidJob: there is no graph, or its file cannot be read.
    """
    if (request.graph is None) == (request.template is None):
        raise InvalidJob([Problem(field="graph", message="give either a graph or the name of a template")])
    if request.template is not None:
        saved = _saved(request.template)
        if saved is None:
            key, given = request.options.get("idempotency_key"), request.parameters
            if key is not None and given.get("seed") is None:
                given = {**given, "seed": _draw_seed(key)}
            return build_template(request.template, given, request.inputs)
        bind = {**saved.bind, **request.bind}
        return build_graph(saved.graph, request.parameters, request.inputs, bind, known=known)
    return build_graph(request.graph or {}, request.parameters, request.inputs, request.bind, known=known)


def _not_given(problems: Sequence[GraphProblem], inputs: Mapping[str, InputSource]) -> Sequence[GraphProblem]:
    """Those of file names that the job does not replace by files of its own."""
    return (
        [each for each in problems if f"{each.node_id}.{each.input_name}" not in inputs] if problems else ()
    )


def _saved(template: str) -> SavedTemplate | None:
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


def with_seeds(
    request: JobRequest, count: int, known: Knowledge = known_without_a_fleet
) -> Iterator[JobRequest]:
    """The same request `count` times, each with seeds of its own, counted up from the given ones.

    An idempotency key becomes one key for each; seeds drawn for it are the same each time.

    Raises:
        InvalidJob: the graph has no seed that could differ.
    """
    check_measure(request)
    seeds = _first_seeds(request, known)
    key = request.options.get("idempotency_key")
    for number in range(count):
        options = request.options
        if key is not None:
            options = JobOptions(**{**options, "idempotency_key": f"{key}-{number}"})
        varied = {input_path: seed + number for input_path, seed in seeds.items()}
        yield replace(request, parameters={**request.parameters, **varied}, options=options)


def _first_seeds(request: JobRequest, known: Knowledge) -> dict[str, int]:
    given = request.parameters.get("seed")
    if request.template is not None and _saved(request.template) is None:
        if given is None:
            return {"seed": _draw_seed(request.options.get("idempotency_key"))}
        # Anything else than a number stays as it is, for `prepare` to refuse.
        return {"seed": int(given)} if str(given).isdecimal() else {}
    try:
        unseeded = {name: value for name, value in request.parameters.items() if name != "seed"}
        graph = build(replace(request, parameters=unseeded), known).graph
    except GraphError as exc:
        raise InvalidJob([as_problem(problem) for problem in exc.problems]) from exc
    if given is not None:
        return {"seed": int(given)} if str(given).isdecimal() else {}
    found = _seeds_of(graph)
    if not found:
        message = "no node has a seed of its own, so all jobs would make the same clip; ask for one"
        raise InvalidJob([Problem(field="count", message=message)])
    return found


def _draw_seed(key: str | None) -> int:
    """A seed that nobody gave; of an idempotency key always the same, so that its repeat is an equal job."""
    if key is None:
        return secrets.randbelow(2**_SEED_BITS)
    return int.from_bytes(hashlib.sha256(ascii(key).encode()).digest()[: _SEED_BITS // 8], "big")


def _seeds_of(graph: Graph) -> dict[str, int]:
    """The seeds that count: those of the samplers that add noise, else whatever is called a seed."""
    seeds = {str(each.set_at): each.value for each in roles_of(graph).of("seed") if not each.is_computed}
    if not seeds:
        seeds = {
            f"{node_id}.{name}": value
            for node_id, node in graph.items()
            for name, value in node["inputs"].items()
            if name in _SEED_INPUTS
        }
    return {input_path: seed for input_path, seed in seeds.items() if isinstance(seed, int)}


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
        yield Problem(field="vram_gib", message=f"{vram_gib!r} is no VRAM class; one of {classes} (GiB)")


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
