"""What a judge remembers of values that are right whatever they are."""

from __future__ import annotations

import pytest

from comfy.generations import NEWEST
from comfy.node_defs.definitions import shipped_definitions
from farm.fleet.judge import Judge
from tests.support.fleet import changed, wan_graph


@pytest.mark.parametrize("class_type", ["PrimitiveFloat", "FloatConstant", "PrimitiveInt", "INTConstant"])
def test_a_constant_within_bounds_that_no_float_can_hold_is_right(class_type: str) -> None:
    graph = changed(wan_graph(), "60.fps", ["900", 0])
    graph["900"] = {"class_type": class_type, "inputs": {"value": 16}}

    problems = Judge(shipped_definitions(), NEWEST).problems(graph)

    assert [each for each in problems if each.node_id == "900"] == []
