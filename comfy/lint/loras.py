"""Rules about LoRAs, few-step ones above all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from comfy.lint.diagnostic import Severity
from comfy.lint.rule import Found, Rule, Subject
from comfy.wan.names import is_distilled
from comfy.wan.roles import Expert, Lora, Stage

_CARD: Final = "https://huggingface.co/lightx2v/Wan2.2-Distill-Loras"
MOST_STEPS: Final = 8


def _swapped(subject: Subject) -> Iterator[Found]:
    pair = subject.pair()
    if pair is None:
        return
    wrong = [[lora for lora in stage.loras if _is_for_other(lora, stage)] for stage in pair]
    if all(wrong):
        high, low = wrong[0][0], wrong[1][0]
        message = f"{high.file.value} is on the high-noise expert and {low.file.value} on the low-noise one"
        yield Found(message=message, node_id=high.node_id, input_name=high.file.asked.input_name)


def _wrong_expert(subject: Subject) -> Iterator[Found]:
    pair = subject.pair()
    if pair is None or any(_swapped(subject)):
        return
    for stage in pair:
        for lora in stage.loras:
            if _is_for_other(lora, stage):
                message = f"{lora.file.value} is on the {stage.expert}-noise expert"
                yield Found(message=message, node_id=lora.node_id, input_name=lora.file.asked.input_name)


def _is_for_other(lora: Lora, stage: Stage) -> bool:
    return lora.expert is not None and lora.expert is not stage.expert


def _on_both(subject: Subject) -> Iterator[Found]:
    pair = subject.pair()
    if pair is None:
        return
    names = [{lora.file.value: lora for lora in stage.loras if lora.expert is None} for stage in pair]
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
    if bool(high.loras) == bool(low.loras):
        return
    with_one, without = (high, "low") if high.loras else (low, "high")
    lora = with_one.loras[0]
    message = (
        f"{lora.file.value} is on the {with_one.expert}-noise expert, and the {without}-noise one has none"
    )
    yield Found(message=message, node_id=lora.node_id)


def _distilled(stage: Stage) -> Lora | None:
    return next((lora for lora in stage.loras if is_distilled(lora.file.value)), None)


def _guided(subject: Subject) -> Iterator[Found]:
    for stage in subject.roles.stages:
        lora, cfg = _distilled(stage), stage.get("cfg")
        if lora is not None and cfg is not None and isinstance(cfg.value, int | float) and cfg.value > 1:
            message = (
                f"cfg {cfg.value:g} with the few-step LoRA {lora.file.value}: every step takes twice as long"
            )
            yield Found(message=message, node_id=stage.sampler_id, input_name=cfg.asked.input_name)


def _many_steps(subject: Subject) -> Iterator[Found]:
    stages = subject.roles.stages
    if not any(_distilled(stage) for stage in stages):
        return
    counts = [stage.steps_run for stage in stages]
    known = [count for count in counts if count is not None]
    if len(known) == len(counts) and sum(known) > MOST_STEPS:
        stage = next(stage for stage in stages if _distilled(stage))
        given = stage.get("steps")
        yield Found(
            message=f"{sum(known)} steps with a few-step LoRA, which was made for 4",
            node_id=stage.sampler_id,
            input_name=given.asked.input_name if given is not None else None,
        )


def _repeated(subject: Subject) -> Iterator[Found]:
    for stage in subject.roles.stages:
        few = [lora for lora in stage.loras if is_distilled(lora.file.value)]
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
        title="guidance (cfg above 1) with a few-step LoRA: twice the time, and a burnt look",
        remedy="set cfg to 1, unless the first stage is guided on purpose to have more motion",
        source="https://github.com/ModelTC/Wan2.2-Lightning",
        check=_guided,
    ),
    Rule(
        id="distilled-steps",
        severity=Severity.WARNING,
        title=f"more than {MOST_STEPS} steps with a few-step LoRA",
        remedy="set 4 steps, 2 for each expert",
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
)
