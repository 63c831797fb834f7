"""Rules about steps, guidance and what runs beside the samplers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from comfy.graphs.links import inputs_of
from comfy.graphs.values import Setting
from comfy.lint.diagnostic import Severity
from comfy.lint.loras import MOST_STEPS, few_steps_of
from comfy.lint.rule import Found, Rule, Subject
from comfy.wan.parts import Stage
from comfy.wan.sigmas import SIGMAS

_FAR_OFF: Final = 0.25  # of all steps, from the middle
_TEMPLATES: Final = "https://docs.comfy.org/tutorials/video/wan/wan2_2"


def _name(setting: Setting | None) -> str | None:
    return None if setting is None else setting.asked.input_name


def _have_rows_of_their_own(pair: tuple[Stage, Stage]) -> bool:
    """Whether their steps are already cut in two: each sampler counts what it was given, not all of them."""
    steps = [stage.get("steps") for stage in pair]
    return any(each is not None and each.asked.input_name == SIGMAS for each in steps)


def _steps_differ(subject: Subject) -> Iterator[Found]:
    pair = subject.two_samplers()
    if pair is None or _have_rows_of_their_own(pair):
        return
    high, low = (stage.whole("steps") for stage in pair)
    if high is not None and low is not None and high != low:
        message = f"the high-noise sampler counts {high} steps in all, the low-noise one {low}"
        yield Found(message=message, node_id=pair[1].sampler_id, input_name="steps")


def _gap(subject: Subject) -> Iterator[Found]:
    pair = subject.two_samplers()
    if pair is None:
        return
    end, start = pair[0].whole("end"), pair[1].whole("start")
    if end is not None and start is not None and 0 < end != start:
        given = pair[1].get("start")
        message = f"the first sampler ends before step {end}, the second begins with step {start}"
        yield Found(message=message, node_id=pair[1].sampler_id, input_name=_name(given))


def _split(subject: Subject) -> Iterator[Found]:
    pair = subject.two_samplers()
    if pair is None or _have_rows_of_their_own(pair):
        return
    steps, start, given = pair[1].whole("steps"), pair[1].whole("start"), pair[1].get("start")
    # Who computes the step, or cuts the wrapper's row of noise levels, cuts by the noise, not by the middle.
    meant = given is not None and (given.is_computed or _cuts_wrappers_row(subject, pair[1], given))
    if steps and start is not None and not meant and abs(start - steps / 2) > steps * _FAR_OFF:
        message = f"the low-noise expert begins with step {start} of {steps}"
        yield Found(message=message, node_id=pair[1].sampler_id, input_name=_name(given))


def _cuts_wrappers_row(subject: Subject, stage: Stage, start: Setting) -> bool:
    of_row = "sigmas" in inputs_of(subject.graph, start.asked.node_id)
    return of_row and stage.class_type.startswith("WanVideo")


def _noise(subject: Subject) -> Iterator[Found]:
    pair = subject.two_samplers()
    if pair is None:
        return
    leftover, added = pair[0].get("leftover"), pair[1].get("add_noise")
    if leftover is not None and leftover.value == "disable":
        message = "the first sampler hands on a latent without the noise that the second goes on from"
        yield Found(message=message, node_id=pair[0].sampler_id, input_name=leftover.asked.input_name)
    if added is not None and added.value == "enable":
        message = "the second sampler adds new noise to what the first has made"
        yield Found(message=message, node_id=pair[1].sampler_id, input_name=added.asked.input_name)


def _caches(subject: Subject) -> Iterator[Found]:
    stages = subject.roles.stages
    counts = [stage.whole("steps") for stage in stages]
    few = any(count is not None and count <= MOST_STEPS for count in counts)
    distilled = any(few_steps_of(stage) is not None for stage in stages)
    for cache in subject.roles.caches if few or distilled else ():
        message = f"{cache.class_type} skips steps where there are few to skip"
        yield Found(message=message, node_id=cache.node_id)


def _dead_negative(subject: Subject) -> Iterator[Found]:
    stages = subject.roles.stages
    if not stages or any(stage.guided is not False or stage.get("cfg") is None for stage in stages):
        return
    if any("NAG" in subject.class_of(node_id) for node_id in subject.roles.running):
        return
    for negative in subject.roles.of("negative"):
        if isinstance(negative.value, str) and negative.value.strip():
            message = "the negative prompt has no effect: every sampler has cfg 1"
            yield Found(message=message, node_id=negative.asked.node_id, input_name=negative.asked.input_name)


def _batch(subject: Subject) -> Iterator[Found]:
    for size in subject.roles.sizes:
        if size.batch is not None and size.batch.whole is not None and size.batch.whole > 1:
            message = f"{size.batch.whole} clips are sampled at once, in so many times the memory"
            yield Found(message=message, node_id=size.node_id, input_name=size.batch.asked.input_name)


def _nothing_sampled(subject: Subject) -> Iterator[Found]:
    for node_id in subject.running():
        denoise = subject.value(node_id, "denoise")
        if isinstance(denoise, int | float) and denoise <= 0:
            message = f"{subject.class_of(node_id)} samples nothing: its denoise is {denoise:g}"
            yield Found(message=message, node_id=node_id, input_name="denoise")


RULES: Final = (
    Rule(
        id="denoise-none",
        severity=Severity.WARNING,
        title="a sampler with denoise 0: it hands on what it was given, and nothing is painted",
        remedy="set denoise to 1, or less to keep more of what it is given",
        source="https://github.com/comfyanonymous/ComfyUI (comfy/samplers.py, KSampler.set_steps)",
        check=_nothing_sampled,
        any_model=True,
    ),
    Rule(
        id="steps-differ",
        severity=Severity.ERROR,
        title="the two samplers count different totals of steps",
        remedy="give both the same steps; start and end cut them in two",
        source=_TEMPLATES,
        check=_steps_differ,
    ),
    Rule(
        id="split-gap",
        severity=Severity.ERROR,
        title="the second sampler does not begin where the first ends",
        remedy="give the second the step at which the first ends",
        source=_TEMPLATES,
        check=_gap,
    ),
    Rule(
        id="noise-handed-on",
        severity=Severity.WARNING,
        title="noise is not handed on from the first sampler to the second",
        remedy="first: return_with_leftover_noise enable; second: add_noise disable",
        source=_TEMPLATES,
        check=_noise,
    ),
    Rule(
        id="split-far-off",
        severity=Severity.WARNING,
        title="the experts' steps are cut far from the middle",
        remedy="begin with the low-noise expert at half of the steps",
        source="https://github.com/ModelTC/LightX2V",
        check=_split,
    ),
    Rule(
        id="cache-few-steps",
        severity=Severity.WARNING,
        title=f"a cache that skips steps, with {MOST_STEPS} steps or fewer or with a few-step LoRA",
        remedy="take the cache out: it saves nothing there and harms the picture",
        source="https://github.com/kijai/ComfyUI-WanVideoWrapper",
        check=_caches,
    ),
    Rule(
        id="negative-dead",
        severity=Severity.INFO,
        title="a negative prompt at cfg 1 has no effect",
        remedy="leave it empty, or add NAG (which costs time)",
        source="https://docs.comfy.org/tutorials/video/wan/wan2_2",
        check=_dead_negative,
    ),
    Rule(
        id="batch-size",
        severity=Severity.WARNING,
        title="several clips in one batch: activations take that many times the memory, for no speed",
        remedy="set batch_size 1 and submit with --count: models stay loaded between jobs",
        source="https://github.com/Comfy-Org/ComfyUI (comfy/model_base.py)",
        check=_batch,
    ),
)
