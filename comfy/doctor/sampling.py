"""Rules about sampling: slower than it should be, more passes than needed, aids that do nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from comfy.doctor.record import evidence
from comfy.doctor.report import Confidence, Evidence, Question, Severity
from comfy.doctor.rule import Case, Found, Rule, estimated, measured
from comfy.doctor.words import numbers_words
from comfy.lint.loras import few_steps_of
from comfy.log.facts import CompileLimitFact, LoraKeyFact, ModelLoadedFact, StepsSkippedFact

_MANY: Final = (
    100  # layers: a whole LoRA of WAN's smallest model has 30 blocks of ten, each with two matrices
)
_FEW: Final = 10  # times as many layers found their place: the rest was made for something beside the model
SLOW: Final = 1.6  # times the prediction: below that, "normal for this size"
_LONG_FIRST_S: Final = 15.0  # beyond the others
_PACE_SOURCE: Final = "predicted by 2·P·N + 4·L·d·N² per pass and the card's rate"


def _slower(case: Case) -> Iterator[Found]:
    plan = case.forecast
    if plan is None:
        return
    for prompt in case.done():
        for (one, stage), expected in zip(case.stages_of(prompt), plan.stages, strict=False):
            pace, step = one.seconds_per_step, expected.step
            if pace is None or step is None or pace <= max(SLOW * step.seconds, step.high):
                continue
            lost = one.steps * (pace - step.seconds)
            yield Found(
                message=f"{stage.label}: {pace:.1f} s a step, predicted {step.seconds:.1f} s "
                f"({step.low:.1f} to {step.high:.1f}) for {stage.size.name} on a {case.gpu}",
                evidence=(Evidence(text=f"{one.steps} steps at {pace:.2f} s; predicted: {step.source}"),),
                cost=estimated(
                    lost,
                    one.steps * (pace - step.high),
                    one.steps * (pace - step.low),
                    f"{one.steps} × ({pace:.2f} − {step.seconds:.2f}) s",
                    f"{_PACE_SOURCE}; {step.source}",
                ),
                prompt=prompt.number,
                confidence=Confidence.LIKELY,
            )


def _passes(case: Case) -> Iterator[Found]:
    """A few-step LoRA or model is made for one pass; guidance doubles the work and spoils the picture."""
    stages = case.roles.stages
    for stage in (each for each in stages if each.guided and few_steps_of(each) is not None):
        prompt = next(case.done(), None)
        pairs = case.stages_of(prompt) if prompt is not None else []
        seconds = next((one.seconds for one, load in pairs if load.sampler_id == stage.sampler_id), None)
        formula = f"half of {seconds:.1f} s: one pass in place of two" if seconds is not None else ""
        yield Found(
            message=f"node {stage.sampler_id}: guidance beside a few-step LoRA, two passes for each step",
            evidence=(Evidence(text=f"node {stage.sampler_id}: cfg is not 1"),),
            cost=measured(seconds / 2, formula) if seconds is not None else None,
            prompt=prompt.number if prompt is not None else None,
        )


def _useless_cache(case: Case) -> Iterator[Found]:
    for run in case.runs:
        told = list(run.of(StepsSkippedFact))
        idle = [entry for entry, _ in told]
        # The wrapper tells of each prediction by itself, of those that were not made too.
        if told and not any(fact.skipped for _, fact in told):
            yield Found(
                message="a step cache has skipped no step",
                evidence=evidence(idle),
                prompt=run.number,
            )


def is_image_key(key: str) -> bool:
    """Whether a LoRA's layer is of the image embedding that WAN 2.1 I2V has, and WAN 2.2 has no more."""
    return any(part in key for part in (".img_emb.", "_img.", "img_emb_proj"))


def _lora(case: Case) -> Iterator[Found]:
    for run in case.runs:
        lines = [entry for entry, fact in run.of(LoraKeyFact) if not is_image_key(fact.key)]
        count = run.count(LoraKeyFact) - sum(is_image_key(fact.key) for _, fact in run.of(LoraKeyFact))
        fitted = max((fact.patches or 0 for _, fact in run.of(ModelLoadedFact)), default=0)
        if lines and count * _FEW > fitted:
            is_most = count >= _MANY
            part = "it is" if is_most else "a part of it has no effect, or it is"
            yield Found(
                message=f"{count} layers of a LoRA found no place in the model: {part} for another one",
                evidence=evidence(lines, count=count),
                prompt=run.number,
                confidence=Confidence.PROVEN if is_most else Confidence.LIKELY,
            )


def _compile(case: Case) -> Iterator[Found]:
    for run, prompt in case.logged():
        lines = [entry for entry, _ in run.of(CompileLimitFact)]
        if not lines:
            continue
        extra = [
            one.first_step_s - one.seconds_per_step
            for one in prompt.samplers
            if one.first_step_s is not None and one.seconds_per_step is not None
        ]
        cost = measured(sum(extra), "first steps beyond the others") if extra else None
        yield Found(
            message="torch.compile gave up a function after too many tries",
            evidence=evidence(lines, count=run.count(CompileLimitFact)),
            cost=cost,
            prompt=run.number,
        )


def undecided(case: Case) -> Iterator[Question]:
    """First steps that took much longer than those behind them."""
    found = [
        (prompt, one.first_step_s, one.seconds_per_step)
        for run, prompt in case.logged()
        for one in prompt.samplers
        if one.first_step_s is not None
        and one.seconds_per_step is not None
        and one.first_step_s - one.seconds_per_step > max(_LONG_FIRST_S, one.seconds_per_step)
        and not run.count(CompileLimitFact)
    ]
    if found:
        _, first, pace = max(found, key=lambda each: each[1])
        yield Question(
            what=f"{numbers_words(sorted({prompt.number for prompt, _, _ in found}))}: the first step took "
            f"{first:.0f} s, and those behind it {pace:.1f} s each: something was compiled, tuned or loaded",
            decides="a second prompt of the same size and model: what is compiled is not compiled again",
        )


RULES: Final = (
    Rule(
        id="slower-than-predicted",
        severity=Severity.WARNING,
        title="steps take more than 1.6 times what card and size predict",
        remedy="look for another process on the card, its power limit and temperature, and partial-load",
        check=_slower,
        cost="steps × (measured − predicted)",
        source="https://github.com/Wan-Video/Wan2.2 (README), docs.comfy.org/tutorials/video/wan",
    ),
    Rule(
        id="more-passes-than-needed",
        severity=Severity.WARNING,
        title="guidance beside a few-step LoRA: two passes where one is meant",
        remedy="set cfg to 1 on that sampler",
        check=_passes,
        cost="half of that stage's sampling",
    ),
    Rule(
        id="step-cache-idle",
        severity=Severity.INFO,
        title="a step cache skips nothing",
        remedy="take it out of graphs of few steps, or raise its threshold",
        check=_useless_cache,
        source="https://github.com/Comfy-Org/ComfyUI (comfy_extras/nodes_easycache.py)",
    ),
    Rule(
        id="lora-not-loaded",
        severity=Severity.ERROR,
        title="a LoRA is not for this model: without effect, or half of it",
        remedy="take the LoRA of this family and expert: `farm lint FILE` names the pairs that do not fit",
        check=_lora,
        source="https://github.com/Comfy-Org/ComfyUI (comfy/lora.py)",
    ),
    Rule(
        id="compile-thrash",
        severity=Severity.WARNING,
        title="torch.compile compiles again and again",
        remedy="take TorchCompileModel out, unless a worker renders one size only",
        check=_compile,
        cost="first steps beyond the others",
        source="https://github.com/Comfy-Org/ComfyUI/issues/10666",
    ),
)
