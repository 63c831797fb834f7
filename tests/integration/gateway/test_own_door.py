"""The farm's own door: editor files, templates, plans, and what the page is made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from farm.gateway.keys import Scope
from farm.job import EventKind, Progress
from farm.status.worker import WorkerStatus
from farm.store.base import Drain, NewEvent
from tests.support.clips import make_picture
from tests.support.gateway import GRAPH, Gateway, Open
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
    "parameters of another kind": ({"graph": GRAPH, "parameters": [1]}, 400),
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


def test_jobs_are_found_by_moment_and_worker(gateway: Gateway) -> None:
    job_id = submit(gateway, title="A red fox")["job_id"]
    HandWorker(gateway.store, gateway.storage, name="gpu0@rack").start(job_id)

    def found(query: str) -> list[str]:
        return [job["job_id"] for job in gateway.ask(f"{JOBS}?{query}").json["jobs"]]

    assert found("worker=gpu0@rack") == [job_id]
    assert found("worker=gpu1@rack") == []
    assert found("since=2020-01-01") == [job_id]
    assert found("until=2020-01-01T10:00:00Z") == []
    assert gateway.ask(f"{JOBS}?since=yesterday").code == "invalid_request"


def test_what_was_changed_is_told_without_the_workers_machine(gateway: Gateway) -> None:
    job_id = submit(gateway)["job_id"]
    assert gateway.ask(f"{JOBS}/{job_id}/manifest").code == "no_result"
    worker = HandWorker(gateway.store, gateway.storage)
    worker.start(job_id)
    worker.succeed(job_id)
    result = gateway.store.get(job_id).result
    assert result is not None
    assert gateway.ask(f"{JOBS}/{job_id}/manifest").code == "not_found"
    change = {"node_id": "3", "input_name": "steps", "old": 20, "new": 4, "why": "few steps"}
    stored = json.dumps({"changes": [change], "worker": {"folder": "/home/me"}, "graph": {}}).encode()
    gateway.storage.put_bytes(stored, result.manifest_key, media_type="application/json")

    told = gateway.ask(f"{JOBS}/{job_id}/manifest").json

    assert told == {"changes": [change], "rewrites": [], "out_of_memory": [], "blocked": []}


def test_log_lines_of_a_job_are_told(gateway: Gateway) -> None:
    job_id = submit(gateway)["job_id"]
    assert gateway.ask(f"{JOBS}/{job_id}/log").json == {"lines": [], "steps": []}
    claim = HandWorker(gateway.store, gateway.storage).start(job_id)
    lines = [NewEvent(kind=EventKind.LOG, data={"line": each}) for each in ("one", "two")]
    gateway.store.report(job_id, claim.attempt, lines, token=claim.token)

    assert gateway.ask(f"{JOBS}/{job_id}/log").json["lines"] == ["one", "two"]


def test_only_an_admin_drains_a_worker_that_lives(gateway: Gateway) -> None:
    gateway.store.put_worker(WorkerStatus(name="gpu0@rack", vram_gib=24), ttl_s=600)
    tenant, boss = gateway.key("acme"), gateway.key("boss", Scope.ADMIN)
    drain, resume = (f"/farm/v1/workers/gpu0@rack/{verb}" for verb in ("drain", "resume"))

    assert gateway.ask(drain, method="POST", key=tenant).code == "forbidden"
    assert gateway.ask(drain, method="POST", key=boss, body={"now": "yes"}).code == "invalid_request"
    assert gateway.ask("/farm/v1/workers/gpu9/drain", method="POST", key=boss).code == "not_found"
    assert gateway.store.drain_of("gpu0@rack") is None
    assert gateway.ask(drain, method="POST", key=boss, body={"now": True}).json["drain"] == "now"
    assert gateway.store.drain_of("gpu0@rack") is Drain.NOW
    assert gateway.ask(resume, method="POST", key=boss).status == 200
    assert gateway.store.drain_of("gpu0@rack") is None


def test_an_asset_is_an_input_of_its_tenant_alone(gateway: Gateway, tmp_path: Path) -> None:
    acme, ape = gateway.key("acme"), gateway.key("ape")
    picture = make_picture(tmp_path / "fox.jpg").read_bytes()
    form = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="fox.jpg"\r\n\r\n'
        + picture
        + b'\r\n--x\r\nContent-Disposition: form-data; name="file_path"\r\n\r\nfox.jpg\r\n'
        b'--x\r\nContent-Disposition: form-data; name="content_type"\r\n\r\nimage/jpeg\r\n--x--\r\n'
    )
    sent = {"Content-Type": "multipart/form-data; boundary=x"}
    asset = gateway.ask("/api/v2/assets", method="POST", key=acme, body=form, headers=sent).json["id"]
    body = {
        "template": "wan22-i2v-a14b",
        "parameters": {"prompt": "a fox"},
        "inputs": {"image": f"asset:{asset}"},
    }

    told = gateway.ask(JOBS, method="POST", key=acme, body=body)

    assert told.status == 201, told.body
    (source,) = gateway.store.get(told.json["job_id"]).spec.inputs.values()
    assert source.startswith("s3://")
    assert gateway.ask(f"/api/v2/assets/{asset}", method="DELETE", key=acme).code == "asset_in_use"
    assert gateway.ask(JOBS, method="POST", key=ape, body=body).status == 404
    forged = {**body, "inputs": {"image": "s3://bucket/inputs/other.png"}}
    assert gateway.ask(JOBS, method="POST", key=acme, body=forged).code == "invalid_request"
