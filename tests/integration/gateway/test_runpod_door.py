"""RunPod's shape with the client that people have: the `runpod` package."""

from __future__ import annotations

import base64
import copy
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from farm.job import JobState
from tests.support.clips import make_picture
from tests.support.gateway import GRAPH, Gateway, Open
from tests.support.gateway_worker import HandWorker
from tests.support.valkey import eventually


@pytest.fixture
def gateway(open_gateway: Open) -> Gateway:
    return open_gateway()


@pytest.fixture
def open_endpoint(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    import runpod  # it looks at the machine for a second, wherever the tests are collected

    monkeypatch.setattr(runpod, "endpoint_url_base", f"{gateway.url}/v2")

    def make(name: str = "my-comfy", *, key: str | None = None) -> Any:
        return runpod.Endpoint(name, api_key=key or gateway.key())

    return make


@pytest.fixture
def endpoint(open_endpoint: Callable[..., Any]) -> Any:
    return open_endpoint()


def asked(**more: Any) -> dict[str, Any]:
    return {"input": {"workflow": copy.deepcopy(GRAPH), **more}}


def test_a_job_is_run_and_its_output_is_as_worker_comfyui_has_it(endpoint: Any, worker: HandWorker) -> None:
    job = endpoint.run(asked())
    assert job.status() == "IN_QUEUE"
    worker.start(job.job_id)
    assert job.status() == "IN_PROGRESS"
    worker.succeed(job.job_id)

    output = job.output(timeout=30)

    (image,) = output["images"]
    assert (image["filename"], image["type"]) == ("clip.mp4", "s3_url")
    assert image["data"].startswith("file:")
    assert job.status() == "COMPLETED"
    assert list(job.stream()) == [], "worker-comfyui streams nothing, and this ends"


def test_who_waits_gets_the_output_at_once(endpoint: Any, gateway: Gateway, worker: HandWorker) -> None:
    found: list[Any] = []
    waiting = threading.Thread(
        target=lambda: found.append(endpoint.run_sync(asked(), timeout=60)), daemon=True
    )
    waiting.start()
    eventually(lambda: gateway.store.find(state=JobState.QUEUED).jobs)
    job_id = gateway.store.find().jobs[0].job_id
    worker.start(job_id)
    worker.succeed(job_id)
    waiting.join(30)

    assert found[0]["images"][0]["filename"] == "clip.mp4"


def test_who_waits_too_short_is_told_how_it_stands(gateway: Gateway) -> None:
    answer = gateway.ask("/v2/my-comfy/runsync?wait=50", method="POST", body=asked())

    assert answer.json["status"] == "IN_QUEUE"
    assert gateway.store.get(answer.json["id"]).state is JobState.QUEUED


def test_pictures_go_where_the_graph_names_them(endpoint: Any, gateway: Gateway, tmp_path: Path) -> None:
    picture = make_picture(tmp_path / "fox.png").read_bytes()
    text = base64.b64encode(picture).decode()

    plain = endpoint.run(asked(images=[{"name": "fox.png", "image": text}]))
    as_url = endpoint.run(asked(images=[{"name": "fox.png", "image": f"data:image/png;base64,{text}"}]))
    by_address = endpoint.run(asked(images=[{"name": "fox.png", "image": "https://x.example/fox.png"}]))

    for job in (plain, as_url):
        source = gateway.store.get(job.job_id).spec.inputs["1.image"]
        assert gateway.storage.read_bytes(source.partition("farm/")[2]) == picture
    assert gateway.store.get(by_address.job_id).spec.inputs == {"1.image": "https://x.example/fox.png"}


def test_a_picture_goes_to_a_node_that_nobody_knows_and_one_that_nothing_reads_is_told_of(
    gateway: Gateway, tmp_path: Path
) -> None:
    picture = make_picture(tmp_path / "fox.png").read_bytes()
    lines = base64.encodebytes(picture).decode()
    graph = {**GRAPH, "5": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0], "mask": "hare.png"}}}
    graph["9"] = {"class_type": "SaveImage", "inputs": {"filename_prefix": "plain", "images": ["2", 0]}}
    names = ("fox.png", "hare.png", "stray.png", "plain")
    body = {"input": {"workflow": graph, "images": [{"name": name, "image": lines} for name in names]}}

    answer = gateway.ask("/v2/my-comfy/run", method="POST", body=body)
    waited = gateway.ask("/v2/my-comfy/runsync?wait=1", method="POST", body=body)

    assert answer.status == waited.status == 200, "as there, they do no harm"
    assert sorted(gateway.store.get(answer.json["id"]).spec.inputs) == ["1.image", "5.mask"]
    for told in (answer, waited):
        assert [each.partition("image ")[2] for each in told.json["warnings"]] == ["'plain'", "'stray.png'"]


