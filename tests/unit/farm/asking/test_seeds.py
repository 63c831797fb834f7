"""One request, several jobs: their seeds and keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from farm.asking.prepare import prepare
from farm.asking.request import JobRequest
from farm.asking.seeds import with_seeds
from farm.errors import InvalidJob
from farm.store.codec import spec_digest
from tests.support.fleet import PICTURE, TEMPLATE, wan_graph

GRAPHS = Path(__file__).parents[3] / "data" / "graphs"


def test_the_seeds_of_a_workflow_are_counted_up() -> None:
    request = JobRequest(graph=GRAPHS / "core_t2v_a14b_subgraph.ui.json")

    seeds = [prepare(each).graph["200:57"]["inputs"]["noise_seed"] for each in with_seeds(request, 3)]

    assert seeds == [seeds[0], seeds[0] + 1, seeds[0] + 2]


def test_copies_of_a_template_count_their_seeds_up() -> None:
    request = JobRequest(template=TEMPLATE, parameters={"prompt": "x", "seed": 40})

    seeds = [prepare(each).template_parameters["seed"] for each in with_seeds(request, 3)]

    assert seeds == [40, 41, 42]


def test_a_seed_that_is_drawn_for_a_key_is_the_same_in_every_process() -> None:
    def seed_for(key: Any) -> int:
        request = JobRequest(template=TEMPLATE, parameters={"prompt": "x"}, idempotency_key=key)
        return int(prepare(request).template_parameters["seed"])

    assert seed_for("k1") == 28054088640678
    assert len({seed_for(f"k{number}") for number in range(50)}) == 50
    assert len({seed_for(None) for _ in range(50)}) == 50


def test_copies_of_a_template_for_a_key_have_the_same_seeds_each_time() -> None:
    request = JobRequest(template=TEMPLATE, parameters={"prompt": "x"}, idempotency_key="night")

    first, again = ([prepare(each) for each in with_seeds(request, 3)] for _ in range(2))

    assert [spec_digest(spec) for spec in first] == [spec_digest(spec) for spec in again]
    assert len({spec.template_parameters["seed"] for spec in first}) == 3


def test_copies_of_a_graph_differ_in_every_seed_and_in_their_key() -> None:
    request = JobRequest(graph=wan_graph(seed=5), options={"idempotency_key": "night"})

    specs = [prepare(each) for each in with_seeds(request, 2)]

    assert [spec.graph["57"]["inputs"]["noise_seed"] for spec in specs] == [5, 6]
    assert [spec.idempotency_key for spec in specs] == ["night-0", "night-1"]


def test_copies_of_a_graph_without_a_seed_are_refused() -> None:
    with pytest.raises(InvalidJob, match="same clip"):
        list(with_seeds(JobRequest(graph=PICTURE), 2))
