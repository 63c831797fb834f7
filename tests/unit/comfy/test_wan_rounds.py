from __future__ import annotations

from typing import Any

import pytest

from comfy.wan.rounds import rounds_of


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def looped(start: dict[str, Any], end: str, **closing: Any) -> dict[str, Any]:
    """A sampler in a loop, and one before it."""
    return {
        "before": node("KSampler", seed=1),
        "start": {**start, "inputs": {**start["inputs"], "initial_value1": ["before", 0]}},
        "inside": node("KSampler", latent_image=["start", 2]),
        "end": node(end, initial_value1=["inside", 0], **closing),
        "after": node("KSampler", latent_image=["end", 0]),
    }


@pytest.mark.parametrize(
    ("graph", "rounds"),
    [
        (looped(node("easy forLoopStart", total=5), "easy forLoopEnd", flow=["start", 0]), 5),
        (looped(node("ForLoopOpen", remaining=3), "ForLoopClose", flow_control=["start", 0]), 3),
        (looped(node("StartLoop", **{"mode": "simple", "mode.num_iterations": 4}), "EndLoop"), 4),
        (
            looped(
                node(
                    "StartLoop",
                    **{
                        "mode": "For",
                        "mode.start_iteration_index": 2,
                        "mode.max_iteration": 7,
                        "mode.step": 2,
                    },
                ),
                "EndLoop",
            ),
            3,
        ),
        (looped(node("easy whileLoopStart"), "easy whileLoopEnd", flow=["start", 0]), None),
        (looped(node("easy forLoopStart", total=["before", 1]), "easy forLoopEnd", flow=["start", 0]), None),
    ],
)
def test_what_lies_in_a_loop_runs_as_often_as_that(graph: dict[str, Any], rounds: int | None) -> None:
    assert rounds_of(graph, "inside") == rounds
    assert (rounds_of(graph, "before"), rounds_of(graph, "after")) == (1, 1)


def test_loops_within_each_other_multiply() -> None:
    inner = looped(node("ForLoopOpen", remaining=3), "ForLoopClose", flow_control=["start", 0])
    inner["start"]["inputs"]["initial_value2"] = ["outer", 2]
    graph = {
        "outer": node("easy forLoopStart", total=4),
        **inner,
        "last": node("easy forLoopEnd", flow=["outer", 0], initial_value1=["end", 0]),
    }

    assert rounds_of(graph, "inside") == 12
