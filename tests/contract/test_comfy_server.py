"""How a ComfyUI server behaves, as far as the farm builds on it; the emulator must behave the same.

Plain HTTP and websocket, no client of ours. See `conftest.py` for the servers.
"""

from __future__ import annotations

import copy
import io
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import pytest
import websocket
from PIL import Image

from comfy.generations import GENERATIONS, UncheckedChoices
from comfy.judging.validation import validate
from comfy.node_defs.definitions import shipped_definitions
from comfy.node_defs.dynamic_inputs import is_dynamic
from comfy.node_defs.snapshot import FOLDER
from tests.contract.graphs import (
    a_prefix,
    chain,
    changed,
    first_picture,
    hold,
    kinds,
    node,
    normal,
    picture_graph,
    sampler,
    wan_graph,
    with_node,
    without_input,
)

if TYPE_CHECKING:
    from tests.contract.conftest import ComfyServer

_NEWER_CORE = json.loads((FOLDER / "core-newer.json").read_text(encoding="utf-8"))["nodes"].keys()


# --- what the server is -------------------------------------------------------------------------------------


def test_system_stats_tell_version_machine_and_arguments(comfy: ComfyServer) -> None:
    stats = comfy.get("/system_stats").json

    assert stats["system"].keys() >= {
        "os", "ram_total", "ram_free", "comfyui_version", "required_frontend_version", "python_version",
        "pytorch_version", "embedded_python", "argv", "installed_templates_version",
        "required_templates_version",
    }  # fmt: skip
    assert "--cpu" in stats["system"]["argv"]
    (device,) = stats["devices"]
    assert device.keys() == {
        "name", "type", "index", "vram_total", "vram_free", "torch_vram_total", "torch_vram_free",
    }  # fmt: skip
    assert (device["name"], device["type"], device["index"]) == ("cpu", "cpu", None)
    assert device["vram_total"] == stats["system"]["ram_total"]
    assert ("emulator" in stats) is comfy.is_emulator


def test_features(comfy: ComfyServer) -> None:
    features = comfy.get("/features").json

    assert features["supports_preview_metadata"] is True
    assert features["max_upload_size"] == 104857600
    assert ("extension" in features) is (comfy.generation.version != "0.3.64")


def test_every_path_exists_under_api_too(comfy: ComfyServer) -> None:
    for path in (
        "/queue",
        "/prompt",
        "/history",
        "/system_stats",
        "/features",
        "/object_info/SaveVideo",
        "/models",
    ):
        plain, prefixed = comfy.get(path), comfy.get(f"/api{path}")

        assert (plain.status, prefixed.status) == (200, 200), path
        assert plain.json.keys() == prefixed.json.keys() if isinstance(plain.json, dict) else True


def test_a_browser_that_comes_from_another_page_is_refused(comfy: ComfyServer) -> None:
    def status(origin: str) -> int:
        return comfy.get("/queue", headers={"Origin": origin}).status

    assert status(f"http://{comfy.address}") == 200
    assert status("http://evil.example") == 403


def test_a_node_is_told_alone_and_an_unknown_one_is_an_empty_object(comfy: ComfyServer) -> None:
    whole = comfy.get("/object_info").json

    assert comfy.get("/object_info/KSamplerAdvanced").json == {"KSamplerAdvanced": whole["KSamplerAdvanced"]}
    assert comfy.get("/object_info/NoSuchNode").json == {}


def test_the_shipped_definitions_are_those_of_the_server(comfy: ComfyServer) -> None:
    theirs = comfy.definitions()

    for class_type, ours in shipped_definitions(comfy.generation).items():
        # A custom node is not installed there or of another version, and a newer core node is not there yet.
        if str(ours.facts["python_module"]).startswith("custom_nodes") or class_type in _NEWER_CORE:
            continue
        other = theirs[class_type]
        assert [(i.name, i.section, i.kind, i.minimum, i.maximum, i.default) for i in ours.inputs] == [
            (i.name, i.section, i.kind, i.minimum, i.maximum, i.default) for i in other.inputs
        ], class_type
        assert [(o.kind, o.name) for o in ours.outputs] == [(o.kind, o.name) for o in other.outputs]
        assert ours.output_node == other.output_node


def test_models_are_listed_by_folder(comfy: ComfyServer) -> None:
    folders = comfy.get("/models").json

    assert {"diffusion_models", "text_encoders", "vae", "loras", "clip_vision"} <= set(folders)
    assert isinstance(comfy.get("/models/diffusion_models").json, list)
    assert comfy.get("/models/no_such_folder").status == 404


def test_a_model_file_that_appears_is_seen_at_once(tmp_path: Path, comfy: ComfyServer) -> None:
    if not comfy.is_emulator:
        pytest.skip("the models of a real server are not ours to change")
    folder = comfy.output.parent / "models" / "diffusion_models" / "sub"
    folder.mkdir(parents=True)
    (folder / "new.safetensors").write_bytes(b"x")

    assert "sub/new.safetensors" in comfy.get("/models/diffusion_models").json


def _plain(line: str) -> str:
    """A line of the log without colours and level."""
    return re.sub(r"^\[[A-Z]+\] ", "", re.sub(r"\x1b\[[0-9;]*m", "", line))


def test_lines_of_the_log_begin_with_a_coloured_level_where_the_generation_has_them(
    comfy: ComfyServer,
) -> None:
    comfy.run(picture_graph())

    entries = comfy.get("/internal/logs/raw").json["entries"]

    (line,) = {entry["m"] for entry in entries if _plain(entry["m"]) == "got prompt\n"}
    tag = "\x1b[32m[INFO]\x1b[0m " if comfy.generation.colours_levels else ""
    assert line == f"{tag}got prompt\n"
    assert line.startswith("\x1b[") is comfy.generation.colours_levels


