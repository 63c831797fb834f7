"""Graphs for the contract of a ComfyUI server, and what its tests share."""

from __future__ import annotations

import copy
import itertools
import json
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.contract.conftest import ComfyServer

Graph = dict[str, dict[str, Any]]

_colours = itertools.count(int(time.time() * 1000) % 10_000_000)

HIGH = "wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors"
LOW = "wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors"
ENCODER = "umt5_xxl_fp8_e4m3fn_scaled.safetensors"
VAE = "wan_2.1_vae.safetensors"


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def picture_graph(prefix: str | None = None, *, frames: int = 5, width: int = 64, height: int = 48) -> Graph:
    """A clip of one colour: runs without any model, and never twice the same."""
    return {
        "1": node("EmptyImage", width=width, height=height, batch_size=frames, color=next(_colours)),
        "2": node("CreateVideo", images=["1", 0], fps=8.0),
        "3": node(
            "SaveVideo", video=["2", 0], filename_prefix=prefix or a_prefix(), format="auto", codec="auto"
        ),
    }


def a_prefix() -> str:
    return f"contract/{uuid.uuid4().hex}/clip"


def wan_graph(comfy: ComfyServer, *, steps: int = 4, size: int = 64, frames: int = 9) -> Graph:
    """The two-stage WAN 2.2 graph, for servers that have the official file names."""
    files = comfy.get("/models/diffusion_models").json
    if HIGH not in files or LOW not in files:
        pytest.skip("the server has no WAN 2.2 model")
    sampler = {"steps": steps, "cfg": 3.5, "sampler_name": "euler", "scheduler": "simple"}
    conditioning = {"positive": ["6", 0], "negative": ["7", 0]}
    return {
        "37": node("UNETLoader", unet_name=HIGH, weight_dtype="default"),
        "56": node("UNETLoader", unet_name=LOW, weight_dtype="default"),
        "38": node("CLIPLoader", clip_name=ENCODER, type="wan", device="default"),
        "39": node("VAELoader", vae_name=VAE),
        "6": node("CLIPTextEncode", text="a red fox in the snow", clip=["38", 0]),
        "7": node("CLIPTextEncode", text="blurry", clip=["38", 0]),
        "54": node("ModelSamplingSD3", shift=8.0, model=["37", 0]),
        "55": node("ModelSamplingSD3", shift=8.0, model=["56", 0]),
        "59": node("EmptyHunyuanLatentVideo", width=size, height=size, length=frames, batch_size=1),
        "57": node(
            "KSamplerAdvanced", model=["54", 0], add_noise="enable",
            noise_seed=next(_colours), start_at_step=0, end_at_step=steps // 2,
            return_with_leftover_noise="enable", **sampler, **conditioning, latent_image=["59", 0],
        ),
        "58": node(
            "KSamplerAdvanced", model=["55", 0], add_noise="disable", noise_seed=0,
            start_at_step=steps // 2, end_at_step=10000, return_with_leftover_noise="disable",
            **sampler, **conditioning, latent_image=["57", 0],
        ),
        "8": node("VAEDecode", samples=["58", 0], vae=["39", 0]),
        "60": node("CreateVideo", fps=16.0, images=["8", 0]),
        "61": node("SaveVideo", filename_prefix=a_prefix(), format="auto", codec="auto", video=["60", 0]),
    }  # fmt: skip


def kinds(messages: list[Any], *, without: tuple[str, ...] = ("progress_state",)) -> list[str]:
    return [kind for kind, _ in messages if kind not in without]


def changed(graph: Graph, node_id: str, **inputs: Any) -> Graph:
    graph[node_id]["inputs"].update(inputs)
    return graph


def without_input(graph: Graph, node_id: str, name: str) -> Graph:
    del graph[node_id]["inputs"][name]
    return graph


def with_node(graph: Graph, node_id: str, value: Any) -> Any:
    return {**graph, node_id: value}


def sampler(**inputs: Any) -> Graph:
    """A sampler whose inputs are all of the wrong type: enough to look at what is said of a number."""
    given = {
        "model": ["1", 0], "add_noise": "enable", "noise_seed": 1, "steps": 4, "cfg": 1.0,
        "sampler_name": "euler", "scheduler": "simple", "positive": ["1", 0], "negative": ["1", 0],
        "latent_image": ["9", 0], "start_at_step": 0, "end_at_step": 4,
        "return_with_leftover_noise": "disable",
    }  # fmt: skip
    given.update(inputs)
    latent = node("EmptyHunyuanLatentVideo", width=64, height=64, length=5, batch_size=1)
    decode = node("VAEDecode", samples=["8", 0], vae=["8", 0])
    return {**picture_graph(), "9": latent, "8": node("KSamplerAdvanced", **given), "7": decode} | {
        "3": node("SaveImage", images=["7", 0], filename_prefix="x")
    }


def first_picture(source: str) -> dict[str, Any]:
    return node("ImageFromBatch", image=[source, 0], batch_index=0, length=1)


def chain(length: int) -> Graph:
    graph = picture_graph()
    previous = "1"
    for number in range(10, 10 + length):
        graph[str(number)] = first_picture(previous)
        previous = str(number)
    graph["2"]["inputs"]["images"] = [previous, 0]
    return graph


def normal(body: Any) -> Any:
    """An answer without what may differ from run to run: tracebacks, and orders that come from sets."""
    body = copy.deepcopy(body)
    error = body.get("error")
    if error is not None:
        error["details"] = sorted(error["details"].split("\n"))
        drop_traceback(error)
    entries = body.get("node_errors", {}).values()
    several_outputs = len({output for entry in entries for output in entry["dependent_outputs"]}) > 1
    for entry in entries:
        if several_outputs:  # then it depends on which of them was looked at first
            assert entry.pop("dependent_outputs")
        for reason in entry["errors"]:
            drop_traceback(reason)
        entry["errors"].sort(key=json.dumps)
    return body


def drop_traceback(reason: dict[str, Any]) -> None:
    lines = reason["extra_info"].pop("traceback", None)
    assert lines is None or all(isinstance(line, str) for line in lines)


def hold(comfy: ComfyServer, **more: Any) -> str:
    """Queue a prompt that runs for a while."""
    graph = wan_graph(comfy, steps=400, size=128, frames=17)
    prompt_id = comfy.submit(graph, **more)
    until = time.monotonic() + 30
    while not [item for item in comfy.get("/queue").json["queue_running"] if item[1] == prompt_id]:
        assert time.monotonic() < until
        time.sleep(0.01)
    return str(prompt_id)
