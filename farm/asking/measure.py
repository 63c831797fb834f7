"""What no job can be, refused before anything is made of it: of another kind, too large, too many."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from numbers import Integral, Number
from pathlib import Path
from typing import Any

from comfy.graphs.plain_json import MAX_BITS, MAX_DEPTH, exceeds, is_too_deep, walk
from farm.asking.kinds import not_as_asked
from farm.asking.request import JobRequest
from farm.errors import InvalidJob, Problem
from farm.limits import MOST_INPUTS, MOST_JOB_BYTES, MOST_PARAMETERS


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
    for name, value in {**request.parameters, **request.options}.items():
        if is_too_deep(value):
            raise InvalidJob([Problem(field=name, message=f"is nested more than {MAX_DEPTH} deep")])
    # A graph that is a text or a file is measured when it is read.
    parts = [request.parameters, request.bind, request.options, request.template, request.graph]
    if exceeds(parts, MOST_JOB_BYTES):
        raise InvalidJob([too_large()])
    for each in walk(parts):
        if isinstance(each, int) and each.bit_length() > MAX_BITS:
            message = f"holds a whole number of more than {MAX_BITS} bits"
            raise InvalidJob([Problem(field="job", message=message)])
        if isinstance(each, Number) and not isinstance(each, int | float | Integral):
            message = f"holds a {type(each).__name__}, which is no number that JSON can say"
            raise InvalidJob([Problem(field="job", message=message)])


def check_kinds(request: JobRequest) -> None:
    """Refuse arguments of another kind than `JobRequest` says, as JSON may bring them.

    Raises:
        InvalidJob: names each of them.
    """
    if problems := [*_of_another_kind(request)]:
        raise InvalidJob(problems)


def _of_another_kind(request: Any) -> Iterator[Problem]:
    if not isinstance(request.graph, Mapping | str | bytes | Path | None):
        yield not_as_asked(request.graph, "graph", "is a graph, or the path of its file")
    if not isinstance(request.template, str | None):
        yield not_as_asked(request.template, "template", "is a name")
    yield from _bad_labels(request.options.get("labels", ()))
    named = {"parameters": request.parameters, "inputs": request.inputs, "bind": request.bind}
    for field, given in named.items():
        if not isinstance(given, Mapping):
            yield not_as_asked(given, field, "are names with values")
        elif strange := [name for name in given if not isinstance(name, str)][:1]:
            yield not_as_asked(strange[0], field, "have names that are texts")
    if isinstance(request.inputs, Mapping):
        for name, source in request.inputs.items():
            if not isinstance(source, str | bytes | Path):
                yield not_as_asked(source, f"input {name}", "is an address, a path, or the bytes of a file")
    if isinstance(request.bind, Mapping):
        for name, bound_to in request.bind.items():
            if not _names_inputs(bound_to):
                yield not_as_asked(bound_to, f"bind {name}", 'is "node.input", or a list of such')


def _bad_labels(labels: object) -> Iterator[Problem]:
    if not isinstance(labels, Collection) or isinstance(labels, str | bytes | Mapping):
        yield not_as_asked(labels, "labels", "is a list of texts")
    elif strange := [label for label in labels if not isinstance(label, str)][:1]:
        yield not_as_asked(strange[0], "labels", "are texts")


def _names_inputs(bound_to: object) -> bool:
    several = isinstance(bound_to, list | tuple) and all(isinstance(each, str) for each in bound_to)
    return several or isinstance(bound_to, str)


def too_large(size_bytes: int | None = None) -> Problem:
    """That a job is larger than one may be."""
    size = "more than that" if size_bytes is None else f"{size_bytes / 2**20:.1f} MiB"
    limit_mib = MOST_JOB_BYTES // 2**20
    message = (
        f"a job may have {limit_mib} MiB with all that it holds but its input files; this one has {size}"
    )
    return Problem(field="job", message=message)
