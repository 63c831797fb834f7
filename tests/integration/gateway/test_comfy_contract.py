"""Every answer of the Comfy door is one that its specification has; and what it is given badly."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import redis
from blake3 import blake3

from farm.gateway.keys import Scope
from tests.support.comfy_contract import broken_promises, errors_in
from tests.support.gateway import GRAPH, Answer, Gateway, Open
from tests.support.gateway_worker import CLIP, HandWorker

JOBS, ASSETS = "/api/v2/jobs", "/api/v2/assets"
BOUNDARY = "x1y2"


def multipart(*, file: bytes | None = b"bytes", **fields: str) -> bytes:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    if file is not None:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        parts.append(head.encode() + file + b"\r\n")
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


class Client:
    """Asks as one tenant, and holds each answer to the specification."""

    def __init__(self, gateway: Gateway, key: str) -> None:
        self._gateway, self._key = gateway, key

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self._gateway.ask(path, method=method, key=self._key, body=body, headers=sent)
        assert broken_promises(method, path, answer) == [], answer.body
        return answer

    def upload(
        self, body: bytes, *, kind: str = f"multipart/form-data; boundary={BOUNDARY}", **headers: str
    ) -> Answer:
        """Send a form; what is refused for its size has no place in the specification."""
        sent = {"Content-Type": kind, **headers}
        return self._gateway.ask(ASSETS, method="POST", key=self._key, body=body, headers=sent)


@pytest.fixture
def ask(gateway: Gateway) -> Client:
    return Client(gateway, gateway.key())


@pytest.fixture
def stranger(gateway: Gateway) -> Client:
    return Client(gateway, gateway.key("other"))


def test_a_job_keeps_to_its_form_in_every_state(ask: Client, worker: HandWorker) -> None:
    def now(job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = ask("GET", f"{JOBS}/{job_id}").json
        return found

    job_id = ask("POST", JOBS, {"workflow": GRAPH}).json["id"]
    queued = now(job_id)
    worker.start(job_id)
    worker.step(job_id, 1)
    running = now(job_id)
    canceling = ask("POST", f"{JOBS}/{ask('POST', JOBS, {'workflow': GRAPH}).json['id']}/cancel").json
    worker.succeed(job_id)
    done = now(job_id)

    assert (queued["status"], queued["queue_position"], queued["progress"]) == ("queued", 0, None)
    assert (running["status"], running["queue_position"]) == ("running", None)
    assert running["progress"]["value"] == 0.25
    assert canceling["status"] == "canceled"
    assert done["metrics"]["execution_ms"] >= 0
    assert [output["name"] for output in done["outputs"]] == ["clip.mp4"]
    for name in ("self", "events", "cancel"):
        assert done["urls"][name].startswith(f"{JOBS}/{job_id}")
    ask("GET", f"{JOBS}/{job_id}/workflow")
    ask("GET", f"{ASSETS}/{done['outputs'][0]['id']}")


def test_an_expired_job_says_so(ask: Client, gateway: Gateway) -> None:
    metadata = {"farm.deadline": "2199-01-01T00:00:00Z"}
    job_id = ask("POST", JOBS, {"workflow": GRAPH, "metadata": metadata}).json["id"]
    with redis.Redis.from_url(gateway.redis.url.get_secret_value()) as client:  # as if it were long ago
        client.hset(gateway.store.keys.job(job_id), "deadline", 1)
        client.zadd(f"{gateway.store.keys.root}deadlines", {job_id: 1})
    gateway.store.sweep()

    found = ask("GET", f"{JOBS}/{job_id}").json

    assert (found["status"], found["error"]["code"]) == ("expired", "expired")


def test_the_place_in_the_queue_is_true(ask: Client, stranger: Client, worker: HandWorker) -> None:
    def place(job_id: str) -> int | None:
        found: int | None = ask("GET", f"{JOBS}/{job_id}").json["queue_position"]
        return found

    others = [stranger("POST", JOBS, {"workflow": GRAPH}).json["id"] for _ in range(3)]
    mine = ask("POST", JOBS, {"workflow": GRAPH}).json["id"]
    urgent = {"workflow": GRAPH, "metadata": {"farm.priority": "0"}}
    assert place(mine) == 3
    first = stranger("POST", JOBS, urgent).json["id"]
    assert place(mine) == 4
    worker.start(first)
    assert place(mine) == 3
    stranger("POST", f"{JOBS}/{others[1]}/cancel")
    assert place(mine) == 2


FOREIGN: dict[str, Callable[[str, str], tuple[str, str]]] = {
    "job": lambda job, _asset: ("GET", f"{JOBS}/{job}"),
    "workflow": lambda job, _asset: ("GET", f"{JOBS}/{job}/workflow"),
    "events": lambda job, _asset: ("GET", f"{JOBS}/{job}/events"),
    "cancel": lambda job, _asset: ("POST", f"{JOBS}/{job}/cancel"),
    "asset": lambda _job, asset: ("GET", f"{ASSETS}/{asset}"),
    "content": lambda _job, asset: ("GET", f"{ASSETS}/{asset}/content"),
    "delete": lambda _job, asset: ("DELETE", f"{ASSETS}/{asset}"),
}


@pytest.mark.parametrize("what", FOREIGN)
@pytest.mark.parametrize("of", ["upload", "output"])
def test_what_is_somebody_elses_is_as_unknown_as_what_is_not_there(
    ask: Client, stranger: Client, worker: HandWorker, what: str, of: str
) -> None:
    job_id = ask("POST", JOBS, {"workflow": GRAPH}).json["id"]
    worker.start(job_id)
    worker.succeed(job_id)
    output = ask("GET", f"{JOBS}/{job_id}").json["outputs"][0]["id"]
    uploaded = ask.upload(multipart(content_type="image/png", file_path="a.png")).json["id"]

    theirs = stranger(*FOREIGN[what](job_id, uploaded if of == "upload" else output))
    nobodys = stranger(*FOREIGN[what]("0" * 32, "0" * 32))

    assert theirs.status == nobodys.status == 404
    assert theirs.body == nobodys.body
    assert stranger("GET", JOBS).json == {"jobs": []}


def test_bytes_of_somebody_else_cannot_be_claimed_by_their_hash(ask: Client, stranger: Client) -> None:
    ask.upload(multipart(content_type="image/png", file_path="a.png"))
    digest = f"blake3:{blake3(b'bytes').hexdigest()}"

    assert ask("HEAD", f"{ASSETS}/by-hash/{digest}").status == 200
    assert stranger("HEAD", f"{ASSETS}/by-hash/{digest}").status == 404
    refused = stranger("POST", f"{ASSETS}/from-hash", {"hash": digest})
    assert (refused.status, refused.code) == (404, "blob_not_found")
    assert stranger.upload(multipart(content_type="image/png", file_path="a.png")).status == 201


def test_the_idempotency_key_of_an_upload_is_good_once_and_for_one_tenant(
    ask: Client, stranger: Client
) -> None:
    once = {"Idempotency-Key": "k"}
    form = multipart(content_type="image/png", file_path="a.png")
    wrong = multipart(content_type="image/png", file_path="a.png", expected_hash="blake3:" + "0" * 64)

    assert ask.upload(wrong, **once).code == "hash_mismatch"
    assert ask.upload(form, **once).status == 201, "what was refused for its content did not use it up"
    assert ask.upload(form, **once).code == "idempotency_key_reuse"
    assert stranger.upload(form, **once).status == 201
    assert ask.upload(form, **{"Idempotency-Key": "x" * 256}).code == "invalid_request"


def test_bytes_that_left_the_storage_are_uploaded_again(ask: Client, gateway: Gateway) -> None:
    ask.upload(multipart(content_type="image/png", file_path="a.png"))
    digest = f"blake3:{blake3(b'bytes').hexdigest()}"
    gateway.storage.delete_prefix(gateway.storage.keys.inputs_prefix)

    assert ask("HEAD", f"{ASSETS}/by-hash/{digest}").status == 404
    assert ask("POST", f"{ASSETS}/from-hash", {"hash": digest}).status == 404
    assert ask.upload(multipart(content_type="image/png", file_path="a.png")).status == 201


BAD_SUBMITS: dict[str, tuple[dict[str, Any], int, str]] = {
    "no workflow": ({}, 422, "invalid_request"),
    "a workflow of another kind": ({"workflow": [1]}, 422, "invalid_request"),
    "an empty one": ({"workflow": {}}, 422, "invalid_workflow"),
    "an editor's file": ({"workflow": {"nodes": [], "links": [], "version": 0.4}}, 422, "workflow_format_ui"),
    "a webhook": ({"workflow": GRAPH, "webhook_url": "https://x.example"}, 422, "invalid_request"),
    "inputs": ({"workflow": GRAPH, "inputs": {}}, 422, "invalid_request"),
    "more extra data": ({"workflow": GRAPH, "extra_data": {"a": 1}}, 422, "invalid_request"),
    "a partner key": (
        {"workflow": GRAPH, "extra_data": {"api_key_comfy_org": "secret-7"}},
        422,
        "partner_nodes_not_supported",
    ),
    "metadata of another kind": ({"workflow": GRAPH, "metadata": {"a": 1}}, 422, "metadata_invalid"),
    "an option of another kind": (
        {"workflow": GRAPH, "metadata": {"farm.priority": "high"}},
        422,
        "invalid_workflow",
    ),
    "a file of the gateway": (
        {"workflow": {}, "metadata": {"farm.template": "wan22-i2v-a14b", "farm.set.image": "/etc/passwd"}},
        422,
        "invalid_workflow",
    ),
    "a path that leads out": (
        {"workflow": {**GRAPH, "1": {"class_type": "LoadImage", "inputs": {"image": "../../etc/passwd"}}}},
        422,
        "invalid_workflow",
    ),
}


@pytest.mark.parametrize("what", BAD_SUBMITS)
def test_a_bad_submit_is_told_why_and_leaves_nothing(gateway: Gateway, ask: Client, what: str) -> None:
    body, status, code = BAD_SUBMITS[what]

    answer = gateway.ask(JOBS, method="POST", key=gateway.key(), body=body)

    assert (answer.status, answer.code) == (status, code)
    assert errors_in("ErrorEnvelope", answer.json) == []
    assert b"secret-7" not in answer.body
    assert ask("GET", JOBS).json == {"jobs": []}
    if what == "an editor's file":
        assert "/farm/v1/jobs" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("limit=0", "invalid_request"),
        ("limit=1000", "invalid_request"),
        ("limit=x", "invalid_request"),
        ("cursor=abc", "invalid_cursor"),
        ("metadata[a]=two%20words", "invalid_metadata_filter"),
        ("metadata[tenant]=other", "invalid_metadata_filter"),
    ],
)
def test_a_bad_list_is_refused(gateway: Gateway, query: str, code: str) -> None:
    answer = gateway.ask(f"{JOBS}?{query}", key=gateway.key())

    assert (answer.status, answer.code) == (422, code)


BAD_FORMS: dict[str, tuple[bytes, int, str]] = {
    "no file": (multipart(file=None, content_type="image/png", file_path="a"), 422, "invalid_request"),
    "no path": (multipart(content_type="image/png"), 422, "invalid_request"),
    "no type": (multipart(file_path="a.png"), 422, "invalid_request"),
    "cut off": (multipart(content_type="image/png", file_path="a.png")[:-40], 422, "invalid_request"),
    "nothing": (b"", 422, "invalid_request"),
    "garbage": (b"\x00\xff" * 500, 422, "invalid_request"),
    "two files": (
        multipart(content_type="image/png", file_path="a.png").replace(f"--{BOUNDARY}--\r\n".encode(), b"")
        + multipart(),
        422,
        "invalid_request",
    ),
    "other bytes than it says": (
        multipart(content_type="image/png", file_path="a.png", expected_hash="blake3:" + "0" * 64),
        409,
        "hash_mismatch",
    ),
    "gone too soon": (
        multipart(content_type="image/png", file_path="a.png", expires_in="5"),
        422,
        "invalid_request",
    ),
    "a path of two lines": (
        multipart(content_type="image/png", file_path="a\nb"),
        422,
        "invalid_request",
    ),
}


@pytest.mark.parametrize("what", BAD_FORMS)
def test_a_bad_upload_is_told_why_and_stores_nothing(gateway: Gateway, ask: Client, what: str) -> None:
    body, status, code = BAD_FORMS[what]

    answer = ask.upload(body)

    assert (answer.status, answer.code) == (status, code)
    assert list(gateway.storage.list()) == []


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data", "application/json"])
def test_an_upload_that_is_no_form_is_refused(ask: Client, kind: str) -> None:
    answer = ask.upload(multipart(content_type="image/png", file_path="a.png"), kind=kind)

    assert (answer.status, answer.code) == (422, "invalid_request")


def test_a_large_upload_is_whole(ask: Client, gateway: Gateway) -> None:
    large = bytes(range(256)) * 12_000  # more than is kept in memory

    told = ask.upload(multipart(file=large, content_type="video/mp4", file_path="in/a.mp4")).json
    content = ask("GET", f"{ASSETS}/{told['id']}/content")

    assert told["size_bytes"] == len(large)
    assert told["hash"] == f"blake3:{blake3(large).hexdigest()}"
    assert content.body == large
    assert content.headers["Content-Type"] == "video/mp4"
    assert [found.key.rpartition(".")[2] for found in gateway.storage.list()] == ["mp4"]


def test_an_upload_that_is_too_large_stores_nothing(open_gateway: Open) -> None:
    gateway = open_gateway(upload_mib=1)

    answer = Client(gateway, gateway.key()).upload(
        multipart(file=bytes(8 << 20), content_type="video/mp4", file_path="a.mp4")
    )

    assert (answer.status, answer.code) == (413, "payload_too_large")
    assert list(gateway.storage.list()) == []


@pytest.mark.parametrize(
    ("said", "status", "part"),
    [
        ("", 200, CLIP),
        ("bytes=0-4", 206, CLIP[:5]),
        ("bytes=10-", 206, CLIP[10:]),
        ("bytes=-5", 206, CLIP[-5:]),
        ("bytes=0-999999999", 200, CLIP),
        ("bytes=999999999-", 416, None),
        ("bytes=5-1", 416, None),
        ("bytes=0-1,3-4", 200, CLIP),
        ("items=0-1", 200, CLIP),
    ],
)
def test_a_range_is_given_as_it_is_asked_for(
    gateway: Gateway, ask: Client, worker: HandWorker, said: str, status: int, part: bytes | None
) -> None:
    job_id = ask("POST", JOBS, {"workflow": GRAPH}).json["id"]
    worker.start(job_id)
    worker.succeed(job_id)
    output = ask("GET", f"{JOBS}/{job_id}").json["outputs"][0]["id"]

    answer = ask("GET", f"{ASSETS}/{output}/content", Range=said)

    assert answer.status == status
    assert answer.headers["Content-Security-Policy"] or part is None
    assert part is None or answer.body == part


def test_a_tenant_with_a_full_queue_is_told_and_others_are_not(open_gateway: Open) -> None:
    gateway = open_gateway(open_jobs=2)
    ask, stranger = Client(gateway, gateway.key()), Client(gateway, gateway.key("other"))
    worker = HandWorker(gateway.store, gateway.storage)
    first = ask("POST", JOBS, {"workflow": GRAPH}).json["id"]
    ask("POST", JOBS, {"workflow": GRAPH})

    refused = ask("POST", JOBS, {"workflow": GRAPH}, Idempotency_Key="k")

    assert (refused.status, refused.code) == (429, "queue_full")
    assert int(refused.headers["Retry-After"]) > 0
    assert refused.json["error"]["details"] == {"open_jobs": 2, "waiting_jobs": 2}
    assert stranger("POST", JOBS, {"workflow": GRAPH}).status == 201
    worker.start(first)
    worker.succeed(first)
    assert ask("POST", JOBS, {"workflow": GRAPH}, Idempotency_Key="k").status == 201, (
        "its key was not used up"
    )


def test_a_farm_that_is_full_takes_nothing_more(open_gateway: Open) -> None:
    gateway = open_gateway(waiting_jobs=1)
    ask = Client(gateway, gateway.key())
    ask("POST", JOBS, {"workflow": GRAPH})

    refused = ask("POST", JOBS, {"workflow": GRAPH})

    assert (refused.status, refused.code) == (429, "queue_full")


def test_an_admin_sees_the_jobs_of_all(gateway: Gateway, ask: Client, stranger: Client) -> None:
    ours = {each("POST", JOBS, {"workflow": GRAPH}).json["id"] for each in (ask, stranger)}
    admin = Client(gateway, gateway.key("ops", Scope.ADMIN))

    assert {job["id"] for job in admin("GET", JOBS).json["jobs"]} == ours
    assert admin("POST", f"{JOBS}/{min(ours)}/cancel").json["status"] == "canceled"


def test_health_asks_for_nothing(gateway: Gateway) -> None:
    gateway.key()

    assert json.loads(gateway.ask("/api/v2/health").body) == {"status": "ok"}
