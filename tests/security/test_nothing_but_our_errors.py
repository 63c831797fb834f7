"""Whatever comes in: a result or an error of ours, soon, at every public entry."""

from __future__ import annotations

import copy
import json
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comfy.errors import ComfyError
from comfy.graphs.graph import load_graph
from comfy.graphs.path_gate import path_problems
from comfy.judging.validation import validate
from comfy.lint.lint import lint
from comfy.log.lines import read_line
from comfy.node_defs.definitions import parse_definitions, shipped_definitions
from comfy.protocol.events import ExecutionError
from comfy.protocol.outputs import list_outputs, list_texts
from comfy.protocol.rejection import read_rejection
from comfy.protocol.run import PromptRun
from comfy.protocol.sniff import sniff
from comfy.protocol.wire import read_binary, read_text
from comfy.rewrites.change import ChangeKind
from comfy.rewrites.optimize import optimize
from comfy.rewrites.output_prefix import set_output_prefix
from comfy.ui.load import load_any
from comfy.wan.roles import find_roles
from farm.asking.inspection import inspect_graph
from farm.asking.prepare import prepare_with_files
from farm.asking.request import JobRequest
from farm.asking.seeds import with_seeds
from farm.asking.sources import address_fault, public_source, scheme_of
from farm.errors import FarmError
from farm.job import JobSpec, make_spec, shown_text, spec_from_json, spec_to_json
from farm.status.worker import read_status
from farm.storage.keys import media_type_of, safe_name
from tests.support.hostile import ODD
from tests.support.sites import a_site
from worker.errors import WorkerError
from worker.jobs.faults import sort_fault
from worker.results.metadata.strip import strip

OURS: Final[tuple[type[Exception], ...]] = (ComfyError, FarmError, WorkerError)
GRAPHS: Final = Path(__file__).parents[1] / "data" / "graphs"
_SOON_S: Final = 20.0  # CPU; a second on a machine that does nothing else
_EXAMPLES: Final = 40

