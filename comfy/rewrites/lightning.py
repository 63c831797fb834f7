"""Few-step LoRAs, put in with the settings that they were made for."""

from __future__ import annotations

from typing import Any, Final

from comfy.node_defs.definitions import Definitions
from comfy.node_defs.node_classes import base_class
from comfy.rewrites.change import ChangeKind
from comfy.rewrites.draft import Draft, GaveUp
from comfy.rewrites.rewrite import Rewrite
from comfy.wan import distilled
from comfy.wan.models import WAN_14B
from comfy.wan.names import distilled_steps, family_of, is_distilled, task_of
from comfy.wan.roles import Expert, Stage, find_roles

_OF_WRAPPER: Final = "WanVideoModelLoader"
_SAMPLERS: Final = frozenset({"KSampler", "KSamplerAdvanced", "WanVideoSampler"})
_TO_THE_END: Final = 10_000  # how KSamplerAdvanced writes it


def add_lightning(draft: Draft) -> None:
    """Put the few-step LoRA of its expert on each model, and set steps, split, cfg and shift.

    Raises:
        GaveUp: something that it needs is not there; half of it would be worse than nothing.
    """
    if not draft.options.lightning:
        return
    stages = find_roles(draft.graph, draft.site.definitions).stages
    _check(stages)
    files = _files(stages, draft.site.definitions)
    for stage, file in zip(stages, files, strict=True):
        _put_lora(draft, stage, file)
        _set_sampling(draft, stage)


def _check(stages: tuple[Stage, ...]) -> None:
    experts = [stage.expert for stage in stages]
    if experts not in ([Expert.SINGLE], [Expert.HIGH, Expert.LOW]):
        raise GaveUp(
            "a few-step LoRA goes into one sampler, or into a high- and a low-noise one; here are others"
        )
    there = [lora.file.value for stage in stages for lora in stage.loras if is_distilled(lora.file.value)]
    if there:
        raise GaveUp(f"a few-step LoRA is there already: {there[0]}")
    loaders = {stage.loader.node_id for stage in stages if stage.loader is not None}
    if len(loaders) < len(stages):
        raise GaveUp("where a sampler's model comes from is not known, or one loader serves both")
    for stage in stages:
        if base_class(stage.class_type) not in _SAMPLERS:
            raise GaveUp(f"the settings of {stage.class_type} are not known well enough")
        name = stage.file_name or ""
        if family_of(name) is not WAN_14B or task_of(name) is None:
            raise GaveUp(
                f"there is a few-step LoRA for the T2V and I2V models of 14B, not for {name or 'this model'}"
            )
        if distilled_steps(name) is not None:
            raise GaveUp(f"{name} is a few-step model already")


def _files(stages: tuple[Stage, ...], definitions: Definitions) -> tuple[str, ...]:
    loader, name = stages[0].loader, stages[0].file_name or ""
    of_wrapper = loader is not None and base_class(loader.class_type) == _OF_WRAPPER
    class_type, input_name = (
        ("WanVideoLoraSelect", "lora") if of_wrapper else ("LoraLoaderModelOnly", "lora_name")
    )
    node = definitions.get(class_type)
    wanted = node.input(input_name) if node is not None else None
    if wanted is None or wanted.choices is None:
        raise GaveUp("which LoRAs are installed is not known")
    installed = [str(choice) for choice in wanted.choices]
    task = task_of(name) or ""
    if len(stages) == 2:
        pair = distilled.find_pair(task, installed)
        if pair is None:
            raise GaveUp(f"no pair of few-step LoRAs for WAN 2.2 {task.upper()} A14B is installed")
        return pair
    single = distilled.find_single(task, installed)
    if single is None:
        raise GaveUp(f"no few-step LoRA for WAN 2.1 {task.upper()} 14B is installed")
    return (single,)


