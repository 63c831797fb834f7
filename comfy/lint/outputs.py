"""Rules about outputs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from comfy.graphs.links import ancestors, inputs_of, is_link, links
from comfy.lint.diagnostic import Severity
from comfy.lint.rule import Found, Rule, Subject
from comfy.node_defs.node_classes import OUTPUT_PREFIX, SAVES_AT_ALL, VIDEO_COMBINE, likely_only_shows
from comfy.rewrites.video_format import NVENC_PREFIX, VHS_WEBP, WEBP
from comfy.wan.models import WAN_5B, ModelFamily
from comfy.wan.names import family_of, set_of
from comfy.wan.roles import Output, Stage

_MEDIA: Final = frozenset({"IMAGE", "VIDEO", "AUDIO", "MASK", "LATENT"})
_GIF: Final = re.compile(r"gif", re.IGNORECASE)
# Frames a second that the models were trained at. Source: Wan2.2 wan/configs.
_RATE_14B: Final = 16
_RATE_5B: Final = 24
_RATE_TOLERANCE: Final = 0.2  # 30 for 32 is as meant


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
    outputs = [output for output in subject.roles.outputs if not _tells_only(subject, output)]
    if outputs and not any(output.saves for output in outputs):
        yield Found(message=f"{outputs[0].class_type} keeps nothing", node_id=outputs[0].node_id)


def _gif(subject: Subject) -> Iterator[Found]:
    for output in subject.roles.outputs:
        chosen = output.format.value if output.format is not None else None
        named = isinstance(chosen, str) and "gif" in chosen.lower()
        if named or _GIF.search(output.class_type):
            name = output.format.asked.input_name if named and output.format is not None else None
            yield Found(message="the clip is saved as GIF", node_id=output.node_id, input_name=name)


def _several(subject: Subject) -> Iterator[Found]:
    kept = [output for output in subject.roles.outputs if output.saves and _writes(subject, output)]
    if len(kept) > 1:
        names = ", ".join(f"{each.class_type} ({each.node_id})" for each in kept)
        yield Found(message=f"{len(kept)} outputs are saved, and all run: {names}", node_id=kept[1].node_id)


def _tells_only(subject: Subject, output: Output) -> bool:
    """Whether it is an output that has nothing to do with the clip: it shows a text, or cleans memory."""
    node = subject.site.definitions.get(output.class_type)
    given = inputs_of(subject.graph, output.node_id)
    if node is None or _writes(subject, output):
        return False
    return not any(each.kind in _MEDIA and is_link(given.get(each.name)) for each in node.inputs)


def _writes(subject: Subject, output: Output) -> bool:
    """Whether an output makes a file: many nodes are outputs only to show a text or a number."""
    inputs = subject.graph[output.node_id]["inputs"]
    return OUTPUT_PREFIX in inputs or SAVES_AT_ALL in inputs or output.class_type.startswith("Save")


def _previews(subject: Subject) -> Iterator[Found]:
    outputs = subject.roles.outputs
    drawn_on = {link.source_id for link in links(subject.graph)}
    if any(output.saves for output in outputs):
        for output in outputs:
            if _is_preview(subject, output) and output.node_id not in drawn_on:
                yield Found(message=f"{output.class_type} keeps nothing", node_id=output.node_id)


def _is_preview(subject: Subject, output: Output) -> bool:
    sent_away = SAVES_AT_ALL in inputs_of(subject.graph, output.node_id)
    return not output.saves and (sent_away or likely_only_shows(output.class_type))


def _rate(subject: Subject) -> Iterator[Found]:
    """Interpolated frames that are shown at a rate which is not the model's times the multiplier."""
    stages = [stage for stage in subject.roles.stages if _is_plain(stage)]
    outputs = subject.roles.outputs
    kept = any(output.saves for output in outputs)
    for output in outputs if stages else ():
        fps = output.fps.value if output.fps is not None else None
        factor = _factor(subject, output)
        # Where nothing is kept, what is shown is the clip.
        if output.fps is None or not isinstance(fps, int | float) or kept > output.saves or not factor:
            continue
        wanted = _own_rate(stages[0]) * factor
        if abs(fps - wanted) > wanted * _RATE_TOLERANCE:
            message = f"{fps:g} frames a second, where the clip would move naturally at {wanted:g}"
            asked = output.fps.asked
            yield Found(message=message, node_id=asked.node_id, input_name=asked.input_name)