texts = st.text(max_size=30) | st.sampled_from([each for each in ODD if isinstance(each, str)])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts | st.sampled_from(ODD)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
_property = settings(
    max_examples=_EXAMPLES,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


def holds(call: Callable[[], Any], *documented: type[Exception]) -> bool:
    """Whether a call ends with a result or an error of ours, and soon; another error is the test's."""
    began = time.process_time()
    try:
        call()
    except (*OURS, *documented):
        pass
    assert time.process_time() - began < _SOON_S
    return True


def places_in(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a value stands in a document."""
    yield path
    pairs: Any = document.items() if isinstance(document, dict) else ()
    pairs = enumerate(document) if isinstance(document, list) else pairs
    for key, value in pairs:
        yield from places_in(value, (*path, key))


def damaged(document: Any, seed: int, times: int) -> Any:
    """The document with odd values in some of its places, or without what stood there."""
    draw = random.Random(seed)
    changed = copy.deepcopy(document)
    for _ in range(times):
        path = draw.choice([each for each in places_in(changed) if each] or [()])
        if not path:
            return draw.choice(ODD)
        owner = changed
        for key in path[:-1]:
            owner = owner[key]
        if draw.random() < 0.2:
            del owner[path[-1]]
        else:
            owner[path[-1]] = copy.deepcopy(draw.choice(ODD[:-5]))
    return changed


def of_files(pattern: str) -> list[Any]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(GRAPHS.glob(pattern))]


PLAIN: Final = [each for each in of_files("*.json") if "nodes" not in each]
EDITOR: Final = of_files("*.ui.json")


def use_graph(raw: Any) -> None:
    """Everything that is done with a graph, from the file to the plan."""
    graph = load_graph(raw)
    site = a_site(gib=24)
    find_roles(graph)
    inspect_graph(graph)
    lint(graph, site)
    path_problems(graph)
    set_output_prefix(graph, "job")
    validate(graph, shipped_definitions())
    outcomes = optimize(graph, site, accept=ChangeKind.DIFFERENT).outcomes
    assert all(outcome.status != "failed" for outcome in outcomes)


@pytest.mark.parametrize("number", range(len(PLAIN)))
def test_a_damaged_graph_is_used_or_refused(number: int) -> None:
    for seed in range(12):
        holds(lambda seed=seed: use_graph(damaged(PLAIN[number], seed, 1 + seed % 4)))  # type: ignore[misc]


@pytest.mark.parametrize("number", range(len(EDITOR)))
def test_a_damaged_file_of_the_editor_is_converted_or_refused(number: int) -> None:
    for seed in range(40):
        broken = damaged(EDITOR[number], seed, 1 + seed % 4)
        holds(lambda broken=broken: load_any(broken, shipped_definitions))  # type: ignore[misc]
        holds(lambda broken=broken: prepare_with_files(JobRequest(graph=broken)))  # type: ignore[misc]


@_property
@given(raw=values | st.binary(max_size=200) | st.dictionaries(texts, values, max_size=3))
def test_anything_may_be_given_for_a_graph(raw: Any) -> None:
    holds(lambda: load_graph(raw))
    holds(lambda: load_any(raw, shipped_definitions))


_WIDGETS: Final[tuple[Any, ...]] = (
    [[]],
    [None],
    {},
    {"a": [[]]},
    "x",
    7,
    [{"on": 1, "lora": None}],
    [["1", 0]],
    [math.nan],
)


@pytest.mark.parametrize("widgets", _WIDGETS)
def test_widgets_of_any_form_are_converted_or_refused(widgets: Any) -> None:
    for class_type in (
        "KSampler",
        "CLIPTextEncode",
        "LoadImage",
        "VHS_VideoCombine",
        "Power Lora Loader (rgthree)",
        "?",
    ):
        node = {"id": 1, "type": class_type, "widgets_values": widgets, "inputs": [], "outputs": []}
        file = {"nodes": [node], "links": [], "version": 0.4}
        holds(lambda file=file: load_any(file, shipped_definitions))  # type: ignore[misc]


@_property
@given(
    parameters=st.dictionaries(
        texts | st.sampled_from(["6.text", "seed", "prompt", "frames", "snap"]), values, max_size=3
    ),
    inputs=st.dictionaries(texts | st.sampled_from(["image", "6.text"]), values, max_size=2),
    bind=st.dictionaries(texts | st.just("seed"), values, max_size=2),
    options=st.dictionaries(
        st.sampled_from(
            [*JobSpec.__dataclass_fields__, "labels", "vram_gib", "if_unplaceable", "attention", "max_width"]
        ),
        values,
        max_size=3,
    ),
    template=st.none() | texts | st.sampled_from(["wan22-t2v-a14b", "wan22-i2v-a14b"]),
    number=st.integers(0, len(PLAIN) - 1),
)
def test_a_request_of_any_form_is_prepared_or_refused(
    parameters: Any, inputs: Any, bind: Any, options: Any, template: Any, number: int
) -> None:
    def request() -> JobRequest:
        graph = None if template else PLAIN[number]
        return JobRequest(
            graph,
            parameters,
            template=template,
            inputs=inputs,
            bind=bind,
            options=options,
        )

    holds(lambda: prepare_with_files(request()))
    holds(lambda: list(with_seeds(request(), 2)))


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: type(odd).__name__)
@pytest.mark.parametrize("name", ["graph", "parameters", "inputs", "bind", "options", "template"])
def test_an_argument_of_another_kind_is_refused(name: str, odd: Any) -> None:
    def request() -> JobRequest:
        return JobRequest(**{"graph": PLAIN[0], name: odd})

    holds(lambda: prepare_with_files(request()))
    holds(lambda: list(with_seeds(request(), 2)))


@_property
@given(
    fields=st.dictionaries(texts | st.sampled_from(list(JobSpec.__dataclass_fields__)), values, max_size=4)
)
def test_a_spec_of_any_form_is_made_or_refused(fields: Any) -> None:
    holds(lambda: spec_from_json(spec_to_json(make_spec({"graph": PLAIN[0], **fields}))))


_MESSAGES: Final = (
    {"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 1}}, "sid": "s"}},
    {"type": "progress", "data": {"node": "1", "value": 1, "max": 4, "prompt_id": "p"}},
    {
        "type": "progress_state",
        "data": {"prompt_id": "p", "nodes": {"1": {"value": 1, "max": 2, "state": "running"}}},
    },
    {"type": "executing", "data": {"node": "1", "prompt_id": "p", "display_node": "1"}},
    {
        "type": "executed",
        "data": {"node": "1", "prompt_id": "p", "output": {"images": [{"filename": "a.png"}]}},
    },
    {"type": "execution_cached", "data": {"nodes": ["1"], "prompt_id": "p"}},
    {
        "type": "execution_error",
        "data": {
            "prompt_id": "p",
            "node_id": "1",
            "node_type": "X",
            "exception_type": "E",
            "exception_message": "m",
        },
    },
)


@pytest.mark.parametrize("message", _MESSAGES, ids=lambda message: str(message["type"]))
def test_a_message_of_the_server_of_any_form_is_read_or_refused(message: Mapping[str, Any]) -> None:
    for seed in range(60):
        broken = damaged(dict(message), seed, 1 + seed % 3)

        def feed(broken: Any = broken) -> None:
            run = PromptRun("p", {"1": {"class_type": "X", "inputs": {}}})
            run.feed(read_text(json.dumps(broken)), 1.0)
            _ = run.progress, run.outcome, run.outputs, run.texts, run.timings

        if seed == 0 or _is_json(broken):
            holds(feed)


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except (ValueError, TypeError):
        return False
    return True


_HISTORY: Final = {
    "prompt": [0, "p", {"1": {"class_type": "X", "inputs": {}}}, {}, ["1"]],
    "outputs": {"1": {"images": [{"filename": "a.png", "subfolder": "", "type": "output"}], "text": ["a"]}},
    "status": {
        "status_str": "success",
        "completed": True,
        "messages": [
            ["execution_start", {"prompt_id": "p", "timestamp": 1}],
            ["execution_error", {"node_id": "1"}],
        ],
    },
}


@pytest.mark.parametrize("group", range(6))
def test_a_history_of_any_form_is_read_or_refused(group: int) -> None:
    for seed in range(group * 40, group * 40 + 40):
        broken = damaged(_HISTORY, seed, 1 + seed % 3)

        def feed(broken: Any = broken) -> None:
            run = PromptRun("p", {"1": {"class_type": "X", "inputs": {}}})
            run.feed_history({"p": broken}, 1.0)
            _ = run.outcome, run.outputs, run.texts

        if _is_json(broken):
            holds(feed)


@pytest.mark.parametrize("number", ["9" * 5000, "1e999", "-" + "9" * 5000, "NaN"])
def test_a_message_with_a_number_of_any_length_is_read_or_refused(number: str) -> None:
    text = '{"type": "progress", "data": {"node": "1", "value": %s, "max": %s, "prompt_id": "p"}}'

    holds(lambda: read_text(text % (number, number)))


@_property
@given(frame=st.binary(max_size=100) | texts, value=values)
def test_a_frame_or_an_answer_of_any_form_is_read_or_refused(frame: bytes | str, value: Any) -> None:
    holds(lambda: read_text(frame))
    if isinstance(frame, bytes):
        holds(lambda: read_binary(frame))
        holds(lambda: sniff(frame))
    else:
        holds(lambda: read_line(frame))
        holds(lambda: (scheme_of(frame), address_fault(frame), public_source(frame)))
        holds(lambda: (safe_name(frame), media_type_of(frame), shown_text("1", frame)))
        holds(lambda: read_status("w", frame.encode(errors="replace")))
    holds(lambda: dict(parse_definitions(value)))
    holds(lambda: read_rejection(400, value, PLAIN[0]))
    if isinstance(value, dict):
        holds(lambda: (list_outputs(value), list_texts(value)))


_ADDRESSES: Final = (
    "http://[::1",
    "http://[",
    "http://a:99999999999",
    "http://\ud800/x",
    "s3://",
    "http://" + "a" * 10**6,
)


@pytest.mark.parametrize("address", _ADDRESSES, ids=lambda each: repr(each)[:20])
def test_an_address_of_any_form_is_taken_or_refused(address: str) -> None:
    holds(lambda: (scheme_of(address), address_fault(address), public_source(address)))
    holds(lambda: prepare_with_files(JobRequest(PLAIN[0], inputs={"6.text": address})))


@_property
@given(kind=texts, message=texts, node=st.none() | texts, lines=st.lists(texts, max_size=3))
def test_an_error_of_a_node_of_any_form_is_sorted(
    kind: str, message: str, node: str | None, lines: list[str]
) -> None:
    run = PromptRun("p", {})
    run.feed(
        ExecutionError(
            prompt_id="p",
            node_id=node,
            node_type=node,
            exception_type=kind,
            exception_message=message,
            traceback=tuple(lines),
        ),
        1.0,
    )
    fault = sort_fault(RuntimeError(message))

    assert fault.error.kind


_HEADS: Final = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff\xe0",
    b"GIF89a",
    b"RIFF\xff\xff\xff\xffWEBPVP8X",
    b"RIFF\x10\x00\x00\x00WAVEfmt ",
    b"\x00\x00\x00\x20ftypisom",
    b"\x1aE\xdf\xa3",
    b"fLaC",
    b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f",
    b"OggS",
    b"II*\x00",
    b"MM\x00*",
    b"glTF\x02\x00\x00\x00",
    b"v/1\x01",
    b"<svg xmlns='http://www.w3.org/2000/svg'>",
    b"\xff" * 8 + b"{",
)


@pytest.mark.parametrize("head", _HEADS, ids=lambda head: repr(head)[:16])
def test_a_file_of_any_content_is_stripped_or_left(head: bytes, tmp_path: Path) -> None:
    draw = random.Random(head)
    for number in range(25):
        body = bytes(draw.choices([0, 0xFF, 1, 0x7F, *head], k=draw.randint(0, 3000)))
        path = tmp_path / f"{number}.bin"
        path.write_bytes(head + body)
        holds(lambda path=path: strip(path), OSError, ValueError)  # type: ignore[misc]


@pytest.mark.parametrize(
    "field", ["priority", "deadline", "labels", "title", "parameters", "time_limit_s", "graph"]
)
def test_a_number_of_thousands_of_digits_is_refused_wherever_it_stands(field: str) -> None:
    long = 10**5000

    holds(lambda: spec_to_json(make_spec({"graph": PLAIN[0], field: long})))
    holds(lambda: spec_to_json(make_spec({"graph": PLAIN[0], field: {"a": [long]}})))
    options: Any = {field: long}
    holds(lambda: prepare_with_files(JobRequest(PLAIN[0], {"seed": long}, options=options)))
