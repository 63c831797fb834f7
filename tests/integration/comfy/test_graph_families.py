"""Graphs as people have them run on the emulator to a clip, whatever nodes they are made of."""

from __future__ import annotations

import json
import wave
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final, Protocol

import av
import pytest
from PIL import Image

from comfy.node_defs.definitions import shipped_definitions
from comfy.node_defs.later_inputs import with_later_inputs
from comfy.protocol.client import ComfyClient
from comfy.protocol.events import Event, Progress
from comfy.protocol.outputs import OutputFile, locate
from comfy.ui.load import load_any
from tests.support.model_inputs import model_inputs

_FOLDER: Final = Path(__file__).parents[2] / "data" / "graphs"
_SIDE: Final = 64  # px: what is drawn small is encoded quickly
_FRAMES: Final = 9
_SOUND_S: Final = 1

# What comes out of each graph when it is made small: key in the history, frames, frames per second.
_MADE: Final[dict[str, tuple[str, int, float]]] = {
    "core_t2v_a14b": ("images", 9, 16),
    "core_t2v_a14b_subgraph.ui": ("images", 9, 16),
    "core_i2v_a14b_lightning": ("images", 9, 16),
    "core_i2v_six_steps_dotted_codec": ("images", 9, 16),
    "core_flf2v_lightning": ("images", 9, 16),
    "core_flf2v_lightning.ui": ("images", 9, 16),
    "core_ti2v_5b": ("images", 9, 24),
    # Two chunks of 3 latents are 6, which are 21 frames; the graph drops the first 3.
    "core_s2v_two_chunks": ("images", 18, 16),
    "core_vace_reference": ("images", 9, 16),
    "core_i2v_wan21_clip_vision": ("images", 9, 16),
    "distorch2_double_unet": ("images", 9, 16),
    "gguf_rife_script": ("gifs", 17, 32),
    "wrapper_i2v_a14b_context_windows": ("gifs", 9, 16),
    "wrapper_i2v_a14b_context_windows.ui": ("gifs", 9, 16),
    "wrapper_infinitetalk_single": ("gifs", 25 * _SOUND_S, 25),  # as long as the sound
    "multigpu_wrapper_i2v_a14b_gguf": ("gifs", 9, 16),
}


class Server(Protocol):
    url: str
    output: Path


def graph_of(name: str) -> dict[str, Any]:
    """The graph, made small, and for a machine without a card."""
    graph = load_any((_FOLDER / f"{name}.json").read_bytes(), shipped_definitions).graph
    for node in graph.values():
        inputs = node["inputs"]
        inputs.update({each: "cpu" for each, value in inputs.items() if value == "cuda:0"})
        title = node.get("_meta", {}).get("title", "")
        for side in {"width", "height"} & inputs.keys():
            inputs[side] = inputs[side] if isinstance(inputs[side], list) else _SIDE
        for length in {"length", "num_frames"} & inputs.keys():
            is_whole_clip = node["class_type"] == "ImageFromBatch" or isinstance(inputs[length], list)
            inputs[length] = inputs[length] if is_whole_clip else _FRAMES
        if title in ("Width", "Height"):
            inputs["value"] = _SIDE
        if title == "Chunk length":
            inputs["value"] = _FRAMES
    return graph


def named_files(graph: dict[str, Any]) -> Iterator[str]:
    """The model files that a graph names, as the emulator is told of them: folder/name."""
    for node in graph.values():
        for name, value in node["inputs"].items():
            folders = model_inputs().get((node["class_type"], name), ())
            if isinstance(value, str) and value != "none" and folders != ("devices",):
                is_gguf = value.endswith(".gguf")
                yield from (f"{each}/{value}" for each in folders if each.endswith("_gguf") == is_gguf)


@pytest.fixture(scope="module")
def server(start_lasting_emulator: Callable[..., Server]) -> Server:
    models = sorted({file for name in _MADE for file in named_files(graph_of(name))})
    server = start_lasting_emulator("--models", *models, "--step-seconds", "0", "--load-seconds", "0")
    inputs = server.output.parent / "input"
    for name in ("harbour", "harbour_evening", "baker", "tram", "violinist", "robot"):
        Image.new("RGB", (96, 64), (40, 80, 120)).save(inputs / f"{name}.png")
    for name in ("baker", "violin"):
        with wave.open(str(inputs / f"{name}.wav"), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(8000)
            sound.writeframes(bytes(2 * 8000 * _SOUND_S))
    return server


def test_every_graph_of_the_folder_is_run() -> None:
    assert set(_MADE) == {path.name.removesuffix(".json") for path in _FOLDER.glob("*.json")}


@pytest.mark.parametrize("name", _MADE)
def test_a_graph_ends_in_a_clip_of_its_length(server: Server, name: str) -> None:
    key, frames, fps = _MADE[name]

    with closing(ComfyClient(server.url)) as client:
        graph = with_later_inputs(graph_of(name), shipped_definitions())  # as a worker would
        run = client.run(graph, time_limit_s=60)

    made = next(file for file in run.outputs if file.key == key)
    assert len_of(made, locate(server.output, made)) == (frames, fps)


def len_of(file: OutputFile, path: Path) -> tuple[int, float]:
    """Frames, and frames in a second."""
    if path.suffix == ".webp":
        with Image.open(path) as picture:
            count: int = getattr(picture, "n_frames", 1)
            return count, 16  # a WEBP keeps no rate but each picture's duration
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        rate = stream.average_rate
        assert rate is not None
        return sum(1 for _ in container.decode(stream)), float(rate)


def test_a_sampler_of_the_wrapper_tells_its_steps(server: Server) -> None:
    graph = graph_of("multigpu_wrapper_i2v_a14b_gguf")
    graph["22"]["inputs"]["filename_prefix"] = "told"
    graph["19"]["inputs"]["seed"] = 44  # not answered from cache
    told: list[Event] = []

    with closing(ComfyClient(server.url)) as client:
        client.run(graph, time_limit_s=60, on_event=lambda _, event: told.append(event))

    steps = {(event.node, event.value, event.maximum) for event in told if isinstance(event, Progress)}
    assert {("19", 3, 3), ("20", 3, 3)} <= steps


def test_the_emulator_tells_the_nodes_that_the_packs_bring(server: Server) -> None:
    with closing(ComfyClient(server.url)) as client:
        known = client.object_info()

    classes = {node["class_type"] for name in _MADE for node in graph_of(name).values()}
    assert classes <= known.keys()
    assert json.dumps(known["WanVideoSampler"])
