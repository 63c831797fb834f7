"""Values that belong together: which of them move along when one is set, and what is said where they do not.

When the steps are set by their role, the step at which the stages hand over moves in proportion; with a size
or a length, numbers that fed the clip's node and equaled it. All else stays as the graph has it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from comfy.errors import GraphError
from comfy.graphs.links import ancestors, inputs_of
from comfy.wan.parameters import parameter_problem
from comfy.wan.parts import Stage
from comfy.wan.roles import Roles

# Inputs that mean the same wherever they stand: a number that feeds only these serves one purpose.
ALIKE: Final[Mapping[str, frozenset[str]]] = {
    "width": frozenset({"width", "target_width", "generation_width", "resize_width"}),
    "height": frozenset({"height", "target_height", "generation_height", "resize_height"}),
    "frames": frozenset({"length", "num_frames", "frames", "video_length", "frame_load_cap", "max_frames"}),
    "fps": frozenset({"fps", "frame_rate", "force_rate"}),
    "seed": frozenset({"seed", "noise_seed"}),
}
_OF_THE_CLIP: Final = ("width", "height", "frames")
# The last words of input paths that may set something apart from what belongs to it.
_SUSPECT: Final = ("steps", "step", "split", "fps", "rate", "value", "int", "number")


def moved_along(graph: Mapping[str, Any], roles: Roles, role: str, value: Any) -> dict[str, Any]:
    """What else is to be set when a role gets a value: "node.input" -> value.

    Raises:
        GraphError: a node computes what has to move along.
    """
    if role == "steps":
        return _splits(roles, value)
    return dict.fromkeys(_equal_before(graph, roles, role), value) if role in _OF_THE_CLIP else {}


def told_apart(before: Roles, after: Roles, values: Mapping[str, Any]) -> Iterator[str]:
    """What belongs together and was moved along, or was not: in words, for whoever set the values.

    Args:
        before: the roles of the graph as it was; `after`: with the values in it.
    """
    yield from _steps_apart(before, after, values)
    yield from _rate_apart(before, after, values)


def may_part(values: Collection[str]) -> bool:
    """Whether any of these input paths could part what belongs together: to look costs its time."""
    return any(path.lower().endswith(_SUSPECT) for path in values)


def _splits(roles: Roles, steps: int) -> dict[str, Any]:
    moved: dict[str, Any] = {}
    for stage in roles.stages:
        before = stage.whole("steps")
        for name in ("start", "end"):
            at = stage.get(name)
            if at is None or before is None or at.whole is None or not 0 < at.whole <= before:
                continue
            if at.is_computed:
                message = f"the stages hand over at {at.set_at}, which node {at.source_id} computes"
                raise GraphError([parameter_problem("computed_role", "steps", message)])
            within = min(max(round(at.whole * steps / before), 1), max(steps - 1, 1))
            moved[str(at.set_at)] = within if at.whole < before else steps  # it ends with the last step
    return moved


def _equal_before(graph: Mapping[str, Any], roles: Roles, role: str) -> Iterator[str]:
    """Numbers on the way to the clip's node that are what the role was: a picture is resized to it, say."""
    former = roles.value(role)
    if not roles.sizes or not isinstance(former, int):
        return
    clip = roles.sizes[0].node_id
    for node_id in sorted(ancestors(graph, [clip]) & roles.running - {clip}):
        for name, value in inputs_of(graph, node_id).items():
            if name in ALIKE[role] and value == former and not isinstance(value, bool):
                yield f"{node_id}.{name}"


def _steps_apart(before: Roles, after: Roles, values: Mapping[str, Any]) -> Iterator[str]:
    stages = {stage.sampler_id: stage for stage in before.stages}
    pairs = [(stages[each.sampler_id], each) for each in after.stages if each.sampler_id in stages]
    changed = [each for was, each in pairs if was.whole("steps") != each.whole("steps")]
    if not changed:
        return
    steps = changed[0].whole("steps")
    for was, now in pairs:
        if now not in changed and was.whole("steps") != steps:
            counts = was.whole("steps")
            yield f"node {now.sampler_id} still counts {counts} steps: `steps={steps}` sets all samplers"
        for name in ("start", "end"):
            yield from _hand_over(was, now, name, values)


def _hand_over(was: Stage, now: Stage, name: str, values: Mapping[str, Any]) -> Iterator[str]:
    at, then = now.get(name), was.whole(name)
    before = was.whole("steps")
    if at is None or then is None or before is None or not 0 < then < before:
        return
    if at.whole != then and name == "end":
        yield f"the stages hand over at step {at.whole} of {now.whole('steps')} ({then} of {before} before)"
    elif at.whole == then and str(at.set_at) not in values and was.whole("steps") != now.whole("steps"):
        yield (
            f"{at.set_at} stays {then}, as for {before} steps: `steps={now.whole('steps')}` moves it along"
        )


def _rate_apart(before: Roles, after: Roles, values: Mapping[str, Any]) -> Iterator[str]:
    """Another frame rate alone makes no longer clip, but one that plays faster."""
    was, now, frames = before.value("fps"), after.value("fps"), after.value("frames")
    rates = (was, now, frames)
    if not all(isinstance(each, int | float) and each > 0 for each in rates) or was == now:
        return
    if before.value("frames") != frames or any(str(each.set_at) in values for each in after.of("frames")):
        return
    as_long = round((frames - 1) * now / was / 4) * 4 + 1
    yield (
        f"{frames:g} frames stay and play {now / was:.3g} times as fast, at {now:g} fps for {was:g}; "
        f"`frames={as_long}` keeps the clip's length"
    )
