"""What a job is called."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from farm.asking.prepare import prepare
from farm.asking.request import JobRequest
from farm.errors import InvalidJob
from farm.store.codec import spec_digest
from tests.support.fleet import TEMPLATE, wan_graph

MAKES = "WAN 2.2 T2V A14B 832×480 81f 20 steps"
LONG = "a red fox runs through deep snow at dawn, camera follows, photographic, 35 mm"


def title(parameters: dict[str, Any], **options: Any) -> str:
    return prepare(JobRequest(template=TEMPLATE, parameters=parameters, options=options or None)).title  # type: ignore[arg-type]


def test_a_title_begins_with_what_sets_the_job_apart() -> None:
    assert title({"prompt": "a fox", "seed": 7}) == f"a fox · seed 7 · {MAKES}"


def test_a_long_prompt_is_cut_between_words() -> None:
    assert title({"prompt": LONG, "seed": 7}).startswith("a red fox runs through deep snow at dawn… · seed 7")


def test_a_prompt_of_several_lines_is_one_line() -> None:
    assert title({"prompt": "a fox\n\n  in\tsnow ", "seed": 1}).startswith("a fox in snow · seed 1")


def test_a_plain_graph_is_called_by_its_own_prompt_and_seed() -> None:
    first = prepare(JobRequest(graph=wan_graph(prompt="one", seed=1))).title
    second = prepare(JobRequest(graph=wan_graph(prompt="two", seed=2))).title

    assert first.startswith("one · seed 1 · ")
    assert second.startswith("two · seed 2 · "), "what is remembered of one graph was told of another"


def test_what_a_role_is_set_to_counts() -> None:
    spec = prepare(JobRequest(graph=wan_graph(prompt="one", seed=1), parameters={"seed": 5}))

    assert spec.title.startswith("one · seed 5 · ")


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        ("take 3", "take 3"),
        ("{prompt}/{seed}", "a fox/7"),
        ("{labels}: {graph}", f"shot=4 night: {MAKES}"),
        ("{frames} frames, {steps} steps", "33 frames, 20 steps"),
        ("{seed}{seed}", "77"),
        ("a } brace", "a } brace"),
        ("{{seed}} is {seed}", "{seed} is 7"),
        ("}}{{ and {", "}{ and {"),
    ],
)
def test_fields_of_an_own_title_are_filled(given: str, becomes: str) -> None:
    parameters = {"prompt": "a fox", "seed": 7, "frames": 33, "width": 832, "height": 480}
    made = title(parameters, title=given, labels=["shot=4", "night"])

    assert made == becomes.replace("81f", "33f")


def test_a_field_that_the_job_does_not_have_is_refused_and_the_others_are_named() -> None:
    with pytest.raises(InvalidJob, match=r"title: there is no \{sed\}; there are .*seed"):
        title({"prompt": "a fox"}, title="{sed}")


def test_a_title_is_never_longer_than_a_list_can_hold() -> None:
    assert len(title({"prompt": "a", "seed": 1}, title="{prompt}" + "{graph}" * 20)) == 200


def test_a_repeat_under_another_title_is_the_same_job() -> None:
    spec = prepare(JobRequest(template=TEMPLATE, parameters={"prompt": "a fox", "seed": 7}))

    assert spec_digest(replace(spec, title="another")) == spec_digest(spec)
