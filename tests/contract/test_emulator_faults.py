"""The emulator misbehaves on command, and only on command."""

from __future__ import annotations

import json
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import pytest
import urllib3
import websocket

if TYPE_CHECKING:
    from tests.contract.conftest import ComfyServer, Socket

Start = Callable[..., "ComfyServer"]
Graph = dict[str, dict[str, Any]]


@pytest.fixture
def start(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Start]:
    """Starts emulators that are stopped after the test."""
    started: list[ComfyServer] = []
    factory = request.getfixturevalue("emulator_factory")

    def start_one(*more: str) -> ComfyServer:
        started.append(factory("0.12.1", tmp_path / f"emulator{len(started)}", *more))
        return started[-1]

    yield start_one
    for server in started:
        server.stop()


@pytest.fixture(scope="module")
def emulator(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[ComfyServer]:
    factory = request.getfixturevalue("emulator_factory")
    started: ComfyServer = factory("0.12.1", tmp_path_factory.mktemp("emulator"))
    yield started
    started.stop()


@pytest.fixture
def server(emulator: ComfyServer) -> Iterator[ComfyServer]:
    """An emulator that the tests share which leave it alive; afterwards it behaves, and does nothing."""
    yield emulator
    emulator.request("DELETE", "/emulator/faults")
    emulator.between_tests()


def a_graph(**save: Any) -> Graph:
    seed = uuid.uuid4().int % 2**32
    return {
        "1": {"class_type": "UNETLoader", "inputs": {"unet_name": _UNET, "weight_dtype": "default"}},
        "2": {"class_type": "CLIPLoader", "inputs": {"clip_name": _CLIP, "type": "wan"}},
        "3": {"class_type": "VAELoader", "inputs": {"vae_name": "wan_2.1_vae.safetensors"}},
        "4": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["2", 0]}},
        "5": {
            "class_type": "EmptyHunyuanLatentVideo",
            "inputs": {"width": 64, "height": 64, "length": 5, "batch_size": 1},
        },
        "6": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["1", 0], "positive": ["4", 0], "negative": ["4", 0], "latent_image": ["5", 0],
                "seed": seed, "steps": 4, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple",
                "denoise": 1.0,
            },
        },
        "7": {"class_type": "VAEDecode", "inputs": {"samples": ["6", 0], "vae": ["3", 0]}},
        "8": {"class_type": "CreateVideo", "inputs": {"images": ["7", 0], "fps": 16.0}},
        "9": {
            "class_type": "SaveVideo",
            "inputs": {
                "video": ["8", 0], "filename_prefix": "clip", "format": "auto", "codec": "auto", **save,
            },
        },
    }  # fmt: skip


_UNET = "wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors"
_CLIP = "umt5_xxl_fp8_e4m3fn_scaled.safetensors"


def listen(server: ComfyServer) -> Socket:
    listener = server.connect()
    listener.next()
    return listener


def hurt(server: ComfyServer, **fault: Any) -> None:
    answer = server.post("/emulator/faults", fault)
    assert answer.status == 200, answer.body


def test_a_fault_that_is_not_understood_is_refused_with_the_reason(server: ComfyServer) -> None:
    for fault, words in (
        ({"kind": "nonsense"}, "nonsense"),
        ({"kind": "hang", "colour": "red"}, "unknown field: colour"),
        ({"kind": "hang", "seconds": "long"}, "seconds"),
        ({"kind": "raise", "at": "start"}, "cannot happen at start"),
        (5, "a fault is an object"),
    ):
        answer = server.post("/emulator/faults", fault)

        assert answer.status == 400
        assert words in answer.json["error"]
    assert server.get("/emulator/faults").json == []


@pytest.mark.parametrize(
    "moment",
    [
        {"at": "posted"},
        {"at": "start"},
        {"at": "step", "step": 2},
        {"at": "before_success"},
        {"at": "before_history"},
        {"at": "before_end"},
    ],
    ids=lambda moment: str(moment["at"]),
)
def test_a_socket_drops_and_the_run_goes_on(server: ComfyServer, moment: dict[str, Any]) -> None:
    hurt(server, kind="drop_socket", **moment)
    listener = listen(server)

    prompt_id = server.submit(a_graph(), client_id=listener.client_id)
    with pytest.raises((websocket.WebSocketConnectionClosedException, ConnectionError)):
        listener.until(lambda _: False)

    assert server.wait_for_history(prompt_id)["status"]["completed"] is True
    assert server.get("/emulator/faults").json == []


def test_a_socket_that_is_closed_politely_says_goodbye(server: ComfyServer) -> None:
    listener = listen(server)
    client = websocket.create_connection(f"ws://{server.address}/ws", timeout=60)
    client.recv()

    hurt(server, kind="drop_socket", how="close")

    assert client.recv_data()[0] == websocket.ABNF.OPCODE_CLOSE
    client.shutdown()  # type: ignore[no-untyped-call]
    listener.close()


