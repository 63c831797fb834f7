"""What a job asks for, as its graph has it: prompt, size, steps, models."""

from __future__ import annotations

from collections.abc import Iterator

from comfy.wan.models import Expert
from comfy.wan.parts import Lora, Stage
from farm.asking.graphs import roles_of
from farm.job import JobSpec

_ROLES = ("prompt", "negative", "seed")


def what_is_asked(spec: JobSpec) -> Iterator[tuple[str, str]]:
    """Names and values, as a person reads them; what the graph computes when it runs is left out."""
    roles = roles_of(spec.graph)
    for role in _ROLES:
        values = [str(each.value) for each in roles.of(role) if not each.is_computed and each.value != ""]
        if values:
            yield role, "; ".join(dict.fromkeys(values))
    for size in roles.sizes[:1]:
        width, height, frames = size.width.whole, size.height.whole, size.frames.whole
        if width and height and frames:
            yield "size", f"{width}×{height}, {frames} frames"
    steps = [_steps(each) for each in roles.stages if each.steps_run is not None]
    if steps:
        yield "steps", ", ".join(steps)
    loras = dict.fromkeys(_lora(each) for stage in roles.stages for each in stage.loras)
    if loras:
        yield "LoRAs", "\n".join(loras)
    models = [f"{each.folder}/{each.name}" for each in spec.requirements.models if each.folder != "loras"]
    if models:
        yield "models", "\n".join(models)


def _steps(stage: Stage) -> str:
    return (
        f"{stage.steps_run}" if stage.expert is Expert.SINGLE else f"{stage.steps_run} {stage.expert} noise"
    )


def _lora(lora: Lora) -> str:
    strength = lora.strength.value if lora.strength is not None else None
    return f"{lora.file.value}" if strength is None else f"{lora.file.value} at {strength}"