def test_the_log_can_be_read_back(comfy: ComfyServer) -> None:
    comfy.run(picture_graph())

    def lines() -> list[str]:
        log = comfy.get("/internal/logs/raw").json
        assert log.keys() == {"entries", "size"}
        return [_plain(entry["m"]) for entry in log["entries"]]

    assert "got prompt\n" in lines()
    # The last line is printed after the last message.
    until = time.monotonic() + 20
    while not any(line.startswith("Prompt executed in ") for line in lines()):
        assert time.monotonic() < until
        time.sleep(0.02)


# --- graphs that are refused --------------------------------------------------------------------------------


BAD_GRAPHS: dict[str, Callable[[], Any]] = {
    "empty": dict,
    "ui workflow": lambda: {"nodes": [], "links": [], "version": 0.4},
    "node is a text": lambda: {"1": "x"},
    "node is a list": lambda: with_node(picture_graph(), "9", []),
    "node is a number": lambda: with_node(picture_graph(), "9", 5),
    "node is null": lambda: with_node(picture_graph(), "9", None),
    "no class_type": lambda: with_node(picture_graph(), "9", {"inputs": {}}),
    "no class_type but a title": lambda: with_node(
        picture_graph(), "9", {"inputs": {}, "_meta": {"title": "My node"}}
    ),
    "unknown class": lambda: with_node(picture_graph(), "9", node("NoSuchNode")),
    "unknown class with a title": lambda: with_node(
        picture_graph(), "9", {**node("NoSuchNode"), "_meta": {"title": "My node"}}
    ),
    "class is a list": lambda: with_node(picture_graph(), "9", {"class_type": ["SaveVideo"], "inputs": {}}),
    "class is a number": lambda: with_node(picture_graph(), "9", {"class_type": 5, "inputs": {}}),
    "no output node": lambda: {"1": picture_graph()["1"]},
    "missing input": lambda: without_input(picture_graph(), "1", "width"),
    "missing inputs, two of them": lambda: without_input(
        without_input(picture_graph(), "1", "width"), "1", "height"
    ),
    "missing link": lambda: without_input(picture_graph(), "2", "images"),
    "no inputs at all": lambda: with_node(picture_graph(), "1", {"class_type": "EmptyImage"}),
    "no inputs in the output node": lambda: with_node(picture_graph(), "3", {"class_type": "SaveVideo"}),
    "too small": lambda: changed(picture_graph(), "1", width=0),
    "too big": lambda: changed(picture_graph(), "1", width=10**6),
    "fps too big": lambda: changed(picture_graph(), "2", fps=1e9),
    "not a number": lambda: changed(picture_graph(), "1", width="many"),
    "not a number but null": lambda: changed(picture_graph(), "1", width=None),
    "not a number but an object": lambda: changed(picture_graph(), "1", width={"a": 1}),
    "bigger than any number": lambda: changed(picture_graph(), "1", width=float("inf")),
    "a value wrapped": lambda: changed(picture_graph(), "1", width={"__value__": 0}),
    "link to nowhere": lambda: changed(picture_graph(), "2", images=["999", 0]),
    "link to nowhere from the output node": lambda: changed(picture_graph(), "3", video=["999", 0]),
    "link by number": lambda: changed(picture_graph(), "2", images=[1, 0]),
    "link to a list": lambda: changed(picture_graph(), "2", images=[["1"], 0]),
    "link to a slot that is not there": lambda: changed(picture_graph(), "2", images=["1", 7]),
    "link to a slot with a name": lambda: changed(picture_graph(), "2", images=["1", "IMAGE"]),
    "link to half a slot": lambda: changed(picture_graph(), "2", images=["1", 0.5]),
    "link to the output of a node that has none": lambda: with_node(
        picture_graph(), "4", node("SaveImage", images=["3", 0], filename_prefix="x")
    ),
    "link too short": lambda: changed(picture_graph(), "2", images=["1"]),
    "link too long": lambda: changed(picture_graph(), "2", images=["1", 0, 0]),
    "link of the wrong type": lambda: changed(picture_graph(), "3", video=["1", 0]),
    "several at once": lambda: changed(changed(picture_graph(), "1", width=0, batch_size="x"), "2", fps=0),
    "wrong choice, old style": lambda: sampler(scheduler="no_such"),
    "wrong choice of many": lambda: sampler(sampler_name="no_such"),
    "sampler with links of wrong types": sampler,
    "model file that is not there": lambda: with_node(
        sampler(model=["5", 0]),
        "5",
        node("UNETLoader", unet_name="no_such.safetensors", weight_dtype="default"),
    ),
    "lora that is not there": lambda: with_node(
        sampler(model=["5", 0]),
        "5",
        node("LoraLoaderModelOnly", model=["1", 0], lora_name="no_such.safetensors", strength_model=1.0),
    ),
    "circle of two": lambda: with_node(
        with_node(changed(picture_graph(), "2", images=["8", 0]), "8", first_picture("9")),
        "9",
        first_picture("8"),
    ),
    "circle of one": lambda: with_node(
        changed(picture_graph(), "2", images=["8", 0]), "8", first_picture("8")
    ),
    "input image that is not there": lambda: {
        "1": node("LoadImage", image="no_such.png"),
        "2": node("PreviewImage", images=["1", 0]),
    },
    "every output bad": lambda: with_node(
        without_input(picture_graph(), "3", "codec"), "4", node("SaveImage", images=["1", 0])
    ),
    "two outputs on one bad node": lambda: with_node(
        changed(picture_graph(), "1", width=0), "4", node("SaveImage", images=["1", 0], filename_prefix="x")
    ),
    "list": lambda: [1, 2],
    "null": lambda: None,
    "text": lambda: "graph",
    "number": lambda: 5,
}


