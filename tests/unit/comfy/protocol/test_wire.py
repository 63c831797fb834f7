from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfy.errors import UnknownMessage
from comfy.protocol import wire
from comfy.protocol.events import (
    Executed,
    Executing,
    ExecutionError,
    FeatureFlags,
    Logs,
    Preview,
    Progress,
    ProgressState,
    ProgressText,
    Status,
    Unknown,
)

Capture = Callable[[str], dict[str, Any]]
ALL_RUNS = [
    "wan22_t2v_savevideo",
    "wan22_t2v_savevideo_again",
    "wan22_t2v_vhs",
    "wan22_t2v_preview",
    "interrupt_in_ksampler",
    "raise_blocked",
    "raise_cuda_oom",
    "reconnect_same_client_id",
]


@pytest.mark.parametrize("name", ALL_RUNS)
def test_every_message_of_a_real_server_is_understood(capture: Capture, name: str) -> None:
    run = capture(name)

    for kind, data in run["messages"] + run.get("second", []):
        if kind == "binary":  # the capture keeps only its size
            continue
        event = wire.read_text(json.dumps({"type": kind, "data": data}))
        assert not isinstance(event, Unknown), kind


def test_the_first_status_brings_the_client_id() -> None:
    text = '{"type":"status","data":{"status":{"exec_info":{"queue_remaining":2}},"sid":"abc"}}'

    assert wire.read_text(text) == Status(queue_remaining=2, sid="abc")


def test_the_end_and_the_reconnects_message_are_told_apart() -> None:
    end = wire.read_message("executing", {"node": None, "prompt_id": "p"})
    again = wire.read_message("executing", {"node": "1"})

    assert end == Executing(node=None, prompt_id="p")
    assert again == Executing(node="1", prompt_id=None)


def test_a_cached_output_node_without_output_is_executed_with_nothing() -> None:
    event = wire.read_message("executed", {"node": "1", "output": None, "prompt_id": "p"})

    assert event == Executed(prompt_id="p", node="1", output={})


def test_progress_counts_in_numbers() -> None:
    event = wire.read_message("progress", {"value": 1, "max": 2, "prompt_id": "p", "node": "57"})

    assert event == Progress(node="57", prompt_id="p", value=1, maximum=2)


def test_an_error_is_read_without_the_users_inputs(capture: Capture) -> None:
    data = next(data for kind, data in capture("raise_cuda_oom")["messages"] if kind == "execution_error")

    event = wire.read_message("execution_error", data)

    assert isinstance(event, ExecutionError)
    assert event.exception_type == "torch.OutOfMemoryError"
    assert len(event.traceback) == 5
    assert event.ends_the_prompt


def test_a_blocked_branch_does_not_end_the_prompt() -> None:
    event = wire.read_message(
        "execution_error",
        {"prompt_id": "p", "exception_type": "ExecutionBlocked", "exception_message": "Execution Blocked: x"},
    )

    assert isinstance(event, ExecutionError)
    assert not event.ends_the_prompt


def test_logs_and_feature_flags() -> None:
    logs = wire.read_message(
        "logs", {"entries": [{"t": "2026-11-23T21:26:03", "m": "got prompt\n"}], "size": None}
    )
    flags = wire.read_message("feature_flags", {"supports_preview_metadata": True})

    assert isinstance(logs, Logs)
    assert logs.entries[0].text == "got prompt\n"
    assert flags == FeatureFlags(flags={"supports_preview_metadata": True})


def test_a_type_that_nobody_knows_is_passed_on() -> None:
    assert wire.read_text('{"type":"crystools.monitor","data":{"x":1}}') == Unknown(
        type="crystools.monitor", data={"x": 1}
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not json",
        "[]",
        "null",
        '"x"',
        "{}",
        '{"type":"status"}',
        '{"type":"status","data":null}',
        '{"type":"progress","data":{"value":1,"max":0}}',
        '{"type":"progress","data":{"value":"1","max":2}}',
        '{"type":"progress_state","data":{"prompt_id":"p","nodes":{"1":"running"}}}',
        '{"type":"executing","data":{}}',
        '{"type":"executing","data":{"node":5}}',
        '{"type":"executed","data":{"node":"1","prompt_id":"p","output":[1]}}',
        '{"type":"execution_error","data":{"prompt_id":"p"}}',
        '{"type":"execution_cached","data":{"prompt_id":"p","nodes":[1]}}',
        '{"type":"logs","data":{"entries":[{}]}}',
    ],
)
def test_a_malformed_message_is_refused(text: str) -> None:
    with pytest.raises(UnknownMessage):
        wire.read_text(text)


def test_the_older_preview_names_nobody() -> None:
    frame = struct.pack(">II", 1, 2) + b"\x89PNG"

    assert wire.read_binary(frame) == Preview(image=b"\x89PNG", media_type="image/png")


def test_the_newer_preview_names_node_and_prompt() -> None:
    metadata = json.dumps({"node_id": "57", "prompt_id": "p", "image_type": "image/jpeg"}).encode()
    frame = struct.pack(">II", 4, len(metadata)) + metadata + b"\xff\xd8"

    assert wire.read_binary(frame) == Preview(
        image=b"\xff\xd8", media_type="image/jpeg", node="57", prompt_id="p"
    )


def test_progress_text_and_an_unknown_binary_event() -> None:
    assert wire.read_binary(struct.pack(">II", 3, 2) + b"57half") == ProgressText(node="57", text="half")
    assert wire.read_binary(struct.pack(">I", 9) + b"xyz") == Unknown(type="binary 9", data=7)


@pytest.mark.parametrize("frame", [b"", b"\0\0", struct.pack(">I", 1), struct.pack(">II", 4, 99) + b"{}"])
def test_a_binary_frame_cut_short_is_refused(frame: bytes) -> None:
    with pytest.raises(UnknownMessage):
        wire.read_binary(frame)


@given(st.binary(max_size=64))
def test_no_binary_frame_raises_anything_else(frame: bytes) -> None:
    with contextlib.suppress(UnknownMessage):
        wire.read_binary(frame)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3)
    ),
    max_leaves=6,
)
KEYS = st.sampled_from(
    ["prompt_id", "node", "nodes", "value", "max", "output", "entries", "status", "exception_type"]
)


@given(
    st.sampled_from(
        ["status", "executing", "progress", "progress_state", "executed", "execution_error", "logs"]
    ),
    st.dictionaries(KEYS, JSON, max_size=5) | JSON,
)
def test_no_text_message_raises_anything_else(kind: str, data: Any) -> None:
    try:
        event = wire.read_message(kind, data)
    except UnknownMessage:
        return
    assert not isinstance(event, ProgressState) or isinstance(event.nodes, tuple)