def _put_lora(draft: Draft, stage: Stage, file: str) -> None:
    if stage.loader is None:
        raise GaveUp("where a sampler's model comes from is not known")
    loader_id = stage.loader.node_id
    title, why = (
        f"few-step LoRA, {stage.expert.value}",
        f"four steps instead of {stage.whole('steps') or 'many'}",
    )
    if base_class(stage.loader.class_type) == _OF_WRAPPER:
        before = draft.inputs(loader_id).get("lora")
        chain: dict[str, Any] = {} if before is None else {"prev_lora": before}
        added = draft.add(
            "WanVideoLoraSelect", {"lora": file, "strength": distilled.STRENGTH, **chain}, title, why
        )
        _need(draft, added is not None and draft.set(loader_id, "lora", [added, 0], why))
        return
    inputs = {"model": [loader_id, 0], "lora_name": file, "strength_model": distilled.STRENGTH}
    added = draft.add("LoraLoaderModelOnly", inputs, title, why)
    _need(draft, added is not None)
    # Next to the loader: whatever LoRAs and patches come after it stay as they are.
    draft.relink(loader_id, 0, [added, 0], why, but=added or "")


def _set_sampling(draft: Draft, stage: Stage) -> None:
    why = "what the few-step LoRA was made for"
    wrapper = base_class(stage.class_type) == "WanVideoSampler"
    wanted: dict[str, Any] = {"steps": distilled.STEPS, "cfg": distilled.CFG, "shift": distilled.SHIFT}
    wanted |= {"scheduler": "euler"} if wrapper else {"sampler": "euler", "scheduler": "simple"}
    if stage.expert is Expert.HIGH:
        wanted |= {"start": 0, "end": distilled.SPLIT}
    elif stage.expert is Expert.LOW:
        wanted |= {"start": distilled.SPLIT, "end": -1 if wrapper else _TO_THE_END}
    for role, value in wanted.items():
        given = stage.get(role)
        if given is not None:
            _need(draft, draft.set(given.asked.node_id, given.asked.input_name, value, why))
        elif role == "shift":
            _add_shift(draft, stage, why)
    if stage.expert is not Expert.SINGLE and (stage.get("start") is None or stage.get("end") is None):
        _need(draft, wrapper and _split_wrapper(draft, stage, why))


def _split_wrapper(draft: Draft, stage: Stage, why: str) -> bool:
    """Write the split where WanVideoSampler's optional inputs are not in the graph."""
    if stage.expert is Expert.HIGH:
        return draft.set(stage.sampler_id, "end_step", distilled.SPLIT, why)
    return draft.set(stage.sampler_id, "start_step", distilled.SPLIT, why)


def _add_shift(draft: Draft, stage: Stage, why: str) -> None:
    model = draft.inputs(stage.sampler_id).get("model")
    inputs = {"model": model, "shift": distilled.SHIFT}
    added = draft.add("ModelSamplingSD3", inputs, f"shift, {stage.expert.value}", why)
    _need(draft, added is not None and draft.set(stage.sampler_id, "model", [added, 0], why))


def _need(draft: Draft, done: bool) -> None:
    if not done:
        raise GaveUp(draft.notes[-1] if draft.notes else "the installed nodes do not take its settings")


LIGHTNING: Final = Rewrite(
    name="lightning",
    kind=ChangeKind.DIFFERENT,
    title="puts few-step LoRAs in, with the settings they want",
    when=(
        "the job asks for it (`--lightning`), the models are WAN 2.2 A14B or 2.1 14B for T2V or I2V, the "
        "graph has no such LoRA yet, and the files for every expert are installed"
    ),
    effect=(
        "4 steps, split at 2, cfg 1, shift 5, one LoRA for each expert: 513 s became 71 s for 640×640×81 on "
        "a 4090D. Less motion, prompts followed less closely, more contrast; the negative prompt is dead"
    ),
    source="https://docs.comfy.org/tutorials/video/wan/wan2_2",
    apply=add_lightning,
)