def test_a_policy_is_kept(endpoint: Any, gateway: Gateway) -> None:
    policy = {"executionTimeout": 60_000, "ttl": 3_600_000, "lowPriority": True}

    job = endpoint.run({**asked(), "policy": policy})

    spec = gateway.store.get(job.job_id).spec
    assert (spec.time_limit_s, spec.priority) == (60.0, 9)
    assert spec.deadline is not None


def test_cancel_retry_purge_and_health(
    endpoint: Any, open_endpoint: Callable[..., Any], gateway: Gateway, worker: HandWorker
) -> None:
    job, running = endpoint.run(asked()), endpoint.run(asked())
    worker.start(running.job_id)
    other = open_endpoint("another")
    kept = other.run(asked())

    assert job.cancel()["status"] == "CANCELLED"
    retried = gateway.ask(f"/v2/my-comfy/retry/{job.job_id}", method="POST", key=gateway.key())
    assert retried.json == {"id": job.job_id, "status": "IN_QUEUE"}
    assert endpoint.health()["jobs"]["inQueue"] == 2
    assert endpoint.health()["workers"]["running"] == 0
    assert endpoint.purge_queue() == {"removed": 1, "status": "completed"}
    assert gateway.store.get(kept.job_id).state is JobState.QUEUED, "it is of another endpoint"
    assert gateway.store.get(running.job_id).state is JobState.RUNNING


def test_a_failed_job_says_why_and_streams_nothing(
    endpoint: Any, gateway: Gateway, worker: HandWorker
) -> None:
    job = endpoint.run(asked())
    worker.start(job.job_id)
    worker.fail(job.job_id)

    found = gateway.ask(f"/v2/my-comfy/status/{job.job_id}", key=gateway.key()).json

    assert (found["status"], "shapes" in found["error"]) == ("FAILED", True)
    assert found["executionTime"] >= 0


BAD: dict[str, tuple[Any, int]] = {
    "no input": ({}, 400),
    "no workflow": ({"input": {}}, 400),
    "an editor's file": ({"input": {"workflow": {"nodes": 5}}}, 422),
    "a broken picture": (asked(images=[{"name": "a", "image": "%%%"}]), 400),
    "a picture in another alphabet": (asked(images=[{"name": "a", "image": "ä"}]), 400),
    "half a letter": (asked(images=[{"name": "a", "image": "\ud800"}]), 400),
    "a nameless picture": (asked(images=[{"image": "YQ=="}]), 400),
    "a webhook": ({**asked(), "webhook": "https://x.example"}, 400),
    "a partner's key": (asked(comfy_org_api_key="secret-7"), 400),
    "a policy of another kind": ({**asked(), "policy": {"ttl": "soon"}}, 400),
    "more than may be": (asked(images=[{"name": "a", "image": "A" * (11 << 20)}]), 413),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_request_is_told_why_and_leaves_nothing(gateway: Gateway, what: str) -> None:
    body, status = BAD[what]

    answer = gateway.ask("/v2/my-comfy/run", method="POST", body=body)

    assert answer.status == status
    assert answer.json["error"]
    assert gateway.store.find().jobs == ()


def test_a_wrong_key_and_a_foreign_job_are_nothing(
    endpoint: Any, open_endpoint: Callable[..., Any], gateway: Gateway
) -> None:
    job = endpoint.run(asked())
    wrong = open_endpoint(key="wrong")

    with pytest.raises(RuntimeError, match="nauthorized"):
        wrong.run(asked())
    with pytest.raises(requests.HTTPError, match="404"):
        open_endpoint(key=gateway.key("other")).rp_client.get(f"my-comfy/status/{job.job_id}")