def _factor(subject: Subject, output: Output) -> int | None:
    """How many frames an interpolation before an output makes of one; None where that is not known.

    Of several, one may work on a part of the clip.
    """
    before = ancestors(subject.graph, [output.node_id])
    found = [each.multiplier for each in subject.roles.interpolations if each.node_id in before]
    return found[0].whole if len(found) == 1 and found[0] is not None else None


def _own_rate(stage: Stage) -> int:
    return _RATE_5B if _family(stage) is WAN_5B else _RATE_14B


def _is_plain(stage: Stage) -> bool:
    """Whether a stage's model makes clips at WAN's own rate: what follows a sound or a video has another."""
    row = set_of(stage.file_name or "")
    return row is not None and row.family is not None and set(row.tasks) <= {"t2v", "i2v"}


def _family(stage: Stage) -> ModelFamily | None:
    return family_of(stage.file_name or "")


RULES: Final = (
    Rule(
        id="nvenc",
        severity=Severity.WARNING,
        title="an NVENC format: fails where the card has no encoder or the container no `video` capability",
        remedy="take video/h264-mp4; the farm does so itself where a job accepts near changes",
        source="https://en.wikipedia.org/wiki/NVENC",
        check=_nvenc,
        any_model=True,
    ),
    Rule(
        id="webp",
        severity=Severity.WARNING,
        title="animated WEBP: large, slow to encode, and no video to most programs",
        remedy="save with CreateVideo and SaveVideo; the farm does so where a job asks for it (`--mp4`)",
        source="https://github.com/Comfy-Org/ComfyUI (comfy_extras/nodes_images.py)",
        check=_webp,
        any_model=True,
    ),
    Rule(
        id="only-previews",
        severity=Severity.WARNING,
        title="no output of the graph is kept",
        remedy="end it with a node that saves: SaveVideo, or VHS_VideoCombine with save_output true",
        source="https://github.com/Comfy-Org/ComfyUI (nodes.py)",
        check=_only_previews,
        any_model=True,
    ),
    Rule(
        id="gif",
        severity=Severity.WARNING,
        title="GIF: 256 colours, many times the size of a video",
        remedy="save with CreateVideo and SaveVideo, or take video/h264-mp4",
        source="https://github.com/Kosinkadink/ComfyUI-VideoHelperSuite (videohelpersuite/nodes.py)",
        check=_gif,
        any_model=True,
    ),
    Rule(
        id="several-outputs",
        severity=Severity.INFO,
        title="several outputs are saved: all of them run, and all of their files are stored",
        remedy="take out those that nobody wants",
        source="https://github.com/Comfy-Org/ComfyUI (execution.py)",
        check=_several,
        any_model=True,
    ),
    Rule(
        id="preview",
        severity=Severity.INFO,
        title="a preview beside an output that is kept: nobody sees it on a worker",
        remedy="leave it: the farm takes it out; what it alone draws on is then not computed",
        source="https://docs.comfy.org/development/core-concepts/workflow",
        check=_previews,
        any_model=True,
    ),
    Rule(
        id="rate-and-multiplier",
        severity=Severity.WARNING,
        title="interpolated frames at a rate that does not fit: slow motion, or a clip that runs too fast",
        remedy="show the model's rate (16, for the 5B model 24) times the multiplier",
        source="https://github.com/Wan-Video/Wan2.2 (sample_fps in wan/configs)",
        check=_rate,
    ),
)
