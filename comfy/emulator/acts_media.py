"""Nodes that load, change and put together pictures, videos and sound."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
from PIL import Image

from comfy.emulator.clips import frame_rate
from comfy.emulator.folders import input_file
from comfy.emulator.stage import Outcome, Stage, give
from comfy.emulator.values import Audio, Images, Story, Video

_LANCZOS_S_PER_PIXEL: Final = 1.2e-8


def _empty_picture(stage: Stage) -> Outcome:
    given = stage.inputs
    # The colour goes into the pattern: two jobs of other colours give other files.
    story = Story(seed=given["color"])
    return give(Images(width=given["width"], height=given["height"], count=given["batch_size"], story=story))


def _load_image(stage: Stage) -> Outcome:
    path = input_file(stage.world.settings.folders, stage.inputs["image"])
    with Image.open(path) as picture:
        width, height = picture.size
    return give(Images(width=width, height=height, count=1), None)


def _load_audio(stage: Stage) -> Outcome:
    path = input_file(stage.world.settings.folders, stage.inputs["audio"])
    return give(Audio(duration_s=_duration_s(path)))


def _load_video(stage: Stage) -> Outcome:
    path = input_file(stage.world.settings.folders, stage.inputs["file"])
    return give(_video(path))


def _load_frames(stage: Stage) -> Outcome:
    path = input_file(stage.world.settings.folders, stage.inputs["video"])
    images = _video(path).images
    limit = stage.inputs.get("frame_load_cap") or images.count
    kept = replace(images, count=min(images.count, limit))
    return give(kept, kept.count, Audio(duration_s=_duration_s(path)))


def _duration_s(path: Path) -> float:
    with av.open(str(path)) as container:
        return (container.duration or 0) / 1_000_000  # PyAV counts a container's time in microseconds


def _video(path: Path) -> Video:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        fps = Fraction(stream.average_rate or 16)
        count = stream.frames or max(1, round((container.duration or 0) / 1_000_000 * fps))
        return Video(images=Images(width=stream.width, height=stream.height, count=count), fps=fps)


def _components(stage: Stage) -> Outcome:
    video: Video = stage.inputs["video"]
    return give(video.images, Audio(duration_s=float(video.images.count / video.fps)), float(video.fps), 8)


def _scale(stage: Stage) -> Outcome:
    image: Images = stage.inputs["image"]
    scaled = _scaled(image, stage.inputs["width"], stage.inputs["height"])
    if stage.inputs["upscale_method"] == "lanczos":  # on the CPU, one picture after the other
        stage.pause(scaled.width * scaled.height * scaled.count * _LANCZOS_S_PER_PIXEL)
    return give(scaled)


def _scaled(image: Images, width: int, height: int) -> Images:
    # 0 means: as the other side and the proportions want it. Both 0: as it is.
    if width == 0 and height == 0:
        width, height = image.width, image.height
    elif width == 0:
        width = max(1, round(image.width * height / image.height))
    elif height == 0:
        height = max(1, round(image.height * width / image.width))
    return replace(image, width=width, height=height)


def _scale_kj(stage: Stage) -> Outcome:
    given = stage.inputs
    scaled = _scaled(given["image"], given["width"], given["height"])
    unit = given.get("divisible_by") or 1
    width, height = (max(unit, side // unit * unit) for side in (scaled.width, scaled.height))
    return give(replace(scaled, width=width, height=height), width, height, None)


def _scale_by(stage: Stage) -> Outcome:
    image: Images = stage.inputs["image"]
    factor = stage.inputs["scale_by"]
    return give(replace(image, width=round(image.width * factor), height=round(image.height * factor)))


def _from_batch(stage: Stage) -> Outcome:
    image: Images = stage.inputs["image"]
    index = stage.inputs["batch_index"]
    first = max(0, image.count + index) if index < 0 else min(image.count - 1, index)
    return give(replace(image, count=min(image.count - first, stage.inputs["length"])))


def _batch(stage: Stage) -> Outcome:
    pictures = [value for value in stage.inputs.values() if isinstance(value, Images)]
    return give(replace(pictures[0], count=sum(each.count for each in pictures)))


def _repeat(stage: Stage) -> Outcome:
    image: Images = stage.inputs["image"]
    return give(replace(image, count=image.count * stage.inputs["amount"]))


def _interpolate(stage: Stage) -> Outcome:
    frames: Images = stage.inputs["frames"] if "frames" in stage.inputs else stage.inputs["images"]
    count = (frames.count - 1) * stage.inputs["multiplier"] + 1
    if stage.class_type.endswith("VFI"):
        stage.world.console.line(
            f"Comfy-VFI done! {count} frames generated at resolution: {frames.width}x{frames.height}"
        )
    return give(replace(frames, count=count))


def _create_video(stage: Stage) -> Outcome:
    return give(Video(images=stage.inputs["images"], fps=frame_rate(stage.inputs["fps"])))


MEDIA_ACTS: Final[Mapping[str, Callable[[Stage], Outcome]]] = {
    "LoadImage": _load_image,
    "LoadAudio": _load_audio,
    "LoadVideo": _load_video,
    "VHS_LoadVideo": _load_frames,
    "VHS_LoadAudioUpload": _load_audio,
    "GetVideoComponents": _components,
    "EmptyImage": _empty_picture,
    "ImageScale": _scale,
    "ImageScaleBy": _scale_by,
    "ImageResizeKJv2": _scale_kj,
    "ImageFromBatch": _from_batch,
    "ImageBatch": _batch,
    "BatchImagesNode": _batch,
    "RepeatImageBatch": _repeat,
    "RIFE VFI": _interpolate,
    "FILM VFI": _interpolate,
    "FrameInterpolate": _interpolate,
    "CreateVideo": _create_video,
}
