"""No prompt is in what a farm publishes, whichever node wrote it: on the emulator, and on a real ComfyUI.

The worker lets its ComfyUI write metadata, so every saver does; a job that keeps them shows that.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from farm.handle import Job
from farm.job import Artifact
from tests.support.environment import real_comfyui_named
from tests.support.secrets_in_files import SECRET, has_secret
from tests.support.whole_farm import WholeFarm, WorkerProcess

_RENDER_S: Final = 240.0  # of the first job of a real ComfyUI on a CPU, from a cold page cache
_VHS: Final[Mapping[str, dict[str, Any]]] = {
    "video/h264-mp4": {"pix_fmt": "yuv420p", "crf": 19, "save_metadata": True, "trim_to_audio": False},
    "video/h265-mp4": {"pix_fmt": "yuv420p", "crf": 22, "save_metadata": True},
    "video/webm": {"pix_fmt": "yuv420p", "crf": 20, "save_metadata": True, "trim_to_audio": False},
    "video/av1-webm": {
        "pix_fmt": "yuv420p10le",
        "crf": 23,
        "input_color_depth": "8bit",
        "save_metadata": True,
    },
    "video/ProRes": {"profile": "lt"},
    "video/ffv1-mkv": {"pix_fmt": "yuv420p", "level": "3", "save_metadata": True, "trim_to_audio": False},
    "video/8bit-png": {},
    "video/16bit-png": {},
    "image/gif": {},
    "image/webp": {"lossless": True},
}
# Name -> class of the node that saves, its inputs, and what it draws on.
_SAVERS: Final[Mapping[str, tuple[str, dict[str, Any], str]]] = {
    "mp4": ("SaveVideo", {"format": "mp4", "codec": "h264"}, "video"),
    "mkv": ("SaveVideo", {"format": "mkv", "format.codec": "h264"}, "video"),
    "av1 in webm": ("SaveVideo", {"format": "webm", "format.codec": "av1"}, "video"),
    "webm of VP9": ("SaveWEBM", {"codec": "vp9", "fps": 8.0, "crf": 32.0}, "images"),
    "webm of AV1": ("SaveWEBM", {"codec": "av1", "fps": 8.0, "crf": 32.0}, "images"),
    "animated webp": (
        "SaveAnimatedWEBP",
        {"fps": 8.0, "lossless": False, "quality": 80, "method": "default"},
        "images",
    ),
    "animated png": ("SaveAnimatedPNG", {"fps": 8.0, "compress_level": 4}, "images"),
    "png": ("SaveImage", {}, "images"),
    "png of 16 bits": (
        "SaveImageAdvanced",
        {"format": "png", "format.bit_depth": "16-bit", "format.input_color_space": "sRGB"},
        "images",
    ),
    "exr": (
        "SaveImageAdvanced",
        {"format": "exr", "format.bit_depth": "32-bit float", "format.input_color_space": "sRGB"},
        "images",
    ),
    "latent": ("SaveLatent", {}, "samples"),
    "flac": ("SaveAudio", {}, "audio"),
    "mp3": ("SaveAudioMP3", {"quality": "128k"}, "audio"),
    "opus": ("SaveAudioOpus", {"quality": "128k"}, "audio"),
    **{
        f"VHS {name}": (
            "VHS_VideoCombine",
            {
                "frame_rate": 8,
                "loop_count": 0,
                "format": name,
                "pingpong": False,
                "save_output": True,
                **more,
            },
            "images",
        )
        for name, more in _VHS.items()
    },
}
_FRAMES: Final = 5
_SEQUENCES: Final = ("VHS video/8bit-png", "VHS video/16bit-png")
_WRITE_NONE: Final = (*_SEQUENCES, "VHS image/gif", "VHS image/webp", "VHS video/ProRes")
_NOT_EMULATED: Final = (*_SEQUENCES, "VHS video/ProRes", "VHS video/ffv1-mkv")
_OF_EMULATOR: Final = ("SaveVideo", "SaveWEBM", "SaveAnimatedWEBP", "SaveImage", "VHS_VideoCombine")
_SOURCES: Final[Mapping[str, tuple[str, dict[str, Any]]]] = {
    "images": ("EmptyImage", {"width": 64, "height": 64, "batch_size": _FRAMES, "color": 255}),
    "samples": ("EmptyLatentImage", {"width": 64, "height": 64, "batch_size": 1}),
    "audio": ("EmptyAudio", {"duration": 1.0, "sample_rate": 44100, "channels": 2}),
}


def graph_of(name: str) -> dict[str, Any]:
    """A graph without a model, whose prompt holds the secret; another picture each time."""
    class_type, inputs, draws_on = _SAVERS[name]
    source, given = _SOURCES["images" if draws_on == "video" else draws_on]
    if source == "EmptyImage":
        given = {**given, "color": uuid.uuid4().int % 0xFFFFFF}
    graph = {"1": {"class_type": source, "inputs": given}}
    if draws_on == "video":
        graph["2"] = {"class_type": "CreateVideo", "inputs": {"images": ["1", 0], "fps": 8.0}}
    inputs = {**inputs, "filename_prefix": SECRET, draws_on: [max(graph), 0]}
    return {**graph, "9": {"class_type": class_type, "inputs": inputs}}


@pytest.fixture(
    scope="module",
    params=[
        "emulator",
        pytest.param(
            "real",
            marks=pytest.mark.skipif(
                not os.environ.get("COMFYUI_DIR"), reason="COMFYUI_DIR names no ComfyUI"
            ),
        ),
    ],
)
def writing_farm(request: pytest.FixtureRequest, lasting_farm: WholeFarm) -> Iterator[WholeFarm]:
    """A farm whose ComfyUI writes metadata into its files, if a job wants them kept or not."""
    named = real_comfyui_named() if request.param == "real" else {}
    lasting_farm.start_worker(request.param, FARM_PROMPT_METADATA="1", **named)
    yield lasting_farm
    lasting_farm.workers.pop().close()


def require(worker: WorkerProcess, name: str) -> None:
    """Skip what this server does not have."""
    class_type, inputs, _ = _SAVERS[name]
    found = worker.ask(f"/object_info/{class_type}")
    emulated = "emulator" in str(worker.ask("/system_stats"))
    if not found:
        pytest.skip(f"this server has no {class_type}")
    if emulated and (class_type not in _OF_EMULATOR or name in _NOT_EMULATED):
        pytest.skip("the emulator does not write that")
    is_dynamic = "COMFY_DYNAMICCOMBO_V3" in str(found[class_type]["input"]["required"].get("format"))
    if any(each.startswith("format.") for each in inputs) and not is_dynamic:
        pytest.skip(f"{class_type} has no such format here")


def content(farm: WholeFarm, artifact: Artifact) -> bytes:
    """A published file."""
    return farm.farm.storage.read_bytes(artifact.key)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", _SAVERS)
def test_no_saver_publishes_the_prompt(writing_farm: WholeFarm, name: str) -> None:
    require(writing_farm.workers[0], name)
    kept: Job = writing_farm.submit(graph_of(name), keep_metadata=True)
    clean: Job = writing_farm.submit(graph_of(name))

    kept.wait(_RENDER_S)
    clean.wait(_RENDER_S)

    found = [content(writing_farm, each) for each in clean.result().facts.artifacts]
    assert len(found) == (_FRAMES if name in _SEQUENCES else len(kept.result().facts.artifacts))
    assert not any(has_secret(each) or b"class_type" in each for each in found)
    if name not in _WRITE_NONE:
        assert any(has_secret(content(writing_farm, each)) for each in kept.result().facts.artifacts)
