"""What one finished job tells of its kind: seconds of a step, and of each phase."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from comfy.protocol.phases import Phase
from comfy.protocol.progress import NodeTiming
from comfy.wan.forecast import pace_key
from comfy.wan.workload import StageLoad, read_workload
from farm.fleet.planning import target_of
from farm.status.worker import WorkerFacts

_PHASES: Final = {
    Phase.TEXT: "text",
    Phase.VAE: "vae",
    Phase.FRAMES: "frames",
    Phase.SAVE: "save",
}
_LEAST_S: Final = 0.001  # less is a node that handed on what was there


def job_seconds(
    graph: Mapping[str, Any], nodes: Iterable[NodeTiming], worker: WorkerFacts
) -> dict[str, float]:
    """Seconds by the name of their kind (`PaceKey.name`); empty for a graph that runs no WAN model we know.

    A step's seconds are the mean over the stages that are alike (both experts cost the same), without
    each sampler's first step. What samplers took beside their steps is "load" together with the loaders
    that ran, since weights go to the card only when a sampler asks for them; on a warm worker, where no
    loader ran, it is "swap". Other nodes that ComfyUI had in its cache say nothing.

    Args:
        graph: as it was executed.
        nodes: what ran.
        worker: what the worker says of itself.
    """
    work, target = read_workload(graph), target_of(worker)
    if work is None:
        return {}
    timed = {node.node_id: node for node in nodes}
    steps: dict[str, list[float]] = {}
    phases: dict[str, float] = {}
    weights = "load" if any(node.phase is Phase.LOAD for node in timed.values()) else "swap"
    for stage in work.stages:
        node = timed.get(stage.sampler_id)
        if node is None or not node.seconds_per_step:
            continue
        steps.setdefault(pace_key("step", stage, work, target).name(), []).append(node.seconds_per_step)
        _add(phases, weights, _before_steps(node, stage))
    for node in timed.values():
        name = "load" if node.phase is Phase.LOAD else _PHASES.get(node.phase)
        if name is not None:
            _add(phases, name, node.seconds or 0.0)
    found = {name: sum(seconds) / len(seconds) for name, seconds in steps.items()}
    for name, seconds in phases.items():
        if seconds >= _LEAST_S:
            found[pace_key(name, work.stages[0], work, target).name()] = seconds
    return found


def _before_steps(node: NodeTiming, stage: StageLoad) -> float:
    """What a sampler took beside its steps."""
    if node.seconds is None or node.seconds_per_step is None or stage.steps is None:
        return 0.0
    return max(node.seconds - stage.steps * node.seconds_per_step, 0.0)


def _add(phases: dict[str, float], name: str, seconds: float) -> None:
    phases[name] = phases.get(name, 0.0) + seconds
