"""The nodes that save: what they write and how they name it in the history."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from comfy.emulator.clips import (
    AV1,
    H264,
    H265,
    VP9,
    Codec,
    frame_rate,
    pad_clip,
    write_animation,
    write_clip,
    write_png,
)
from comfy.emulator.folders import CORE_NUMBERED, VHS_NUMBERED, SaveTarget, save_target
from comfy.emulator.pictures import draw_frame, draw_frames
from comfy.emulator.stage import Outcome, Stage
from comfy.emulator.values import Images, Video
from comfy.emulator.video_format import video_codec

# One for each process, so that the previews of two servers in one folder do not collide.
_TEMP_PREFIX: Final = "_temp_" + "".join(random.choices(string.ascii_lowercase, k=5))  # noqa: S311


def _file(target: SaveTarget, name: str, kind: str = "output") -> dict[str, Any]:
    return {"filename": name, "subfolder": target.subfolder, "type": kind}


def _target(
    stage: Stage, images: Images, *, kind: str = "output", numbered: str = CORE_NUMBERED
) -> SaveTarget:
    settings = stage.world.settings
    return save_target(
        stage.inputs["filename_prefix"],
        settings.folders.temp if kind == "temp" else settings.folders.output,
        width=images.width,
        height=images.height,
        numbered=numbered,
        confined=settings.generation.confines_files,
    )


def _save_video(stage: Stage) -> Outcome:
    codec = video_codec(stage.world.definitions()[stage.class_type], stage.inputs)
    video: Video = stage.inputs["video"]
    target = _target(stage, video.images)
    name = f"{target.stem}_{target.counter:05}_.{codec.extension}"
    settings = stage.world.settings
    write_clip(
        target.folder / name,
        video.images,
        video.fps,
        codec=codec,
        metadata=stage.metadata(),
        index_first=settings.generation.puts_index_first,
    )
    pad_clip(target.folder / name, settings.clip_bytes)
    stage.saved(target.folder / name)
    return Outcome(outputs=(video,), ui={"images": [_file(target, name)], "animated": [True]})


def _save_webm(stage: Stage) -> Outcome:
    images: Images = stage.inputs["images"]
    target = _target(stage, images)
    name = f"{target.stem}_{target.counter:05}_.webm"
    codec = AV1 if stage.inputs["codec"] == "av1" else VP9
    fps = frame_rate(stage.inputs["fps"])
    write_clip(target.folder / name, images, fps, codec=codec, metadata=stage.metadata())
    stage.saved(target.folder / name)
    return Outcome(ui={"images": [_file(target, name)], "animated": [True]})


def _save_webp(stage: Stage) -> Outcome:
    images: Images = stage.inputs["images"]
    target = _target(stage, images)
    name = f"{target.stem}_{target.counter:05}_.webp"
    fps = frame_rate(stage.inputs["fps"])
    write_animation(target.folder / name, images, fps, image_format="WEBP", metadata=stage.metadata())
    stage.saved(target.folder / name)
    return Outcome(ui={"images": [_file(target, name)], "animated": [images.count != 1]})


def _save_images(stage: Stage) -> Outcome:
    return _write_pngs(stage, _target(stage, stage.inputs["images"]), "output")


def _preview_images(stage: Stage) -> Outcome:
    images: Images = stage.inputs["images"]
    folders = stage.world.settings.folders
    target = save_target(f"ComfyUI{_TEMP_PREFIX}", folders.temp, width=images.width, height=images.height)
    return _write_pngs(stage, target, "temp")


def _write_pngs(stage: Stage, target: SaveTarget, kind: str) -> Outcome:
    files = []
    for number, picture in enumerate(draw_frames(stage.inputs["images"]), start=target.counter):
        name = f"{target.stem}_{number:05}_.png"
        write_png(target.folder / name, picture, stage.metadata())
        stage.saved(target.folder / name)
        files.append(_file(target, name, kind))
    return Outcome(ui={"images": files})


_VHS_CODECS: Final[Mapping[str, Codec]] = {
    "video/h264-mp4": H264,
    "video/nvenc_h264-mp4": H264,
    "video/h265-mp4": H265,
    "video/nvenc_hevc-mp4": H265,
    "video/webm": VP9,
    "video/av1-webm": AV1,
}


def _combine_video(stage: Stage) -> Outcome:
    images: Images = stage.inputs["images"]
    kind = "output" if stage.inputs["save_output"] else "temp"
    target = _target(stage, images, kind=kind, numbered=VHS_NUMBERED)
    wanted = stage.inputs["format"]
    fps = frame_rate(stage.inputs["frame_rate"])
    stem = f"{target.stem}_{target.counter:05}"
    # VHS puts the first frame with the workflow beside each clip.
    still = target.folder / f"{stem}.png"
    write_png(still, draw_frame(images, 0), stage.metadata())
    if wanted in {"image/gif", "image/webp"}:
        clip = target.folder / f"{stem}.{wanted.removeprefix('image/')}"
        write_animation(clip, images, fps, image_format=clip.suffix[1:].upper())
    else:
        clip = _encode_vhs(stage, images, target.folder / stem, wanted)
    stage.saved(clip)
    entry = {
        **_file(target, clip.name, kind),
        "format": wanted,
        "frame_rate": stage.inputs["frame_rate"],
        "workflow": still.name,
        "fullpath": str(clip),
    }
    return Outcome(outputs=((stage.inputs["save_output"], [str(still), str(clip)]),), ui={"gifs": [entry]})


def _encode_vhs(stage: Stage, images: Images, stem: Path, wanted: str) -> Path:
    codec = _VHS_CODECS.get(wanted)
    if codec is None:
        raise ValueError(f"the emulator does not write {wanted}; use video/h264-mp4")
    clip = stem.with_name(f"{stem.name}.{codec.extension}")
    keeps = stage.inputs.get("save_metadata", True)
    write_clip(
        clip,
        images,
        frame_rate(stage.inputs["frame_rate"]),
        codec=codec,
        metadata=stage.metadata() if keeps else None,
        on_frame=lambda written: stage.progress(written, images.count),
    )
    return clip


SAVERS: Final[Mapping[str, Callable[[Stage], Outcome]]] = {
    "SaveVideo": _save_video,
    "SaveWEBM": _save_webm,
    "SaveAnimatedWEBP": _save_webp,
    "SaveImage": _save_images,
    "PreviewImage": _preview_images,
    "VHS_VideoCombine": _combine_video,
}