@pytest.mark.parametrize("name", BAD_GRAPHS)
def test_a_bad_graph_is_refused_in_the_words_that_validate_knows(comfy: ComfyServer, name: str) -> None:
    graph = BAD_GRAPHS[name]()
    # Through JSON, as the server gets it.
    received = json.loads(json.dumps(graph))

    answer = comfy.post("/prompt", {"prompt": graph})

    verdict = validate(
        received,
        comfy.definitions(),
        generation=comfy.generation,
        input_file_exists=lambda file: (comfy.input / file).is_file(),
    )
    assert not verdict.ok
    assert answer.status == verdict.status
    if answer.status == 400:
        assert normal(answer.json) == normal(json.loads(json.dumps(verdict.rejection())))
    elif answer.status == 500:
        assert answer.body == b"500 Internal Server Error\n\nServer got itself in trouble"


def test_a_chain_longer_than_python_recurses_is_refused(comfy: ComfyServer) -> None:
    answer = comfy.post("/prompt", {"prompt": chain(1500)})

    assert answer.status == 400
    assert answer.json["error"]["type"] == "prompt_outputs_failed_validation"
    for entry in answer.json["node_errors"].values():
        for reason in entry["errors"]:
            assert reason["extra_info"]["exception_type"] == "RecursionError"


def test_a_refused_graph_leaves_no_trace(comfy: ComfyServer) -> None:
    listener = comfy.connect()
    listener.next()
    prompt_id = str(uuid.uuid4())

    answer = comfy.post("/prompt", {"prompt": {}, "prompt_id": prompt_id, "client_id": listener.client_id})

    assert answer.status == 400
    assert comfy.get(f"/history/{prompt_id}").json == {}
    assert listener.is_silent_for(0.2)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{not json", 500),
        (b"5", 500),
        (b"[]", 400),
        (b'{"client_id": "x"}', 400),
        (b'{"prompt": {}, "number": "first"}', 500),
    ],
)
def test_a_bad_body_is_no_prompt(comfy: ComfyServer, body: bytes, status: int) -> None:
    answer = comfy.request("POST", "/prompt", body=body)

    assert answer.status == status
    if status == 400:
        assert answer.json == {
            "error": {
                "type": "no_prompt",
                "message": "No prompt provided",
                "details": "No prompt provided",
                "extra_info": {},
            },
            "node_errors": {},
        }


def test_a_good_output_runs_beside_a_bad_one_that_is_left_out(comfy: ComfyServer) -> None:
    graph = with_node(picture_graph(), "4", node("SaveImage", images=["1", 0]))

    answer = comfy.post("/prompt", {"prompt": graph})

    assert answer.status == 200
    (reason,) = answer.json["node_errors"]["4"]["errors"]
    assert reason["type"] == "required_input_missing"
    history = comfy.wait_for_history(answer.json["prompt_id"])
    assert list(history["outputs"]) == ["3"]
    assert history["prompt"][4] == ["3"]


def test_a_container_that_is_none_is_a_problem_at_once_whenever_the_server_looks_at_it(
    comfy: ComfyServer,
) -> None:
    graph = changed(picture_graph(), "3", format="avi")

    answer = comfy.post("/prompt", {"prompt": graph})

    definitions = comfy.definitions()
    verdict = validate(graph, definitions, generation=comfy.generation)
    assert [(each.kind, each.input_name) for each in verdict.problems] == [("value_not_in_list", "format")]
    assert answer.status == verdict.status
    is_dynamic_list = is_dynamic(definitions["SaveVideo"])
    if comfy.generation.unchecked_choices is UncheckedChoices.NONE and not is_dynamic_list:
        assert answer.json["node_errors"]["3"]["errors"][0]["type"] == "value_not_in_list"
        return
    error = comfy.wait_for_history(answer.json["prompt_id"])["status"]["messages"][-1]
    assert error[0] == "execution_error"
    assert error[1]["exception_type"] == ("TypeError" if is_dynamic_list else "ValueError")


def test_values_are_converted_and_unknown_inputs_are_kept(comfy: ComfyServer) -> None:
    graph = changed(picture_graph(), "1", width="64", no_such_input=3)

    _, history = comfy.run(changed(graph, "2", fps=8))

    seen = history["prompt"][2]
    assert seen["1"]["inputs"]["width"] == 64
    assert seen["1"]["inputs"]["no_such_input"] == 3
    assert isinstance(seen["2"]["inputs"]["fps"], float)


def test_a_chain_of_nodes_runs(comfy: ComfyServer) -> None:
    messages, history = comfy.run(chain(100))

    assert history["status"]["status_str"] == "success"
    assert len([kind for kind, _ in messages if kind == "executing"]) == 104


# --- a run --------------------------------------------------------------------------------------------------


