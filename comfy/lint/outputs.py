"""Rules about outputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from comfy.lint.diagnostic import Severity
from comfy.lint.rule import Found, Rule, Subject
from comfy.node_defs.node_classes import VIDEO_COMBINE
from comfy.rewrites.video_format import NVENC_PREFIX, VHS_WEBP, WEBP


def _nvenc(subject: Subject) -> Iterator[Found]:
    if subject.site.nvenc:
        return
    for node_id in subject.running(VIDEO_COMBINE):
        chosen = subject.value(node_id, "format")
        if isinstance(chosen, str) and chosen.startswith(NVENC_PREFIX):
            card = (
                "the card does not encode video"
                if subject.site.nvenc is False
                else "A100 and H100 have no NVENC"
            )
            yield Found(message=f"{chosen}: {card}", node_id=node_id, input_name="format")


def _webp(subject: Subject) -> Iterator[Found]:
    for node_id in subject.running(WEBP):
        yield Found(message="the clip is saved as an animated picture", node_id=node_id)
    for node_id in subject.running(VIDEO_COMBINE):
        if subject.value(node_id, "format") == VHS_WEBP:
            message = "the clip is saved as an animated picture"
            yield Found(message=message, node_id=node_id, input_name="format")


def _only_previews(subject: Subject) -> Iterator[Found]:
    outputs = subject.roles.outputs
    if outputs and not any(output.saves for output in outputs):
        yield Found(message=f"{outputs[0].class_type} keeps nothing", node_id=outputs[0].node_id)


RULES: Final = (
    Rule(
        id="nvenc",
        severity=Severity.WARNING,
        title="an NVENC format: fails where the card has no encoder or the container no `video` capability",
        remedy="take video/h264-mp4; the farm does so itself where a job accepts near changes",
        source="https://en.wikipedia.org/wiki/NVENC",
        check=_nvenc,
    ),
    Rule(
        id="webp",
        severity=Severity.WARNING,
        title="animated WEBP: large, slow to encode, and no video to most programs",
        remedy="save with CreateVideo and SaveVideo; the farm does so where a job asks for it (`--mp4`)",
        source="https://github.com/Comfy-Org/ComfyUI (comfy_extras/nodes_images.py)",
        check=_webp,
    ),
    Rule(
        id="only-previews",
        severity=Severity.WARNING,
        title="no output of the graph is kept",
        remedy="end it with a node that saves: SaveVideo, or VHS_VideoCombine with save_output true",
        source="https://github.com/Comfy-Org/ComfyUI (nodes.py)",
        check=_only_previews,
    ),
)
