"""Rules about models: the two experts, the VAE, the start image."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from comfy.graphs.links import ancestors, inputs_of, is_link
from comfy.lint.diagnostic import Severity
from comfy.lint.rule import Found, Rule, Subject
from comfy.node_defs.definitions import Section
from comfy.wan.models import WAN_5B, ModelFamily
from comfy.wan.names import family_of, task_of, words_of
from comfy.wan.roles import Expert, Stage

_TEMPLATES: Final = "https://docs.comfy.org/tutorials/video/wan/wan2_2"
# "fp8_scaled", "fp8_e4m3fn_scaled_KJ".
_SCALED: Final = re.compile(r"fp8 (e\dm\d(fn)? )?scaled")
# Inputs that carry what an image-to-video model starts from, or is led by.
_PICTURES: Final = ("IMAGE", "VIDEO")
_IMAGES: Final = re.compile(
    r"(?<!latent_)(image|video|frame|mask|pixel|picture)s?(_?\d+)?$|^clip_(vision_\w+|embeds)$"
)


def _loader_id(stage: Stage) -> str | None:
    return stage.loader.node_id if stage.loader is not None else None


def _alone(subject: Subject) -> Iterator[Found]:
    levels = {stage.by_file for stage in subject.roles.stages if stage.by_file is not None}
    if len(levels) != 1:
        return
    for stage in subject.roles.stages:
        if stage.by_file is not None and not _refines(subject, stage):
            other = "low" if stage.by_file is Expert.HIGH else "high"
            message = f"{stage.file_name} is one of two experts, and no sampler uses the {other}-noise one"
            yield Found(message=message, node_id=_loader_id(stage))
            return


def _refines(subject: Subject, stage: Stage) -> bool:
    """Whether the low-noise expert goes over what is there already: it was made for the last steps."""
    if stage.by_file is not Expert.LOW:
        return False
    denoise = stage.get("denoise")
    part = denoise is not None and isinstance(denoise.value, int | float) and denoise.value < 1
    before = ancestors(subject.graph, [stage.sampler_id]) - {stage.sampler_id}
    samplers = {each.sampler_id for each in subject.roles.stages}
    return part or bool(stage.whole("start")) or not samplers.isdisjoint(before)


def _swapped(subject: Subject) -> Iterator[Found]:
    for stage in subject.roles.stages:
        if stage.by_file and stage.by_position and stage.by_file is not stage.by_position:
            when = "first" if stage.by_position is Expert.HIGH else "last"
            message = f"the {stage.by_file}-noise model {stage.file_name} does the {when} steps"
            yield Found(message=message, node_id=stage.sampler_id)


def _wrong_vae(subject: Subject) -> Iterator[Found]:
    families = {
        family for stage in subject.roles.stages if (family := family_of(stage.file_name or "")) is not None
    }
    if len(families) != 1:
        return
    family = families.pop()
    for vae in subject.roles.vaes:
        if vae.file is None:
            continue
        name = vae.file.value
        if isinstance(name, str) and (wanted := _other_vae(name, family)) is not None:
            message = f"{name} does not go with a {family.name} model, which wants the VAE of WAN {wanted}"
            yield Found(message=message, node_id=vae.node_id, input_name=vae.file.asked.input_name)


def _other_vae(name: str, family: ModelFamily) -> str | None:
    """The version of the VAE that is wanted in place of this one; None when it is right, or no VAE of WAN."""
    # The folder says where somebody keeps it, not what it is.
    text = re.split(r"[/\\]", name.lower())[-1].replace("-", "_").replace(" ", "_")
    if "vae" not in text or "wan" not in text:
        return None
    of_22 = any(mark in text for mark in ("wan2.2", "wan2_2", "wan_2.2", "wan22"))
    of_21 = any(mark in text for mark in ("wan2.1", "wan2_1", "wan_2.1", "wan21"))
    if family is WAN_5B:
        return "2.2" if of_21 else None
    return "2.1" if of_22 else None


def _no_image(subject: Subject) -> Iterator[Found]:
    for stage in subject.roles.stages:
        before = ancestors(subject.graph, [stage.sampler_id])
        if task_of(stage.file_name or "") != "i2v" or any(_takes_image(subject, each) for each in before):
            continue
        message = f"{stage.file_name} wants an image to start from, and no running node gives it one"
        yield Found(message=message, node_id=_loader_id(stage))
        return


def _takes_image(subject: Subject, node_id: str) -> bool:
    """Whether a node makes something of a picture or a video that is really there, whatever its class."""
    waiting, seen = _pictures_into(subject, node_id), set[str]()
    while waiting:
        at = waiting.pop()
        behind = _pictures_into(subject, at)
        if not behind and not _wants_picture(subject, at):
            return True
        seen.add(at)
        waiting += [each for each in behind if each not in seen]
    return False


def _pictures_into(subject: Subject, node_id: str) -> list[str]:
    inputs = inputs_of(subject.graph, node_id)
    return [value[0] for name, value in inputs.items() if is_link(value) and _IMAGES.search(name)]


def _wants_picture(subject: Subject, node_id: str) -> bool:
    node = subject.site.definitions.get(subject.class_of(node_id))
    return node is not None and any(each.kind in _PICTURES for each in node.of(Section.REQUIRED))


def _scaled_cast(subject: Subject) -> Iterator[Found]:
    for stage in subject.roles.stages:
        node_id, name = _loader_id(stage), stage.file_name or ""
        dtype = subject.value(node_id, "weight_dtype") if node_id is not None else None
        if _SCALED.search(words_of(name)) and isinstance(dtype, str) and dtype != "default":
            message = f"{name} carries scales of its own, and is cast to {dtype} all the same"
            yield Found(message=message, node_id=node_id, input_name="weight_dtype")


RULES: Final = (
    Rule(
        id="expert-alone",
        severity=Severity.ERROR,
        title="one of the two A14B experts is used alone",
        remedy="load both files, the high-noise one for the first steps and the low-noise one for the rest",
        source=_TEMPLATES,
        check=_alone,
    ),
    Rule(
        id="experts-swapped",
        severity=Severity.ERROR,
        title="the high- and low-noise models do each other's steps",
        remedy="give the high-noise file to the sampler that begins at step 0",
        source=_TEMPLATES,
        check=_swapped,
    ),
    Rule(
        id="vae-wrong",
        severity=Severity.ERROR,
        title="the VAE belongs to another model: only the 5B model takes the VAE of WAN 2.2",
        remedy="load wan_2.1_vae with the 14B and 1.3B models, wan2.2_vae with the 5B model",
        source=_TEMPLATES,
        check=_wrong_vae,
    ),
    Rule(
        id="i2v-no-image",
        severity=Severity.ERROR,
        title="an image-to-video model gets no image",
        remedy="link a LoadImage into WanImageToVideo's start_image, or load the T2V model",
        source=_TEMPLATES,
        check=_no_image,
    ),
    Rule(
        id="scaled-cast",
        severity=Severity.WARNING,
        title="an fp8_scaled file is cast to another type",
        remedy="leave weight_dtype at default: the file brings its type and scales along",
        source="https://github.com/Comfy-Org/ComfyUI (nodes.py)",
        check=_scaled_cast,
    ),
)