def test_the_messages_of_a_run_come_in_their_order(comfy: ComfyServer) -> None:
    listener = comfy.connect()
    greeting = listener.next()
    graph = picture_graph("contract/order/clip")
    prompt_id = comfy.submit(graph, client_id=listener.client_id)

    messages = listener.until_end(prompt_id)

    idle = {"status": {"exec_info": {"queue_remaining": 0}}}
    busy = {"status": {"exec_info": {"queue_remaining": 1}}}
    assert greeting == ("status", {**idle, "sid": listener.client_id})
    assert messages[:2] == [("status", busy), ("status", busy)]
    assert messages[-2:] == [("status", idle), ("executing", {"node": None, "prompt_id": prompt_id})]
    assert kinds(messages) == [
        "status", "status", "execution_start", "execution_cached", "executing", "executing", "executing",
        "executed", "execution_success", "status", "executing",
    ]  # fmt: skip
    begun = [data for kind, data in messages if kind == "executing" and data["node"] is not None]
    assert begun == [{"node": n, "display_node": n, "prompt_id": prompt_id} for n in ("1", "2", "3")]
    for kind in ("execution_start", "execution_cached", "execution_success"):
        (data,) = [data for other, data in messages if other == kind]
        assert data["prompt_id"] == prompt_id
        assert abs(data["timestamp"] / 1000 - time.time()) < 3600
    (cached,) = [data for kind, data in messages if kind == "execution_cached"]
    assert cached["nodes"] == []


def test_progress_state_grows_and_goes_before_executing(comfy: ComfyServer) -> None:
    messages, _ = comfy.run(picture_graph())

    states = [data for kind, data in messages if kind == "progress_state"]
    assert [len(data["nodes"]) for data in states] == [1, 1, 2, 2, 3, 3]
    assert [data["nodes"][n]["state"] for data, n in zip(states, "112233", strict=True)] == [
        "running",
        "finished",
    ] * 3
    prompt_id = states[0]["prompt_id"]
    assert states[0]["nodes"]["1"] == {
        "value": 0.0,
        "max": 1.0,
        "state": "running",
        "node_id": "1",
        "prompt_id": prompt_id,
        "display_node_id": "1",
        "parent_node_id": None,
        "real_node_id": "1",
    }
    order = [kind for kind, _ in messages if kind in {"progress_state", "executing", "executed"}]
    assert order[:3] == ["progress_state", "executing", "progress_state"]
    assert order[-5:] == ["progress_state", "executing", "executed", "progress_state", "executing"]


def test_history_tells_the_prompt_its_outputs_and_its_messages(comfy: ComfyServer) -> None:
    graph = picture_graph("contract/history/clip")

    messages, history = comfy.run(graph, extra_data={"mine": 1})

    number, prompt_id, seen, extra, outputs = history["prompt"]
    assert isinstance(number, int)
    assert seen == graph
    assert extra["mine"] == 1
    assert extra.keys() - {"create_time"} == {"mine", "client_id"}
    assert ("create_time" in extra) is comfy.generation.stamps_prompts
    assert outputs == ["3"]
    file = {"filename": "clip_00001_.mp4", "subfolder": "contract/history", "type": "output"}
    assert history["outputs"] == {"3": {"images": [file], "animated": [True]}}
    (executed,) = [data for kind, data in messages if kind == "executed"]
    assert executed == {
        "node": "3", "display_node": "3", "output": history["outputs"]["3"], "prompt_id": prompt_id,
    }  # fmt: skip
    status = history["status"]
    assert (status["status_str"], status["completed"]) == ("success", True)
    assert status["messages"] == [[kind, data] for kind, data in messages if kind.startswith("execution_")]
    assert history["meta"] == {
        "3": {"node_id": "3", "display_node": "3", "parent_node": None, "real_node_id": "3"}
    }


def test_history_has_the_run_when_the_end_is_told(comfy: ComfyServer) -> None:
    for _ in range(10):
        graph = picture_graph(frames=1)
        _, history = comfy.run(graph)

        assert history["status"]["completed"] is True


def test_history_of_an_unknown_or_queued_prompt_is_empty(comfy: ComfyServer) -> None:
    assert comfy.get(f"/history/{uuid.uuid4()}").json == {}


def test_history_is_listed_in_parts_and_can_be_forgotten(comfy: ComfyServer) -> None:
    comfy.post("/history", {"clear": True})
    ids = [comfy.submit(picture_graph(frames=1)) for _ in range(3)]
    for prompt_id in ids:
        comfy.wait_for_history(prompt_id)

    assert list(comfy.get("/history").json) == ids
    assert list(comfy.get("/history?max_items=2").json) == ids[1:]
    assert list(comfy.get("/history?max_items=1&offset=0").json) == ids[:1]
    assert comfy.post("/history", {"delete": [ids[1]]}).body == b""
    assert list(comfy.get("/history").json) == [ids[0], ids[2]]
    assert comfy.post("/history", {"clear": True}).status == 200
    assert comfy.get("/history").json == {}


def test_a_sampler_tells_its_steps_and_shows_previews(comfy: ComfyServer) -> None:
    listener = comfy.connect(flags={"supports_preview_metadata": True})
    greeting = [listener.next(), listener.next()]
    graph = wan_graph(comfy)
    prompt_id = comfy.submit(graph, client_id=listener.client_id)

    messages = listener.until_end(prompt_id)

    assert [kind for kind, _ in greeting] == ["status", "feature_flags"]
    assert greeting[1][1] == comfy.get("/features").json
    steps = [data for kind, data in messages if kind == "progress"]
    assert [(d["node"], d["value"], d["max"]) for d in steps] == [
        ("57", 1, 2), ("57", 2, 2), ("58", 1, 2), ("58", 2, 2),
    ]  # fmt: skip
    assert all(data.keys() == {"value", "max", "prompt_id", "node"} for data in steps)
    previews = [data for kind, data in messages if kind == "binary"]
    assert len(previews) == 4
    event, length = struct.unpack(">II", previews[0][:8])
    assert event == 4
    assert json.loads(previews[0][8 : 8 + length]) == {
        "node_id": "57", "prompt_id": prompt_id, "display_node_id": "57", "parent_node_id": None,
        "real_node_id": "57", "image_type": "image/jpeg",
    }  # fmt: skip
    assert Image.open(io.BytesIO(previews[0][8 + length :])).format == "JPEG"
    around = [kind for kind, _ in messages if kind in {"progress", "binary"}]
    assert around == ["binary", "progress"] * 4
    begun = [data["node"] for kind, data in messages if kind == "executing"]
    assert begun == ["39", "59", "38", "7", "6", "37", "54", "57", "56", "55", "58", "8", "60", "61", None]