@pytest.mark.parametrize("kind", ["executing_null", "execution_success", "executed", "progress"])
def test_a_muted_message_is_not_sent_in_one_run_and_sent_in_the_next(server: ComfyServer, kind: str) -> None:
    hurt(server, kind="mute", message=kind)
    listener = listen(server)

    def heard(prompt_id: str) -> set[str]:
        messages = listener.until(lambda m: m[1] == {"status": {"exec_info": {"queue_remaining": 0}}})
        server.wait_for_history(prompt_id)
        while not listener.is_silent_for(0.1):
            messages.append(listener.heard[-1])
        names = {name for name, _ in messages}
        return (
            names | {"executing_null"}
            if ("executing", {"node": None, "prompt_id": prompt_id}) in messages
            else names
        )

    first = heard(server.submit(a_graph(), client_id=listener.client_id))
    second = heard(server.submit(a_graph(), client_id=listener.client_id))

    assert kind not in first
    assert kind in second


def test_a_node_that_hangs_does_not_hear_an_interrupt(server: ComfyServer) -> None:
    hurt(server, kind="hang", node="KSampler", seconds=0.6)
    listener = listen(server)
    prompt_id = server.submit(a_graph(), client_id=listener.client_id)
    listener.until(lambda m: m[0] == "executing" and m[1]["node"] == "6")
    began = time.monotonic()

    server.post("/interrupt", {"prompt_id": prompt_id})
    listener.until_end(prompt_id)

    assert time.monotonic() - began > 0.4
    assert server.history(prompt_id)["status"]["messages"][-1][0] == "execution_interrupted"


@pytest.mark.parametrize(
    ("moment", "code", "expected"),
    [
        ({"at": "posted"}, None, -signal.SIGKILL),
        ({"at": "step", "step": 2}, 3, 3),
        ({"at": "saved"}, None, -signal.SIGKILL),
        ({"at": "before_end"}, 0, 0),
    ],
)
def test_the_process_ends_at_the_moment_that_was_named(
    start: Start, tmp_path: Path, moment: dict[str, Any], code: int | None, expected: int
) -> None:
    record = tmp_path / "record.jsonl"
    server = start("--record", str(record))
    hurt(server, kind="exit", exit_code=code, **moment)

    try:
        server.post("/prompt", {"prompt": a_graph(), "prompt_id": "mine"})
    except urllib3.exceptions.HTTPError:
        assert moment["at"] == "posted"

    assert server.process.wait(timeout=20) == expected
    events = [json.loads(line)["event"] for line in record.read_text().splitlines()]
    assert events[0] == "posted"
    assert ("ended" in events) is (moment["at"] == "before_end")


@pytest.mark.parametrize(
    ("error", "exception_type", "words"),
    [
        ("cuda_oom", "torch.OutOfMemoryError", "CUDA out of memory"),
        ("oom_text", "RuntimeError", "out of memory"),
        ("key_error", "KeyError", "'emulated'\n"),
        ("memory_error", "MemoryError", "\n"),
        ("broken_model_file", "safetensors._safetensors_rust.SafetensorError", "header"),
        ("my.OwnError", "my.OwnError", "said by hand"),
    ],
)
def test_a_node_raises_what_it_is_told_to(
    server: ComfyServer, error: str, exception_type: str, words: str
) -> None:
    more = {"message": "said by hand"} if error == "my.OwnError" else {}
    hurt(server, kind="raise", node="KSampler", error=error, **more)

    _, history = server.run(a_graph())
    _, next_history = server.run(a_graph())

    kind, data = history["status"]["messages"][-1]
    assert (kind, data["node_id"], data["exception_type"]) == ("execution_error", "6", exception_type)
    assert words in data["exception_message"]
    assert ("TIPS:" in data["exception_message"]) is (error == "cuda_oom")
    assert next_history["status"]["completed"] is True


def test_a_broken_cuda_context_fails_every_run_from_then_on(start: Start) -> None:
    server = start()
    hurt(server, kind="raise", node="KSampler", error="sticky_cuda")

    histories = [server.run(a_graph())[1] for _ in range(3)]

    for history in histories:
        kind, data = history["status"]["messages"][-1]
        assert (kind, data["exception_type"]) == ("execution_error", "torch.AcceleratorError")
        assert "illegal memory access" in data["exception_message"]


def test_a_blocked_output_is_told_as_an_error_and_the_run_succeeds(server: ComfyServer) -> None:
    hurt(server, kind="block", node="VAEDecode", message="not today")

    messages, history = server.run(a_graph())

    (error,) = [data for kind, data in messages if kind == "execution_error"]
    assert error["exception_type"] == "ExecutionBlocked"
    assert error["exception_message"] == "Execution Blocked: not today"
    assert [kind for kind, _ in messages][-3:] == ["execution_success", "status", "executing"]
    assert (history["status"]["status_str"], history["outputs"]) == ("success", {})


