"""Nodes that choose, compute or show a value; one that only holds it passes it on like any other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from comfy.emulator.stage import Outcome, Stage, give
from comfy.emulator.values import Images
from comfy.graphs.arithmetic import evaluate


def _switch(stage: Stage) -> Outcome:
    return give(stage.inputs.get("on_true" if stage.inputs["switch"] else "on_false"))


def _formula(stage: Stage) -> Outcome:
    formula = stage.inputs["expression"]
    names = {
        name.removeprefix("values."): value
        for name, value in stage.inputs.items()
        if name.startswith("values.")
    }
    result = evaluate(formula, names)
    if result is None:
        raise ValueError(f"the emulator cannot work out '{formula}'")
    return give(float(result), int(result), bool(result))


def _custom_choice(stage: Stage) -> Outcome:
    return give(stage.inputs["choice"], stage.inputs.get("index", 0))


def _cfg_schedule(stage: Stage) -> Outcome:
    """A cfg for each step of the part between the two percentages, 1 elsewhere."""
    given = stage.inputs
    steps, first = given["steps"], int(given["steps"] * given["start_percent"])
    last = max(first + 1, int(given["steps"] * given["end_percent"]))
    span = max(1, last - first - 1)
    low, high = given["cfg_scale_start"], given["cfg_scale_end"]
    within = range(first, last)
    schedule = [
        low + (high - low) * (step - first) / span if step in within else 1.0 for step in range(steps)
    ]
    return give(schedule)


def _size(stage: Stage) -> Outcome:
    image: Images = stage.inputs["image"]
    return give(image.width, image.height, image.count)


def _size_and_count(stage: Stage) -> Outcome:
    image: Images = stage.inputs["image"]
    return give(image, image.width, image.height, image.count)


def _show(stage: Stage) -> Outcome:
    shown = stage.inputs.get("source")
    text = shown if isinstance(shown, str) else str(shown)
    return Outcome(outputs=(text,), ui={"text": [text]})


VALUE_ACTS: Final[Mapping[str, Callable[[Stage], Outcome]]] = {
    "ComfySwitchNode": _switch,
    "ComfyMathExpression": _formula,
    "CustomCombo": _custom_choice,
    "CreateCFGScheduleFloatList": _cfg_schedule,
    "GetImageSize": _size,
    "GetImageSizeAndCount": _size_and_count,
    "PreviewAny": _show,
}


def number(value: Any) -> str:
    """A cfg as a sampler's words tell it: a number, or the first of a list of them."""
    if isinstance(value, list | tuple):
        return f"{value[0]:g}…" if value else "?"
    return f"{value:g}"