def test_previews_without_metadata_go_to_those_who_did_not_ask(comfy: ComfyServer) -> None:
    messages, _ = comfy.run(wan_graph(comfy))

    previews = [data for kind, data in messages if kind == "binary"]
    assert struct.unpack(">II", previews[0][:8]) == (1, 1)
    assert Image.open(io.BytesIO(previews[0][8:])).format == "JPEG"
    assert [kind for kind, _ in messages if kind in {"progress", "binary"}] == ["progress", "binary"] * 4


# --- what is saved ------------------------------------------------------------------------------------------


def test_a_saved_video_is_a_video_of_the_asked_size_length_and_pace(comfy: ComfyServer) -> None:
    comfy.run(picture_graph("contract/facts/clip", frames=11, width=96, height=64))

    path = comfy.output / "contract/facts/clip_00001_.mp4"
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height, stream.frames) == (96, 64, 11)
        assert stream.average_rate == 8
        assert sum(1 for _ in container.decode(video=0)) == 11
        assert json.loads(container.metadata["prompt"])["2"]["class_type"] == "CreateVideo"


def test_numbers_go_on_from_the_highest_that_is_there(comfy: ComfyServer) -> None:
    def save() -> str:
        _, history = comfy.run(picture_graph("contract/numbers/clip", frames=1))
        return str(history["outputs"]["3"]["images"][0]["filename"])

    names = [save(), save()]
    (comfy.output / "contract/numbers/clip_00002_.mp4").unlink()
    (comfy.output / "contract/numbers/clip_00007_.txt").write_text("")

    assert names == ["clip_00001_.mp4", "clip_00002_.mp4"]
    assert save() == "clip_00008_.mp4"


@pytest.mark.parametrize(
    ("saver", "extension"),
    [
        (
            lambda: node(
                "SaveWEBM", images=["1", 0], filename_prefix="kinds/x", codec="vp9", fps=8.0, crf=40.0
            ),
            "webm",
        ),
        (
            lambda: node(
                "SaveAnimatedWEBP", images=["1", 0], filename_prefix="kinds/x", fps=8.0, lossless=False,
                quality=50, method="fastest",
            ),
            "webp",
        ),
    ],
)  # fmt: skip
def test_other_clips_are_named_as_animated_images(
    comfy: Any, saver: Callable[[], Any], extension: str
) -> None:
    graph = {"1": picture_graph()["1"], "3": saver()}

    _, history = comfy.run(graph)

    shown = history["outputs"]["3"]
    (file,) = shown["images"]
    assert shown["animated"] == [True]
    assert (file["subfolder"], file["type"]) == ("kinds", "output")
    assert file["filename"].endswith(f"_.{extension}")
    assert (comfy.output / "kinds" / file["filename"]).stat().st_size > 100


def test_pictures_are_named_one_by_one_and_previews_are_temporary(comfy: ComfyServer) -> None:
    graph = {
        "1": picture_graph(frames=3)["1"],
        "3": node("SaveImage", images=["1", 0], filename_prefix="pictures/x"),
        "4": node("PreviewImage", images=["1", 0]),
    }

    _, history = comfy.run(graph)

    saved = history["outputs"]["3"]["images"]
    assert [file["filename"] for file in saved] == [f"x_{n:05}_.png" for n in (1, 2, 3)]
    assert {(file["subfolder"], file["type"]) for file in saved} == {("pictures", "output")}
    shown = history["outputs"]["4"]["images"]
    assert [(file["subfolder"], file["type"]) for file in shown] == [("", "temp")] * 3
    answer = comfy.get(f"/view?filename={shown[0]['filename']}&type=temp")
    assert Image.open(io.BytesIO(answer.body)).size == (64, 48)


def test_video_helper_suite_names_its_clip_under_gifs_and_tells_progress(comfy: ComfyServer) -> None:
    if "VHS_VideoCombine" not in comfy.definitions():
        pytest.skip("VideoHelperSuite is not installed")
    graph = {
        "1": picture_graph()["1"],
        "3": node(
            "VHS_VideoCombine", images=["1", 0], frame_rate=8.0, loop_count=0, filename_prefix="vhs/clip",
            format="video/h264-mp4", pingpong=False, save_output=True, pix_fmt="yuv420p", crf=19,
        ),
    }  # fmt: skip

    messages, history = comfy.run(graph)

    (file,) = history["outputs"]["3"]["gifs"]
    assert file == {
        "filename": "clip_00001.mp4", "subfolder": "vhs", "type": "output", "format": "video/h264-mp4",
        "frame_rate": 8.0, "workflow": "clip_00001.png", "fullpath": str(comfy.output / "vhs/clip_00001.mp4"),
    }  # fmt: skip
    assert (comfy.output / "vhs/clip_00001.png").is_file()
    with av.open(file["fullpath"]) as container:
        assert sum(1 for _ in container.decode(video=0)) == 5
    steps = [data["value"] for kind, data in messages if kind == "progress"]
    assert steps[-1] == 5
    assert steps == sorted(steps)