def test_a_run_is_answered_with_the_files_of_the_run_before(server: ComfyServer) -> None:
    _, first = server.run(a_graph())
    hurt(server, kind="serve_cached")

    messages, second = server.run(a_graph(filename_prefix="another"))

    assert second["outputs"] == first["outputs"]
    assert {data["node"] for kind, data in messages if kind == "executing"} == {None}


def test_everything_can_be_slowed(server: ComfyServer) -> None:
    hurt(server, kind="slow", factor=20)
    began = time.monotonic()

    server.run(a_graph())

    assert time.monotonic() - began > 4 * 0.02 * 20 * 0.9


@pytest.mark.parametrize("how", ["truncate", "empty", "delete"])
def test_a_written_file_is_spoilt(server: ComfyServer, how: str) -> None:
    hurt(server, kind="spoil_output", how=how)

    _, history = server.run(a_graph())

    path = server.output / history["outputs"]["9"]["images"][0]["filename"]
    if how == "delete":
        assert not path.exists()
    else:
        with pytest.raises(av.FFmpegError), av.open(str(path)) as container:
            list(container.decode(video=0))


def test_history_and_queue_can_be_lost(server: ComfyServer) -> None:
    _, history = server.run(a_graph())
    done = history["prompt"][1]
    hurt(server, kind="hang", node="KSampler", seconds=1.0)
    server.submit(a_graph())
    lost = server.submit(a_graph())

    server.post("/emulator/faults", [{"kind": "forget_history"}, {"kind": "lose_queue"}])

    until = time.monotonic() + 10
    while server.get("/queue").json["queue_pending"] and time.monotonic() < until:
        time.sleep(0.01)
    assert server.get("/queue").json["queue_pending"] == []
    assert server.get(f"/history/{done}").json == {}
    assert server.get(f"/history/{lost}").json == {}


def test_a_post_is_answered_with_500_as_often_as_asked(server: ComfyServer) -> None:
    hurt(server, kind="refuse_prompt", times=2)

    statuses = [server.post("/prompt", {"prompt": a_graph()}).status for _ in range(3)]

    assert statuses == [500, 500, 200]


def test_an_answer_is_held_back(server: ComfyServer) -> None:
    hurt(server, kind="stall_http", seconds=0.5, path="/history/x", skip=1)

    waited = []
    for path in ("/queue", "/history/x", "/history/x"):
        began = time.monotonic()
        server.get(path)
        waited.append(time.monotonic() - began > 0.4)

    assert waited == [False, False, True]


def test_faults_can_be_given_at_start_and_taken_back(start: Start) -> None:
    server = start("--faults", '[{"kind": "refuse_prompt", "times": null}]')
    assert server.post("/prompt", {"prompt": a_graph()}).status == 500

    server.request("DELETE", "/emulator/faults")

    assert server.post("/prompt", {"prompt": a_graph()}).status == 200


def test_a_fault_waits_for_the_prompt_it_is_meant_for(server: ComfyServer) -> None:
    hurt(server, kind="raise", node="9", error="value_error", prompt_id="second")

    _, first = server.run(a_graph(), prompt_id="first")
    _, second = server.run(a_graph(), prompt_id="second")

    assert (first["status"]["status_str"], second["status"]["status_str"]) == ("success", "error")


def test_the_record_tells_what_ran(start: Start) -> None:
    server = start()
    server.run(a_graph(), prompt_id="mine")

    entries = server.get("/emulator/record").json

    assert {entry["prompt_id"] for entry in entries} == {"mine"}
    assert [entry["event"] for entry in entries if entry["event"] != "node"] == ["posted", "started", "ended"]
    assert [entry["node"] for entry in entries if entry["event"] == "node"][-1] == "9"
    assert [entry["at"] for entry in entries] == sorted(entry["at"] for entry in entries)


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("resident", "loaded completely;"),
        ("partial", "loaded partially;"),
        ("dynamic", "prepared for dynamic VRAM loading."),
        ("novram", "loaded partially; 0.00 MB usable"),
        ("cpu", "loaded completely;  13629.00 MB loaded"),
    ],
)
def test_the_log_has_the_lines_of_the_load_mode(start: Start, mode: str, words: str) -> None:
    server = start("--load-mode", mode)

    server.run(a_graph())

    # The last line is printed after the last message.
    until = time.monotonic() + 10
    while "Prompt executed in " not in (text := server.log.read_text()):
        assert time.monotonic() < until, text
        time.sleep(0.01)
    assert "EMULATOR" in text.splitlines()[1]
    assert "Requested to load WAN21\n" in text
    assert words in text
    assert "| 4/4 [" in text
