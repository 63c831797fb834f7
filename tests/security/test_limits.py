"""One limit for a job as a whole, one for each text that is stored, and no message without end."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from comfy.errors import GraphError, GraphProblem
from farm.asking.prepare import prepare
from farm.asking.request import JobRequest
from farm.asking.seeds import with_seeds
from farm.errors import FarmError, InvalidJob, Problem
from farm.job import ErrorKind, EventKind, JobError
from farm.limits import LONGEST_TEXT, MOST_LISTED
from farm.store.base import NewEvent, kept_reason
from pages.limits import LIMITS, page

_HUGE: Final = "x" * 20_000_000
_GRAPH: Final = {
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["4", 1]}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a.safetensors"}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["6", 0], "filename_prefix": "x"}},
}
_JOBS: Final[dict[str, Callable[[], JobRequest]]] = {
    "a parameter of 20 MB": lambda: JobRequest(_GRAPH, {"6.text": _HUGE}),
    "many parameters that are large together": lambda: JobRequest(
        _GRAPH, {f"6.{number}": "x" * 10_000 for number in range(900)}
    ),
    "3,000 inputs": lambda: JobRequest(
        _GRAPH, inputs={f"6.{number}": "https://host/x.png" for number in range(3000)}
    ),
    "100,000 unknown parameters": lambda: JobRequest(
        _GRAPH, {f"unknown{number}": number for number in range(100_000)}
    ),
    "1,000 unknown parameters": lambda: JobRequest(
        _GRAPH, {f"6.x{number}": number for number in range(1000)}
    ),
    "1,000 unknown roles": lambda: JobRequest(_GRAPH, {f"role{number}": number for number in range(1000)}),
    "a graph of 20 MB": lambda: JobRequest({**_GRAPH, "7": {"class_type": "Note", "inputs": {"t": _HUGE}}}),
    "a graph of 20 MB as text": lambda: JobRequest(b'{"7": "' + _HUGE.encode() + b'"}'),
    "a graph file without end": lambda: JobRequest(Path("/dev/zero")),
    "a title of 20 MB": lambda: JobRequest(_GRAPH, title=_HUGE),
    "labels of 20 MB": lambda: JobRequest(_GRAPH, labels=[_HUGE]),
    "200,000 labels": lambda: JobRequest(_GRAPH, labels=["x"] * 200_000),
    "an idempotency key of 20 MB": lambda: JobRequest(_GRAPH, idempotency_key=_HUGE),
    "a binding of 20 MB": lambda: JobRequest(_GRAPH, {"a": 1}, bind={"a": _HUGE}),
    "a template of 20 MB": lambda: JobRequest(template=_HUGE),
    "an address of 20 MB": lambda: JobRequest(_GRAPH, inputs={"6.text": "https://host/" + _HUGE}),
    "a number of 100,000 digits": lambda: JobRequest(_GRAPH, {"6.text": 10**100_000}),
    "one text a million times": lambda: JobRequest(_GRAPH, {"6.text": ["x" * 100] * 1_000_000}),
}


@contextmanager
def within_bounds(most_bytes: int = 64 << 20) -> Iterator[None]:
    """A second on a machine that does nothing else, and no copy of what is too large."""
    tracemalloc.start()
    began = time.process_time()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < 20
    assert peak < most_bytes


@pytest.mark.parametrize("name", _JOBS)
def test_what_is_too_much_is_refused_soon_and_in_few_words(name: str) -> None:
    request = _JOBS[name]()

    with within_bounds(), pytest.raises(InvalidJob) as refusal:
        prepare(request)
    with pytest.raises(FarmError):
        list(with_seeds(request, 2))

    assert len(str(refusal.value)) < 40_000
    assert len(refusal.value.problems) <= MOST_LISTED


def test_a_refusal_says_how_many_problems_it_does_not_name() -> None:
    problems = [Problem(field=str(number), message="wrong") for number in range(100_080)]
    of_graph = [GraphProblem(kind="k", message=str(number)) for number in range(100_080)]

    for told in (str(InvalidJob(problems)), str(GraphError(of_graph))):
        assert told.endswith("… and 99,980 more")
        assert len(told) < 5000


def test_what_a_node_says_in_mebibytes_is_stored_in_a_few_thousand_characters() -> None:
    details = {"traceback": [_HUGE] * 12, "problems": ["p"] * 100_000, "deep": {"a": {"b": [[[[["x"]]]]]}}}

    with within_bounds():
        error = JobError(kind=ErrorKind.JOB, code="node_failed", message=_HUGE, details=details)

    assert error.message.startswith("xxx")
    assert error.message.endswith("… and 19,996,000 more characters")
    assert len(error.message) < LONGEST_TEXT + 100
    assert len(error.details["problems"]) == MOST_LISTED + 1
    assert error.details["problems"][-1] == "… and 99,900 more"
    assert all(len(line) < LONGEST_TEXT + 100 for line in error.details["traceback"])


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (EventKind.FINDING, {"message": _HUGE}),
        (EventKind.LOG, {"line": _HUGE}),
        (EventKind.PHASE, {"phase": [_HUGE] * 3}),
        (EventKind.PREVIEW, {"node_id": "1", "image": _HUGE}),
    ],
)
def test_an_event_is_short_whatever_a_node_has_said(kind: EventKind, data: dict[str, Any]) -> None:
    assert len(str(NewEvent(kind=kind, data=data).data)) < 4 * LONGEST_TEXT


def test_a_small_preview_stays_as_it_is() -> None:
    assert NewEvent(kind=EventKind.PREVIEW, data={"image": "x" * 300_000}).data["image"] == "x" * 300_000


@pytest.mark.parametrize("reason", [_HUGE, "\ud800" * 1000, "\n" * 10**6])
def test_a_reason_for_a_cancel_is_short_and_sound(reason: str) -> None:
    assert len(kept_reason(reason).encode()) <= 500


def test_every_limit_is_on_the_page() -> None:
    assert all(f"| {limit.of} |" in page() for limit in LIMITS)
