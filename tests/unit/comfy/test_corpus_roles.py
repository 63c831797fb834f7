"""What is read from every file of the corpus is what it was made from."""

from __future__ import annotations

from typing import Any

import pytest

from comfy.node_defs.definitions import shipped_definitions
from comfy.ui.load import load_any
from comfy.wan.roles import Roles, find_roles
from tests.support import corpus
from tests.support.tables import for_each

_TOLD = {name: each for name, each in corpus.facts().items() if "width" in each}


def roles_of(name: str) -> Roles:
    graph = load_any(corpus.content(name), shipped_definitions).graph
    return find_roles(graph, shipped_definitions())


@for_each("name", _TOLD)
def test_size_rate_and_steps_are_found(name: str) -> None:
    roles = roles_of(name)

    found: dict[str, Any] = {role: roles.value(role) for role in ("width", "height", "frames", "fps")}
    assert found == {role: _TOLD[name][role] for role in found}
    by_sampler: dict[str, int] = {}
    for stage in roles.stages:
        by_sampler[stage.sampler_id] = by_sampler.get(stage.sampler_id, 0) + (stage.steps_run or 0)
    assert list(by_sampler.values()) == _TOLD[name]["steps"]


@pytest.mark.parametrize("name", [name for name, each in _TOLD.items() if "loras" in each])
def test_loras_are_found_with_their_strengths(name: str) -> None:
    found = {
        stage.expert.value: {
            lora.file.value: None if lora.strength is None else lora.strength.value for lora in stage.loras
        }
        for stage in roles_of(name).stages
    }

    assert found == _TOLD[name]["loras"]
