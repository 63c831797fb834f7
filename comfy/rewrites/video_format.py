"""Output formats: no NVENC where the card has none, MP4 in place of animated WEBP on request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from comfy.node_defs.node_classes import VIDEO_COMBINE
from comfy.rewrites.change import ChangeKind
from comfy.rewrites.draft import Draft
from comfy.rewrites.offers import format_inputs
from comfy.rewrites.rewrite import Rewrite

WEBP: Final = "SaveAnimatedWEBP"
NVENC_PREFIX: Final = "video/nvenc_"
VHS_WEBP: Final = "image/webp"
_X264: Final = "video/h264-mp4"
_X265: Final = "video/h265-mp4"
_TEN_BITS: Final = {"p010le": "yuv420p10le"}  # how NVENC's formats and the software's call it
# Inputs of the formats that go, which those that come do not have.
_OF_OLD_FORMAT: Final = ("bitrate", "megabit", "lossless")


def encode_in_software(draft: Draft) -> None:
    """Turn VideoHelperSuite's NVENC formats into x264 or x265 where no frame could be encoded on the card."""
    for node_id in draft.running(VIDEO_COMBINE):
        old = draft.value(node_id, "format")
        if not isinstance(old, str) or not old.startswith(NVENC_PREFIX):
            continue
        if draft.site.nvenc is None:
            draft.note(node_id, f"whether the card encodes {old} is not judged: the card is not known")
        elif not draft.site.nvenc:
            why = "this card does not encode video"
            _change_format(draft, node_id, _X265 if "hevc" in old else _X264, why)


def write_mp4(draft: Draft) -> None:
    """Write animated WEBP as H.264 in MP4, if the job asks for it."""
    if not draft.options.mp4:
        return
    why = "animated WEBP is large, slow to encode, and no video to most programs"
    for node_id in draft.running(VIDEO_COMBINE):
        if draft.value(node_id, "format") == VHS_WEBP:
            _change_format(draft, node_id, _X264, why)
    for node_id in draft.running(WEBP):
        _save_video(draft, node_id, why)


def _change_format(draft: Draft, node_id: str, new: str, why: str) -> None:
    if not draft.set(node_id, "format", new, why):
        return
    for name in _OF_OLD_FORMAT:
        draft.take_away(node_id, name, why)
    definition = draft.site.definitions[draft.class_of(node_id)]
    for wanted in list(format_inputs(definition, draft.inputs(node_id))):
        present = draft.inputs(node_id).get(wanted.name)
        value = _TEN_BITS.get(str(present), present)
        fits = value is not None and (wanted.choices is None or value in wanted.choices)
        default = next(iter(wanted.choices or ()), wanted.default)
        if not fits or value != present:
            draft.set(node_id, wanted.name, value if fits else default, why)


def _save_video(draft: Draft, node_id: str, why: str) -> None:
    inputs = draft.inputs(node_id)
    fps = draft.value(node_id, "fps")
    if "images" not in inputs:
        return
    if not isinstance(fps, int | float) or isinstance(fps, bool):
        draft.note(node_id, "stays: its frame rate is computed while it runs")
        return
    before = len(draft.changes)
    made = draft.add("CreateVideo", {"images": inputs["images"], "fps": float(fps)}, "frames to video", why)
    saved: Mapping[str, Any] = {
        "video": [made, 0],
        "filename_prefix": inputs.get("filename_prefix", "video"),
        "format": "mp4",
        "codec": "h264",
    }
    if made is not None and not draft.become(node_id, "SaveVideo", saved, why):
        # The half of it that was done would be a node that nothing draws on.
        draft.drop(made, why)
        del draft.changes[before:]


NVENC: Final = Rewrite(
    name="nvenc",
    kind=ChangeKind.NEAR,
    title="encodes on the CPU where the card has no encoder",
    when="VHS_VideoCombine asks for an NVENC format, and no frame could be encoded on the card",
    effect=(
        "the job does not fail with `No capable devices found`; libx264 takes 0.6 to 1.8 s for 81 frames at "
        "480p on two cores"
    ),
    source="https://en.wikipedia.org/wiki/NVENC",
    apply=encode_in_software,
)

MP4: Final = Rewrite(
    name="webp",
    kind=ChangeKind.NEAR,
    title="writes animated WEBP as H.264 in MP4",
    when="the job asks for it (`--mp4`); SaveAnimatedWEBP, or VHS_VideoCombine with image/webp, runs",
    effect="a smaller file that plays everywhere; the same frames, encoded otherwise",
    source="https://github.com/Comfy-Org/ComfyUI (comfy_extras/nodes_images.py)",
    apply=write_mp4,
)
