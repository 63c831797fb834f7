"""A job rendered again with something else, and the forms that ask for it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from comfy.wan.templates import get_template
from farm.job import JobSpec
from tests.support.gateway import Gateway, Open

JOBS, FORM = "/farm/v1/jobs", "/farm/v1/form"
TEMPLATE = "wan22-i2v-a14b"
SEED = 2**63 + 11  # more than a browser's numbers hold
SECRET = "https://name:secret@x.example/fox.png?sig=hush"


@pytest.fixture
def gateway(open_gateway: Open) -> Gateway:
    return open_gateway()


def submit(gateway: Gateway, by: str | None = None, **body: Any) -> JobSpec:
    answer = gateway.ask(JOBS, method="POST", key=by, body=body)
    assert answer.status == 201, answer.body
    return gateway.store.get(answer.json["job_id"]).spec


def job_id(gateway: Gateway) -> str:
    """The newest."""
    return gateway.store.find(limit=1).jobs[0].job_id


def values(gateway: Gateway, **body: Any) -> dict[str, Any]:
    """A form's values by the names of its fields."""
    answer = gateway.ask(FORM, method="POST", body=body)
    assert answer.status == 200, answer.body
    return {each["name"]: each["value"] for each in answer.json["parameters"]}


def a_graph() -> dict[str, Any]:
    built = get_template(TEMPLATE).build(prompt="a fox", image="fox.png", seed=SEED, preset="fast")
    return dict(built.graph)


def test_a_template_is_rendered_again_with_its_picture_and_its_options(gateway: Gateway) -> None:
    given = {"prompt": "a fox", "seed": SEED, "preset": "draft"}
    options: dict[str, Any] = {
        "labels": ["shot=12"],
        "priority": 2,
        "max_seconds": 2.5,
        "accept": "different",
    }
    before = submit(gateway, template=TEMPLATE, parameters=given, inputs={"image": SECRET}, **options)

    after = submit(gateway, again=job_id(gateway), parameters={"prompt": "a hare"})

    assert after.template_parameters == {**before.template_parameters, "prompt": "a hare"}
    assert after.inputs == before.inputs
    assert SECRET in after.inputs.values()
    assert (after.priority, after.labels, after.accept) == (before.priority, before.labels, before.accept)
    assert after.rewrite_options == before.rewrite_options
    assert "a hare" in after.title


def test_what_is_taken_back_is_as_the_template_has_it(gateway: Gateway) -> None:
    given = {"prompt": "a fox", "seed": 7, "steps": 12}
    before = submit(gateway, template="wan22-t2v-a14b", parameters=given)

    after = submit(gateway, again=job_id(gateway), parameters={"seed": None, "steps": None})

    assert after.template_parameters["seed"] != 7
    assert after.template_parameters["steps"] != before.template_parameters["steps"]


def test_a_graph_is_rendered_again_by_what_its_values_are_for(gateway: Gateway) -> None:
    inputs = {"start_image": SECRET}
    before = submit(gateway, graph=a_graph(), inputs=inputs, labels=["night"])

    after = submit(gateway, again=job_id(gateway), parameters={"prompt": "a hare", "frames": 33})

    assert after.inputs == before.inputs
    assert after.labels == ("night",)
    assert set(before.graph) == set(after.graph)
    found = values(gateway, again=job_id(gateway))
    assert (found["prompt"], found["frames"], found["seed"]) == ("a hare", 33, SEED)


def test_the_form_of_a_graph_has_its_roles_and_its_loras_with_their_values(gateway: Gateway) -> None:
    answer = gateway.ask(FORM, method="POST", body={"graph": a_graph()})

    by_help: dict[str, list[dict[str, Any]]] = {}
    for each in answer.json["parameters"]:
        by_help.setdefault(each["help"], []).append(each)
    found = {each["name"]: each for each in answer.json["parameters"]}
    assert (found["prompt"]["value"], found["seed"]["value"]) == ("a fox", SEED)
    assert found["start_image"]["type"] == "file"
    assert {"width", "height", "frames", "fps", "steps", "cfg", "negative"} <= set(found)
    for expert in ("high", "low"):
        (lora,) = by_help[f"LoRA of the {expert}-noise expert"]
        (strength,) = by_help[f"strength of the LoRA of the {expert}-noise expert"]
        assert expert in lora["value"].lower()
        assert strength["value"] == 1.0
    sent = {lora["name"]: "other.safetensors", strength["name"]: 0.5}
    assert values(gateway, graph=a_graph(), parameters=sent)[strength["name"]] == 0.5


def test_a_role_of_several_values_is_a_field_for_each(gateway: Gateway) -> None:
    graph = a_graph()
    samplers = [node_id for node_id, node in graph.items() if "cfg" in node["inputs"]]
    for number, node_id in enumerate(samplers):
        graph[node_id] = {**graph[node_id], "inputs": {**graph[node_id]["inputs"], "cfg": 1.5 + number}}

    found = values(gateway, graph=graph)

    assert "cfg" not in found
    assert [found[f"{node_id}.cfg"] for node_id in samplers] == [1.5, 2.5]


def test_a_job_of_others_is_neither_shown_nor_rendered_again(gateway: Gateway) -> None:
    acme, other = gateway.key("acme"), gateway.key("other")
    submit(gateway, acme, template="wan22-t2v-a14b", parameters={"prompt": "a fox"})
    body = {"again": job_id(gateway)}

    for path in (JOBS, FORM, "/farm/v1/plan", "/farm/v1/lint"):
        assert gateway.ask(path, method="POST", key=other, body=body).status == 404, path
        assert gateway.ask(path, method="POST", key=acme, body=body).status in (200, 201), path
    assert gateway.store.get(job_id(gateway)).spec.labels == ("tenant=acme",)


BAD: dict[str, dict[str, Any]] = {
    "another graph beside": {"graph": {}},
    "another template beside": {"template": TEMPLATE},
    "a role that is none": {"parameters": {"nonsense": 1}},
    "a number that is none": {"parameters": {"frames": "many"}},
}


@pytest.mark.parametrize("what", BAD)
def test_what_does_not_go_with_the_job_is_refused(gateway: Gateway, what: str) -> None:
    submit(gateway, graph=a_graph(), inputs={"start_image": SECRET})
    before = gateway.store.counts()

    answer = gateway.ask(JOBS, method="POST", body={"again": job_id(gateway), **BAD[what]})

    assert answer.status in (400, 422), answer.body
    assert "hush" not in json.dumps(answer.json)
    assert gateway.store.counts() == before
