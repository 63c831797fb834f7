"""Specs: what is accepted, what is refused and how it is said, and the way through JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from farm.errors import InvalidJob
from farm.job import (
    JobState,
    ModelFile,
    Requirements,
    is_job_id,
    make_spec,
    new_job_id,
    spec_from_json,
    spec_to_json,
    utc_from_ms,
)

GRAPH: dict[str, Any] = {"1": {"class_type": "SaveImage", "inputs": {"images": ["2", 0]}}}


def test_a_spec_comes_back_from_json_as_it_was() -> None:
    spec = make_spec(
        {
            "graph": GRAPH,
            "title": "Füchse 🦊",
            "parameters": {"1.filename_prefix": "a", "2.seed": 2**53 - 1},
            "inputs": {"5.image": "s3://farm/in/a.png"},
            "template": "wan22-t2v-a14b",
            "priority": 0,
            "deadline": datetime(2026, 12, 1, 8, 0, tzinfo=UTC),
            "time_limit_s": 900,
            "labels": ["shot=12", "a/b"],
            "idempotency_key": "k",
            "requirements": Requirements(
                vram_gib=24, node_classes=("SaveImage",), models=(ModelFile(folder="vae", name="v.pt"),)
            ),
        }
    )

    assert spec_from_json(spec_to_json(spec)) == spec


def test_fields_at_their_default_are_not_stored() -> None:
    assert json.loads(spec_to_json(make_spec({"graph": GRAPH}))) == {"graph": GRAPH}


def test_rewrite_options_are_stored_under_the_name_that_older_farms_read() -> None:
    spec = make_spec({"graph": GRAPH, "rewrite_options": {"max_width": 832}})

    stored = json.loads(spec_to_json(spec))

    assert stored["wishes"] == {"max_width": 832}
    assert spec_from_json(json.dumps(stored)) == spec


def test_a_spec_of_an_older_farm_gets_todays_defaults() -> None:
    spec = spec_from_json(json.dumps({"graph": GRAPH}))

    assert (spec.priority, spec.max_attempts, spec.labels, spec.requirements.vram_gib) == (5, 3, (), 8)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"priority": 10}, "priority"),
        ({"priority": -1}, "priority"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"time_limit_s": 0}, "time_limit_s"),
        ({"title": ""}, "title"),
        ({"labels": ["has space"]}, "labels.0"),
        ({"labels": [f"l{n}" for n in range(18)]}, "labels"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"deadline": datetime(2026, 1, 1)}, "deadline"),  # noqa: DTZ001 - that is the fault
        ({"graph": "a string"}, "graph"),
        ({"requirements": {"vram_gib": 23}}, "requirements.vram_gib"),
        ({"prioritty": 3}, "prioritty"),
    ],
)
def test_a_wrong_value_is_refused_and_its_field_named(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidJob) as refused:
        make_spec({"graph": GRAPH, **fields})

    assert [problem.field for problem in refused.value.problems] == [named]


def test_all_wrong_fields_are_named_at_once() -> None:
    with pytest.raises(InvalidJob) as refused:
        make_spec({"priority": 12, "max_attempts": 99})

    assert [problem.field for problem in refused.value.problems] == ["graph", "priority", "max_attempts"]


def test_a_refusal_never_shows_a_whole_graph() -> None:
    huge = {str(number): "x" * 100 for number in range(1000)}

    with pytest.raises(InvalidJob) as refused:
        make_spec({"graph": [huge], "title": "y" * 5000})

    assert len(str(refused.value)) < 500


def test_text_that_is_no_spec_is_refused() -> None:
    with pytest.raises(InvalidJob):
        spec_from_json(b"{not json")
    with pytest.raises(InvalidJob):
        spec_from_json(b"[]")


def test_job_ids_are_safe_in_keys_and_paths() -> None:
    assert is_job_id(new_job_id())
    for strange in ("", "short", "../../etc/passwd", "A" * 32, "a" * 65, "abcdefgh\n", "-abcdefgh"):
        assert not is_job_id(strange)


def test_exactly_the_last_four_states_are_final() -> None:
    assert [state for state in JobState if not state.final] == [JobState.QUEUED, JobState.RUNNING]


def test_the_stores_clock_is_read_as_utc() -> None:
    assert utc_from_ms(1_764_000_000_123) == datetime(2025, 11, 24, 16, 0, 0, 123_000, tzinfo=UTC)