def test_a_prefix_that_leaves_the_output_folder_fails_when_it_is_saved(comfy: ComfyServer) -> None:
    messages, history = comfy.run(picture_graph("../outside"))

    kind, error = history["status"]["messages"][-1]
    assert (kind, error["node_id"], error["exception_type"]) == ("execution_error", "3", "Exception")
    assert "Saving image outside the output folder is not allowed" in error["exception_message"]
    assert not list(comfy.output.parent.glob("outside*"))
    assert messages[-1][0] == "executing"


def test_files_are_served_whole_and_in_parts(comfy: ComfyServer) -> None:
    comfy.run(picture_graph("contract/view/clip"))
    path = "/view?filename=clip_00001_.mp4&subfolder=contract/view"
    content = (comfy.output / "contract/view/clip_00001_.mp4").read_bytes()

    whole, part = comfy.get(path), comfy.get(path, headers={"Range": "bytes=4-11"})

    assert (whole.status, whole.body, whole.headers["Content-Type"]) == (200, content, "video/mp4")
    assert (part.status, part.body) == (206, content[4:12])


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 404),
        ("filename=no_such.mp4", 404),
        ("filename=../x.mp4", 400),
        ("filename=/etc/passwd", 400),
        ("filename=x.mp4&type=secret", 400),
        ("filename=x.mp4&subfolder=../..", 403),
    ],
)
def test_what_is_no_file_of_the_server_is_refused(comfy: ComfyServer, query: str, status: int) -> None:
    assert comfy.get(f"/view?{query}").status == status


