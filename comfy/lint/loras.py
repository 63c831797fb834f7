"""Rules about LoRAs, few-step ones above all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from comfy.lint.diagnostic import Severity
from comfy.lint.rule import Found, Rule, Subject
from comfy.wan.model_table import Kind
from comfy.wan.names import distilled_steps, is_distilled, is_guess, set_of, words_of
from comfy.wan.roles import Expert, Lora, Stage

_CARD: Final = "https://huggingface.co/lightx2v/Wan2.2-Distill-Loras"
MOST_STEPS: Final = 8
# Other models' LoRAs lie in the same folder.
_OTHERS: Final = re.compile(
    r"(?<![a-z])(flux|sdxl|sd ?1 ?5|sd ?3|qwen|hunyuan|ltx|z ?image|chroma|kontext|hidream|cosmos|mochi)"
)


def _swapped(subject: Subject) -> Iterator[Found]:
    pair = subject.pair()
    if pair is None:
        return
    wrong = [[lora for lora in stage.active_loras if _is_for_other(lora, stage)] for stage in pair]
    if all(wrong):
        high, low = wrong[0][0], wrong[1][0]
        message = f"{high.file.value} is on the high-noise expert and {low.file.value} on the low-noise one"
        yield Found(message=message, node_id=high.node_id, input_name=high.file.asked.input_name)


def _wrong_expert(subject: Subject) -> Iterator[Found]:
    pair = subject.pair()
    if pair is None or any(_swapped(subject)):
        return
    for stage in pair:
        for lora in stage.active_loras:
            if _is_for_other(lora, stage):
                message = f"{lora.file.value} is on the {stage.expert}-noise expert"
                yield Found(message=message, node_id=lora.node_id, input_name=lora.file.asked.input_name)


def _is_for_other(lora: Lora, stage: Stage) -> bool:
    return lora.expert is not None and lora.expert is not stage.expert


def _on_both(subject: Subject) -> Iterator[Found]:
    pair = subject.pair()
    if pair is None:
        return
    names = [{lora.file.value: lora for lora in stage.active_loras if lora.expert is None} for stage in pair]
    for name in names[0].keys() & names[1].keys():
        if isinstance(name, str):
            lora = names[1][name]
            message = f"{name} is on both experts, which were trained apart"
            yield Found(message=message, node_id=lora.node_id, input_name=lora.file.asked.input_name)


def _one_only(subject: Subject) -> Iterator[Found]:
    pair = subject.pair()
    if pair is None:
        return
    high, low = pair
    if bool(high.active_loras) == bool(low.active_loras):
        return
    with_one, without = (high, "low") if high.active_loras else (low, "high")
    lora = with_one.active_loras[0]
    message = (
        f"{lora.file.value} is on the {with_one.expert}-noise expert, and the {without}-noise one has none"
    )
    yield Found(message=message, node_id=lora.node_id)


def few_steps_of(stage: Stage) -> tuple[str, int] | None:
    """The file that makes a stage do with few steps, its own or a LoRA, and how many; None: it takes many."""
    named = [(lora.file.value, Kind.LORA) for lora in stage.active_loras] + [(stage.file_name, Kind.MODEL)]
    for name, kind in named:
        if isinstance(name, str) and (steps := distilled_steps(name, kind)) is not None:
            return name, steps
    return None


def _guided(subject: Subject) -> Iterator[Found]:
    for stage in subject.roles.stages:
        few, cfg = few_steps_of(stage), stage.get("cfg")
        if few is not None and stage.guided and cfg is not None and cfg.value > 1:
            message = f"cfg {cfg.value:g} with {few[0]}, made for few steps: every step takes twice as long"
            yield Found(message=message, node_id=stage.sampler_id, input_name=cfg.asked.input_name)


def _many_steps(subject: Subject) -> Iterator[Found]:
    stages = [(stage, few) for stage in subject.roles.stages if (few := few_steps_of(stage)) is not None]
    counts = [stage.steps_run for stage in subject.roles.stages]
    if not stages or any(count is None for count in counts):
        return
    stage, (name, meant) = stages[0]
    steps = _steps_of_a_clip(subject)
    if steps > 2 * meant:
        place = stage.get("steps")
        yield Found(
            message=f"{steps} steps with {name}, which was made for {meant}",
            node_id=stage.sampler_id,
            input_name=place.asked.input_name if place is not None else None,
        )


def _steps_of_a_clip(subject: Subject) -> int:
    """Steps from noise to a clip: a graph may make several, or a long one in parts."""
    stages = subject.roles.stages
    clips = {stage.sampler_id for stage in stages if stage.adds_noise and not stage.whole("start")}
    return sum(stage.steps_run or 0 for stage in stages) // max(len(clips), 1)


def _many_unguided(subject: Subject) -> Iterator[Found]:
    stages = subject.roles.stages
    # Nobody can tell from a merge's name what is in it: a few-step LoRA, most often.
    if any(
        stage.guided is not False or few_steps_of(stage) is not None or is_guess(stage.file_name or "")
        for stage in stages
    ):
        return
    counts = [stage.steps_run for stage in stages]
    steps = _steps_of_a_clip(subject)
    if None not in counts and steps > MOST_STEPS:
        message = f"{steps} steps at cfg 1, and nothing that was distilled for it"
        cfg = stages[0].get("cfg")
        name = cfg.asked.input_name if cfg is not None else None
        yield Found(message=message, node_id=stages[0].sampler_id, input_name=name)


def _no_effect(subject: Subject) -> Iterator[Found]:
    for stage in subject.roles.stages:
        for lora in stage.loras:
            if not lora.has_effect:
                name = lora.strength.asked.input_name if lora.strength is not None else None
                message = f"{lora.file.value} has strength 0: it is left out"
                yield Found(message=message, node_id=lora.node_id, input_name=name)


def _other_family(subject: Subject) -> Iterator[Found]:
    for stage in subject.roles.stages:
        model = set_of(stage.file_name or "")
        for lora in stage.active_loras:
            made_for = _made_for(lora.file.value)
            family = model.family.name if model is not None and model.family is not None else None
            if made_for is not None and family is not None and made_for != family:
                message = f"{lora.file.value} was made for {made_for}, and is put on {stage.file_name}"
                yield Found(message=message, node_id=lora.node_id, input_name=lora.file.asked.input_name)


def _made_for(name: object) -> str | None:
    """The transformer that a LoRA was made for, as far as its name tells."""
    if not isinstance(name, str):
        return None
    row = set_of(name, Kind.LORA)
    if row is not None and row.family is not None:
        return row.family.name
    other = _OTHERS.search(words_of(name))
    return None if other is None else f"another model ({other[0]})"


def _repeated(subject: Subject) -> Iterator[Found]:
    for stage in subject.roles.stages:
        few = [lora for lora in stage.active_loras if is_distilled(lora.file.value)]
        if len(few) > 1:
            names = ", ".join(str(lora.file.value) for lora in few)
            expert = f" on the {stage.expert}-noise expert" if stage.expert is not Expert.SINGLE else ""
            yield Found(message=f"{len(few)} few-step LoRAs{expert}: {names}", node_id=few[-1].node_id)


RULES: Final = (
    Rule(
        id="lora-swapped",
        severity=Severity.ERROR,
        title="the high- and the low-noise LoRA are on each other's expert: a grey clip, and no error",
        remedy="put the high-noise file behind the high-noise loader, the low-noise file behind the other",
        source=_CARD,
        check=_swapped,
    ),
    Rule(
        id="lora-wrong-expert",
        severity=Severity.ERROR,
        title="a LoRA made for one expert is on the other: one file for both, most often",
        remedy="give each expert the file with its own noise level in the name",
        source=_CARD,
        check=_wrong_expert,
    ),
    Rule(
        id="lora-on-both",
        severity=Severity.WARNING,
        title="one LoRA file for both experts, and its name does not say that it is meant so",
        remedy="look for the pair that was trained for WAN 2.2; a LoRA of WAN 2.1 works on both, less well",
        source=_CARD,
        check=_on_both,
    ),
    Rule(
        id="lora-one-expert",
        severity=Severity.WARNING,
        title="only one of the two experts has a LoRA",
        remedy="put the other file of the pair on the other expert, unless one is meant to go without",
        source=_CARD,
        check=_one_only,
    ),
    Rule(
        id="distilled-cfg",
        severity=Severity.WARNING,
        title="guidance (cfg above 1) with a few-step model or LoRA: twice the time, and a burnt look",
        remedy="set cfg to 1, unless the first stage is guided on purpose to have more motion",
        source="https://github.com/ModelTC/Wan2.2-Lightning",
        check=_guided,
    ),
    Rule(
        id="distilled-steps",
        severity=Severity.WARNING,
        title="more than twice the steps that a few-step model or LoRA was made for",
        remedy="set the steps that it was made for: 4 for most, 2 for each expert",
        source="https://github.com/ModelTC/Wan2.2-Lightning",
        check=_many_steps,
    ),
    Rule(
        id="distilled-twice",
        severity=Severity.WARNING,
        title="more than one few-step LoRA on one model",
        remedy="keep the one that was made for this model",
        source=_CARD,
        check=_repeated,
    ),
    Rule(
        id="many-steps-unguided",
        severity=Severity.WARNING,
        title=f"more than {MOST_STEPS} steps at cfg 1, and no model or LoRA that was distilled for that",
        remedy="set cfg 3 to 5, or put the few-step LoRAs in and set 4 steps",
        source="https://docs.comfy.org/tutorials/video/wan/wan2_2",
        check=_many_unguided,
    ),
    Rule(
        id="lora-no-effect",
        severity=Severity.INFO,
        title="a LoRA of strength 0",
        remedy="take it out, or give it a strength",
        source="https://github.com/Comfy-Org/ComfyUI (nodes.py, LoraLoader)",
        check=_no_effect,
        any_model=True,
    ),
    Rule(
        id="lora-other-model",
        severity=Severity.WARNING,
        title="a LoRA that was made for another model: its keys do not fit, and it does nothing or harm",
        remedy="take the one that was made for this model",
        source="https://github.com/Comfy-Org/ComfyUI (comfy/sd.py, `lora key not loaded`)",
        check=_other_family,
    ),
)
