"""The farm's own door: editor files, templates, plans, and what the page is made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from farm.gateway.keys import Scope
from farm.job import Progress
from farm.status.worker import WorkerStatus
from tests.integration.gateway.test_comfy_sdk import GRAPH
from tests.support.gateway import Gateway, Open
from tests.support.gateway_worker import HandWorker

JOBS = "/farm/v1/jobs"
EDITOR_FILE = Path(__file__).parents[2] / "data" / "graphs" / "core_t2v_a14b_subgraph.ui.json"


@pytest.fixture
def gateway(open_gateway: Open) -> Gateway:
    return open_gateway()


def submit(gateway: Gateway, key: str | None = None, **body: Any) -> dict[str, Any]:
    answer = gateway.ask(JOBS, method="POST", key=key, body={"graph": GRAPH, **body})
    assert answer.status == 201, answer.body
    found: dict[str, Any] = answer.json
    return found


def test_a_file_of_the_editor_is_taken_as_it_is(gateway: Gateway) -> None:
    workflow = json.loads(EDITOR_FILE.read_text(encoding="utf-8"))

    told = submit(gateway, graph=workflow, parameters={"prompt": "a white fox"}, labels=["night"])

    assert told["state"] == "queued"
    assert told["queue_position"] == 0
    assert "a white fox" in json.dumps(told["spec"]["graph"])
    refused = gateway.ask("/api/v2/jobs", method="POST", body={"workflow": workflow})
    assert refused.code == "workflow_format_ui"


def test_a_template_is_planned_linted_and_queued(gateway: Gateway) -> None:
    body = {"template": "wan22-t2v-a14b", "parameters": {"prompt": "a fox", "preset": "draft"}}

    plan = gateway.ask("/farm/v1/plan", method="POST", body=body).json
    lint = gateway.ask("/farm/v1/lint", method="POST", body=body).json
    told = gateway.ask(JOBS, method="POST", body={**body, "priority": 2}).json

    assert plan["vram_gib"] >= 8
    assert plan["cards"]
    assert isinstance(lint["diagnostics"], list)
    assert (told["spec"]["template"], told["spec"]["priority"]) == ("wan22-t2v-a14b", 2)


def test_jobs_are_found_by_state_label_and_words(gateway: Gateway) -> None:
    one = submit(gateway, title="A red fox", labels=["night"])
    two = submit(gateway, title="A white hare", labels=["night"])
    gateway.ask(f"{JOBS}/{two['job_id']}/cancel", method="POST")

    def found(query: str) -> list[str]:
        return [job["title"] for job in gateway.ask(f"{JOBS}?{query}").json["jobs"]]

    assert found("label=night") == ["A white hare", "A red fox"]
    assert found("state=queued") == ["A red fox"]
    assert found("search=hare") == ["A white hare"]
    first = gateway.ask(f"{JOBS}?limit=1").json
    rest = gateway.ask(f"{JOBS}?limit=1&cursor={first['next_cursor']}").json
    assert [job["job_id"] for job in (*first["jobs"], *rest["jobs"])] == [two["job_id"], one["job_id"]]


def test_a_job_is_canceled_queued_anew_and_told_why_it_waits(gateway: Gateway) -> None:
    job_id = submit(gateway)["job_id"]

    assert gateway.ask(f"{JOBS}/{job_id}/cancel", method="POST").json["state"] == "canceled"
    assert gateway.ask(f"{JOBS}/{job_id}/retry", method="POST").json["state"] == "queued"
    assert gateway.ask(f"{JOBS}/{job_id}/retry", method="POST").status == 409
    assert gateway.ask(f"{JOBS}/{job_id}/why_waiting").json["reasons"]


def test_a_clip_has_links(gateway: Gateway) -> None:
    worker = HandWorker(gateway.store, gateway.storage)
    job_id = submit(gateway)["job_id"]
    worker.start(job_id)
    worker.succeed(job_id)

    told = gateway.ask(f"{JOBS}/{job_id}").json
    (listed,) = gateway.ask(JOBS).json["jobs"]

    assert told["clip_url"] == listed["clip_url"]
    assert told["clip_url"].startswith("file:")
    assert [output["name"] for output in told["outputs"]] == ["clip.mp4"]


def test_what_is_the_farms_or_somebody_elses_is_not_told(gateway: Gateway) -> None:
    acme, other, admin = gateway.key(), gateway.key("other"), gateway.key("ops", Scope.ADMIN)
    address = "https://name:secret@x.example/fox.png?sig=hush"
    told = submit(gateway, acme, inputs={"1.image": address})
    held = {told["job_id"]: Progress(phase="load", fraction=0.5)}
    status = WorkerStatus(name="w1", vram_gib=24, pid=4711, jobs=held)
    gateway.store.put_worker(status, ttl_s=60)

    assert "hush" not in json.dumps(told)
    assert "secret" not in json.dumps(told)
    assert "tenant=" not in json.dumps(told)
    assert gateway.ask(JOBS, key=other).json["jobs"] == []
    for path in ("", "/why_waiting"):
        assert gateway.ask(f"{JOBS}/{told['job_id']}{path}", key=other).status == 404
    for verb in ("cancel", "retry"):
        assert gateway.ask(f"{JOBS}/{told['job_id']}/{verb}", method="POST", key=other).status == 404
    (shown,) = gateway.ask("/farm/v1/workers", key=other).json["workers"]
    (whole,) = gateway.ask("/farm/v1/workers", key=admin).json["workers"]
    assert shown["name"] == "w1"
    assert told["job_id"] not in json.dumps(shown)
    assert told["job_id"] in json.dumps(whole)


BAD: dict[str, tuple[dict[str, Any], int]] = {
    "a path for a graph": ({"graph": "/etc/passwd"}, 400),
    "a path for an input": ({"graph": GRAPH, "inputs": {"1.image": "/etc/passwd"}}, 400),
    "a file of a worker": ({"graph": GRAPH, "inputs": {"1.image": "file:///etc/passwd"}}, 400),
    "a bucket": ({"graph": GRAPH, "inputs": {"1.image": "s3://farm/inputs/x.png"}}, 400),
    "a path among parameters": ({"template": "wan22-i2v-a14b", "parameters": {"image": "/etc/passwd"}}, 422),
    "a saved template": ({"template": "../x"}, 422),
    "an unknown field": ({"graph": GRAPH, "nope": 1}, 400),
    "a key of the farm's": ({"graph": GRAPH, "idempotency_key": "k"}, 400),
    "nothing": ({}, 422),
    "parameters of another kind": ({"graph": GRAPH, "parameters": [1]}, 422),
    "labels of another tenant": ({"graph": GRAPH, "labels": ["tenant=other"]}, 422),
    "a deadline that is past": ({"graph": GRAPH, "deadline": "2020-01-01T00:00:00Z"}, 422),
    "a template that is a list": ({"template": ["x"]}, 422),
    "labels that are none": ({"graph": GRAPH, "labels": "night"}, 422),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_job_is_refused_and_leaves_nothing(gateway: Gateway, what: str) -> None:
    body, status = BAD[what]

    answer = gateway.ask(JOBS, method="POST", body=body)

    assert answer.status == status, answer.body
    for path in ("/farm/v1/plan", "/farm/v1/lint"):
        assert b"root:" not in gateway.ask(path, method="POST", body=body).body
    assert b"root:" not in answer.body
    assert gateway.store.find().jobs == ()


def test_templates_and_queues_are_told(gateway: Gateway) -> None:
    templates = gateway.ask("/farm/v1/templates").json["templates"]
    submit(gateway)

    assert "wan22-t2v-a14b" in [each["name"] for each in templates]
    assert gateway.ask("/farm/v1/queues").json["by_state"]["queued"] == 1