def _png(colour: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (24, 16), (colour % 256, colour // 256 % 256, 7)).save(buffer, "PNG")
    return buffer.getvalue()


def _upload(comfy: ComfyServer, name: str, content: bytes, **fields: str) -> Any:
    return comfy.request("POST", "/upload/image", fields={"image": (name, content), **fields})


def test_an_uploaded_picture_can_be_loaded(comfy: ComfyServer) -> None:
    answer = _upload(comfy, "start.png", _png(1), subfolder="sub")

    assert answer.json == {"name": "start.png", "subfolder": "sub", "type": "input"}
    graph = {
        "1": node("LoadImage", image="sub/start.png"),
        "3": node("SaveImage", images=["1", 0], filename_prefix=a_prefix()),
    }
    _, history = comfy.run(graph)
    (file,) = history["outputs"]["3"]["images"]
    with Image.open(comfy.output / file["subfolder"] / file["filename"]) as picture:
        assert picture.size == (24, 16)


def test_an_upload_takes_another_name_when_there_is_another_file(comfy: ComfyServer) -> None:
    _upload(comfy, "same.png", _png(2))

    assert _upload(comfy, "same.png", _png(2)).json["name"] == "same.png"
    assert _upload(comfy, "same.png", _png(3)).json["name"] == "same (1).png"
    assert _upload(comfy, "same.png", _png(4), overwrite="true").json["name"] == "same.png"
    assert (comfy.input / "same.png").read_bytes() == _png(4)


# --- the cache ----------------------------------------------------------------------------------------------


def test_the_same_graph_again_runs_nothing_and_names_the_old_file(comfy: ComfyServer) -> None:
    graph = picture_graph()
    _, first = comfy.run(graph)
    (file,) = first["outputs"]["3"]["images"]
    (comfy.output / file["subfolder"] / file["filename"]).unlink()

    messages, second = comfy.run(graph)

    assert kinds(messages) == [
        "status", "status", "execution_start", "execution_cached", "executed", "execution_success", "status",
        "executing",
    ]  # fmt: skip
    (cached,) = [data for kind, data in messages if kind == "execution_cached"]
    assert cached["nodes"] == ["1", "2", "3"]
    (state,) = [data["nodes"] for kind, data in messages if kind == "progress_state"]
    assert [(n, s["state"]) for n, s in state.items()] == [("3", "finished")]
    assert second["outputs"] == first["outputs"]
    assert comfy.get(f"/view?filename={file['filename']}&subfolder={file['subfolder']}").status == 404


def test_another_prefix_runs_only_the_node_that_saves(comfy: ComfyServer) -> None:
    graph = picture_graph()
    comfy.run(graph)

    messages, _ = comfy.run(changed(graph, "3", filename_prefix=a_prefix()))

    (cached,) = [data for kind, data in messages if kind == "execution_cached"]
    assert cached["nodes"] == ["1", "2"]
    assert [data["node"] for kind, data in messages if kind == "executing"] == ["3", None]


def test_only_the_last_graph_is_remembered(comfy: ComfyServer) -> None:
    graph = picture_graph()
    comfy.run(graph)
    comfy.run(picture_graph())

    messages, _ = comfy.run(graph)

    (cached,) = [data for kind, data in messages if kind == "execution_cached"]
    assert cached["nodes"] == []


def test_free_memory_forgets_what_was_computed(comfy: ComfyServer) -> None:
    graph = picture_graph()
    comfy.run(graph)

    assert comfy.post("/free", {"unload_models": True, "free_memory": True}).status == 200
    until = time.monotonic() + 20
    cached = ["1"]
    while cached and time.monotonic() < until:  # acted on a moment after the answer
        messages, _ = comfy.run(graph)
        (cached,) = [data["nodes"] for kind, data in messages if kind == "execution_cached"]
        comfy.post("/free", {"free_memory": True})
        time.sleep(0.05)

    assert cached == []


def test_two_nodes_that_do_the_same_are_run_once(comfy: ComfyServer) -> None:
    graph = picture_graph()
    graph["4"] = copy.deepcopy(graph["1"])
    graph["5"] = node("SaveImage", images=["4", 0], filename_prefix=a_prefix())

    messages, history = comfy.run(graph)

    assert history["outputs"].keys() == {"3", "5"}
    begun = {data["node"] for kind, data in messages if kind == "executing"}
    assert len(begun & {"1", "4"}) == 1


# --- errors, interrupts and the queue -----------------------------------------------------------------------


def test_a_node_that_fails_ends_the_run_with_an_error_and_then_the_end(comfy: ComfyServer) -> None:
    graph = with_node(picture_graph("../x"), "4", node("PreviewImage", images=["1", 0]))

    messages, history = comfy.run(graph)

    assert kinds(messages)[-3:] == ["execution_error", "status", "executing"]
    (error,) = [data for kind, data in messages if kind == "execution_error"]
    assert error.keys() == {
        "prompt_id", "node_id", "node_type", "executed", "exception_message", "exception_type", "traceback",
        "current_inputs", "current_outputs", "timestamp",
    }  # fmt: skip
    assert (error["node_id"], error["node_type"]) == ("3", "SaveVideo")
    assert set(error["executed"]) >= {"1", "2"}
    assert error["exception_message"].endswith("\n")
    assert error["current_inputs"]["filename_prefix"] == ["../x"]
    assert sorted(error["current_outputs"]) == ["1", "2", "3", "4"]
    assert all(isinstance(line, str) for line in error["traceback"])
    status = history["status"]
    assert (status["status_str"], status["completed"]) == ("error", False)
    assert status["messages"][-1] == ["execution_error", error]


def test_a_prompt_id_of_the_clients_own_is_taken_and_may_be_used_twice(comfy: ComfyServer) -> None:
    prompt_id = str(uuid.uuid4())
    listener = comfy.connect()
    listener.next()
    for name in ("first", "second"):
        answer = comfy.post(
            "/prompt",
            {
                "prompt": picture_graph(f"contract/{name}/clip"),
                "prompt_id": prompt_id,
                "client_id": listener.client_id,
            },
        )
        assert answer.json["prompt_id"] == prompt_id
        listener.until_end(prompt_id)

    seen = comfy.get("/history").json[prompt_id]
    assert seen["outputs"]["3"]["images"][0]["subfolder"] == "contract/second"


def test_the_queue_shows_what_runs_and_what_waits_in_order(comfy: ComfyServer) -> None:
    running = hold(comfy)
    second = comfy.submit(picture_graph())
    third = comfy.submit(picture_graph())
    urgent = comfy.submit(picture_graph(), front=True)
    most_urgent = comfy.submit(picture_graph(), number=-1e6)

    queue = comfy.get("/queue").json

    assert [item[1] for item in queue["queue_running"]] == [running]
    assert [item[1] for item in queue["queue_pending"]] == [most_urgent, urgent, second, third]
    number, prompt_id, graph, extra, outputs = queue["queue_pending"][0]
    assert (number, prompt_id, outputs) == (-1e6, most_urgent, ["3"])
    assert graph["1"]["class_type"] == "EmptyImage"
    assert extra.keys() <= {"create_time"}
    assert comfy.get("/prompt").json == {"exec_info": {"queue_remaining": 5}}
    assert comfy.get(f"/history/{second}").json == {}


def test_a_deleted_prompt_is_gone_without_a_word_and_the_running_one_stays(comfy: ComfyServer) -> None:
    running = hold(comfy)
    listener = comfy.connect()
    listener.next()
    waiting = comfy.submit(picture_graph(), client_id=listener.client_id)

    answer = comfy.post("/queue", {"delete": [waiting, running, "unknown"]})

    assert (answer.status, answer.body) == (200, b"")
    assert [item[1] for item in comfy.get("/queue").json["queue_running"]] == [running]
    assert comfy.get("/queue").json["queue_pending"] == []
    assert comfy.get(f"/history/{waiting}").json == {}
    assert {kind for kind, _ in listener.heard} <= {"status", "progress", "progress_state", "binary"}


def test_an_interrupt_ends_the_run_that_it_names(comfy: ComfyServer) -> None:
    listener = comfy.connect()
    listener.next()
    prompt_id = hold(comfy, client_id=listener.client_id)
    listener.until(lambda message: message[0] == "progress")

    comfy.post("/interrupt", {"prompt_id": "another"})
    listener.until(lambda message: message[0] == "progress")
    answer = comfy.post("/interrupt", {"prompt_id": prompt_id})
    messages = listener.until_end(prompt_id)

    assert (answer.status, answer.body) == (200, b"")
    assert kinds(messages, without=("progress", "progress_state", "binary")) == [
        "execution_interrupted", "status", "executing",
    ]  # fmt: skip
    (data,) = [data for kind, data in messages if kind == "execution_interrupted"]
    assert data.keys() == {"prompt_id", "node_id", "node_type", "executed", "timestamp"}
    assert (data["prompt_id"], data["node_id"], data["node_type"]) == (prompt_id, "57", "KSamplerAdvanced")
    assert isinstance(data["executed"], list)
    status = comfy.history(prompt_id)["status"]
    assert (status["status_str"], status["completed"]) == ("error", False)
    assert status["messages"][-1] == ["execution_interrupted", data]


def test_an_interrupt_without_a_body_ends_whatever_runs(comfy: ComfyServer) -> None:
    listener = comfy.connect()
    prompt_id = hold(comfy, client_id=listener.client_id)
    # An interrupt that comes while the run begins is lost: the server clears the flag when it starts.
    listener.until(lambda message: message[0] == "progress")

    assert comfy.request("POST", "/interrupt").status == 200

    history = comfy.wait_for_history(prompt_id)
    assert history["status"]["messages"][-1][0] == "execution_interrupted"


def test_an_interrupt_of_an_idle_server_does_no_harm(comfy: ComfyServer) -> None:
    comfy.post("/interrupt", {})

    _, history = comfy.run(picture_graph())

    assert history["status"]["status_str"] == "success"


# --- sockets ------------------------------------------------------------------------------------------------


def test_a_prompt_without_a_client_is_heard_by_all_in_part(comfy: ComfyServer) -> None:
    bystander = comfy.connect()
    bystander.next()
    prompt_id = comfy.submit(wan_graph(comfy))
    comfy.wait_for_history(prompt_id)

    heard = bystander.until(lambda message: message[1] == {"status": {"exec_info": {"queue_remaining": 0}}})

    assert {kind for kind, _ in heard} == {"status", "progress_state", "progress", "binary"}


def test_a_prompt_is_told_only_to_its_client(comfy: ComfyServer) -> None:
    bystander = comfy.connect()
    bystander.next()

    comfy.run(picture_graph())

    heard = bystander.until(lambda message: message[1] == {"status": {"exec_info": {"queue_remaining": 0}}})
    assert {kind for kind, _ in heard} == {"status"}


def test_of_two_sockets_of_one_client_the_newer_hears_until_the_older_closes(comfy: ComfyServer) -> None:
    older = comfy.connect()
    older.next()
    newer = comfy.connect(older.client_id)
    newer.next()
    first = comfy.submit(picture_graph(), client_id=older.client_id)
    newer.until_end(first)

    assert older.is_silent_for(0.1)
    older.close()
    second = comfy.submit(picture_graph(), client_id=older.client_id)
    comfy.wait_for_history(second)

    assert newer.is_silent_for(0.2)


def test_a_client_that_comes_back_is_told_the_node_in_hand_and_nothing_of_the_past(
    comfy: ComfyServer,
) -> None:
    listener = comfy.connect()
    listener.next()
    prompt_id = hold(comfy, client_id=listener.client_id)
    listener.until(lambda message: message[0] == "progress")
    listener.close()
    time.sleep(0.2)  # the server has to notice that the socket closed

    again = comfy.connect(listener.client_id)
    greeting = [again.next(), again.next()]
    comfy.post("/interrupt", {"prompt_id": prompt_id})
    rest = again.until_end(prompt_id)

    assert greeting == [
        ("status", {"status": {"exec_info": {"queue_remaining": 1}}, "sid": listener.client_id}),
        ("executing", {"node": "57"}),
    ]
    assert "execution_start" not in {kind for kind, _ in rest}


def test_a_client_that_comes_back_too_late_is_told_nothing(comfy: ComfyServer) -> None:
    listener = comfy.connect()
    listener.next()
    listener.close()
    prompt_id = comfy.submit(picture_graph(), client_id=listener.client_id)
    comfy.wait_for_history(prompt_id)

    again = comfy.connect(listener.client_id)

    assert again.next()[0] == "status"
    assert again.is_silent_for(0.2)


def test_a_client_without_an_id_is_given_one(comfy: ComfyServer) -> None:
    socket = websocket.create_connection(f"ws://{comfy.address}/ws", timeout=20)
    greeting = json.loads(socket.recv())
    socket.send("this is no JSON")
    socket.ping()

    assert len(greeting["data"]["sid"]) == 32
    assert comfy.get("/prompt").status == 200
    socket.shutdown()  # type: ignore[no-untyped-call]


# --- the process --------------------------------------------------------------------------------------------


def test_sigterm_ends_the_server_at_once(own_comfy: ComfyServer) -> None:
    own_comfy.process.send_signal(signal.SIGTERM)

    assert own_comfy.process.wait(timeout=60) == -signal.SIGTERM


def test_a_taken_port_ends_the_second_server_with_an_error(own_comfy: ComfyServer, tmp_path: Path) -> None:
    arguments = own_comfy.process.args

    second = subprocess.run(
        arguments, cwd=os.environ.get("COMFYUI_DIR") if not own_comfy.is_emulator else None,
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip

    assert second.returncode == 1
    assert re.search(rb"already in use", second.stdout + second.stderr)
    assert own_comfy.get("/prompt").status == 200


@pytest.mark.parametrize("generation", [str(each) for each in GENERATIONS])
def test_help_lists_the_flags_of_the_generation(generation: str) -> None:
    command = [sys.executable, "-m", "comfy.emulator", "--generation", generation, "--help"]

    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout

    flags = {word.strip("[],|") for word in text.split() if word.startswith(("--", "[--"))}
    assert {
        "--lowvram",
        "--novram",
        "--highvram",
        "--reserve-vram",
        "--cpu",
        "--base-directory",
    } <= flags
    assert ("--cache-ram" in flags) is (generation != "0.3.64")
    assert ("--disable-pinned-memory" in flags) is (generation != "0.3.64")
    assert ("--normalvram" in flags) is (generation != "0.33.0")
    assert ("--disable-dynamic-vram" in flags) is (generation == "0.33.0")
