"""What goes wrong at every door is told in that door's own shape, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from farm.errors import StorageUnavailable
from farm.gateway.keys import Scope
from farm.settings.redis import RedisSettings
from farm.testing import FolderStorage
from tests.integration.gateway.test_comfy_contract import multipart
from tests.support.clips import make_picture
from tests.support.comfy_contract import errors_in
from tests.support.gateway import GRAPH, Answer, Gateway, Open
from tests.support.gateway_worker import HandWorker
from tests.support.valkey import ValkeyServer

UNKNOWN: Final = "0" * 32
FORM: Final = "multipart/form-data; boundary=x1y2"


def is_comfys(told: Any) -> bool:
    return errors_in("ErrorEnvelope", told) == []


def is_ours(told: Any) -> bool:
    return set(told) == {"error"} and set(told["error"]) == {"code", "message", "details"}


def is_videos(told: Any) -> bool:
    return set(told) == {"error"} and set(told["error"]) == {"message", "type", "code", "param"}


def is_runpods(told: Any) -> bool:
    return isinstance(told["error"], str) and isinstance(told["code"], str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a job goes in by a door, and how it is asked for there."""

    submit: str
    body: Mapping[str, Any]
    show: str  # with a place for the id
    id_of: str
    cancel: tuple[str, str]
    has_its_shape: Callable[[Any], bool]


DOORS: Final = {
    "comfy": Way(
        submit="/api/v2/jobs",
        body={"workflow": GRAPH},
        show="/api/v2/jobs/{}",
        id_of="id",
        cancel=("POST", "/api/v2/jobs/{}/cancel"),
        has_its_shape=is_comfys,
    ),
    "own": Way(
        submit="/farm/v1/jobs",
        body={"graph": GRAPH},
        show="/farm/v1/jobs/{}",
        id_of="job_id",
        cancel=("POST", "/farm/v1/jobs/{}/cancel"),
        has_its_shape=is_ours,
    ),
    "videos": Way(
        submit="/v1/videos",
        body={"prompt": "a fox"},
        show="/v1/videos/{}",
        id_of="id",
        cancel=("DELETE", "/v1/videos/{}"),
        has_its_shape=is_videos,
    ),
    "runpod": Way(
        submit="/v2/fox/run",
        body={"input": {"workflow": GRAPH}},
        show="/v2/fox/status/{}",
        id_of="id",
        cancel=("POST", "/v2/fox/cancel/{}"),
        has_its_shape=is_runpods,
    ),
}


@pytest.fixture(params=DOORS)
def way(request: pytest.FixtureRequest) -> Way:
    return DOORS[request.param]


def refused(way: Way, answer: Answer, *statuses: int) -> bool:
    return answer.status in statuses and way.has_its_shape(answer.json)


def test_a_wrong_key_a_scope_that_lacks_and_a_job_that_is_not_theirs(gateway: Gateway, way: Way) -> None:
    acme, reader, ape = gateway.key(), gateway.key("acme", Scope.READ), gateway.key("ape")
    job_id = gateway.ask(way.submit, body=way.body, key=acme).json[way.id_of]
    method, cancel = way.cancel

    assert refused(way, gateway.ask(way.submit, body=way.body, key="wrong"), 401)
    assert refused(way, gateway.ask(way.show.format(job_id)), 401)
    assert refused(way, gateway.ask(way.submit, body=way.body, key=reader), 403)
    assert refused(way, gateway.ask(cancel.format(job_id), method=method, key=reader), 403)
    foreign, unknown = (gateway.ask(way.show.format(each), key=ape) for each in (job_id, UNKNOWN))
    assert refused(way, foreign, 404)
    assert foreign.body == unknown.body
    assert refused(way, gateway.ask(cancel.format(job_id), method=method, key=ape), 404)
    assert gateway.store.get(job_id).state == "queued"


STRANGE_IDS: Final = ("%00", "a" * 2000, "..%2f..%2fetc", "%ed%a0%80", "*", "{farm}:job:x", "%0d%0aX:1", "é")


def test_an_id_that_is_none_is_an_unknown_one(gateway: Gateway, way: Way) -> None:
    for each in STRANGE_IDS:
        path = way.show.format(each.replace("é", "%c3%a9"))
        assert refused(way, gateway.ask(path), 404), each


BROKEN: Final = {
    "nothing": b"",
    "a zero": b"\x00",
    "half an object": b"{",
    "a list": b"[]",
    "null": b"null",
    "a text": b'"x"',
    "no JSON": b"workflow=1",
    "half a letter": b'{"workflow": "\xff"}',
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "a deep object": b'{"input": ' * 50_000 + b"{}" + b"}" * 50_000,
    "a huge number": b'{"priority": ' + b"9" * 100_000 + b"}",
    "zeros in names": b'{"\\u0000": {"\\u0000": "\\u0000"}}',
}


def test_a_body_that_cannot_be_read_is_refused_and_leaves_nothing(gateway: Gateway, way: Way) -> None:
    json_type = {"Content-Type": "application/json"}

    for what, body in BROKEN.items():
        answer = gateway.ask(way.submit, method="POST", body=body, headers=json_type)
        assert refused(way, answer, 400, 422), what
    for kind in (
        "text/plain",
        "application/xml",
        FORM,
        "multipart/form-data",
        "multipart/form-data; boundary=",
    ):
        answer = gateway.ask(
            way.submit, method="POST", body=b"--x1y2\r\n\x00", headers={"Content-Type": kind}
        )
        assert refused(way, answer, 400, 422), kind
    too_long = {**json_type, "Content-Length": str(1 << 40)}
    assert refused(way, gateway.ask(way.submit, method="POST", body=b"{}", headers=too_long), 413)
    assert gateway.store.find().jobs == ()
    assert list(gateway.storage.list()) == []


BROKEN_FORMS: Final = {
    "cut off": multipart(prompt="a fox")[:-30],
    "another boundary": multipart(prompt="a fox").replace(b"x1y2", b"other"),
    "no prompt": multipart(seconds="1"),
    "zeros": multipart(file=None, prompt="a fox").replace(b"fox", b"\x00" * 50) + b"\x00" * 1000,
    "a name of zeros": multipart(file=None, prompt="a fox").replace(b'"prompt"', b'"\x00"'),
    "many fields": multipart(file=None, prompt="a fox", **{f"f{each}": "x" for each in range(60)}),
    "a long field": multipart(file=None, prompt="a" * 100_000),
    "two files": multipart(prompt="a fox").replace(b"--x1y2--\r\n", b"") + multipart(),
}


@pytest.mark.parametrize("what", BROKEN_FORMS)
def test_a_broken_form_makes_no_clip(gateway: Gateway, what: str) -> None:
    answer = gateway.ask("/v1/videos", method="POST", body=BROKEN_FORMS[what], headers={"Content-Type": FORM})

    assert refused(DOORS["videos"], answer, 400, 422), answer.body
    assert gateway.store.find().jobs == ()
    assert list(gateway.storage.list()) == []


def test_redis_away_is_a_503_that_says_so_and_no_job_is_lost(
    start_valkey: Callable[..., ValkeyServer], folder_storage: FolderStorage
) -> None:
    server = start_valkey("--appendonly", "yes", "--appendfsync", "always")
    with Gateway(RedisSettings.read(url=server.url, timeout_s=1.0), folder_storage) as gateway:
        key = gateway.key()
        made = {
            name: gateway.ask(way.submit, body=way.body, key=key).json[way.id_of]
            for name, way in DOORS.items()
        }
        server.kill()

        for name, way in DOORS.items():
            for answer in (
                gateway.ask(way.submit, body=way.body, key=key),
                gateway.ask(way.show.format(made[name]), key=key),
            ):
                assert refused(way, answer, 503), name
                assert b"Redis" in answer.body
                assert str(server.port).encode() not in answer.body
                assert answer.headers["Retry-After"]

        server.start()
        for name, way in DOORS.items():
            assert gateway.ask(way.show.format(made[name]), key=key).status == 200
        assert len(gateway.store.find().jobs) == len(made)


# Calls that need the storage, with an output and a job that has ended.
NEED_S3: Final = {
    "comfy": ("/api/v2/assets/{output}/content", is_comfys),
    "videos": ("/v1/videos/{job}/content", is_videos),
    "own": ("/farm/v1/jobs/{job}/manifest", is_ours),
}


def test_s3_away_is_a_503_that_says_so_and_nothing_is_half_stored(
    open_gateway: Open, folder_storage: FolderStorage, tmp_path: Path
) -> None:
    gateway = open_gateway(content="bytes")
    worker = HandWorker(gateway.store, gateway.storage)
    job = gateway.ask("/v1/videos", body={"prompt": "a fox"}).json["id"]
    worker.start(job)
    worker.succeed(job)
    output = gateway.ask(f"/api/v2/jobs/{job}").json["outputs"][0]["id"]
    before = [each.key for each in gateway.storage.list()]
    picture = make_picture(tmp_path / "fox.png").read_bytes()
    clip = multipart(file=picture, prompt="a fox").replace(b'"file"', b'"input_reference"')
    upload = multipart(content_type="image/png", file_path="a.png")
    folder_storage.broken = StorageUnavailable("secret-host:9000", "unplugged")

    away = [(gateway.ask(path.format(job=job, output=output)), shape) for path, shape in NEED_S3.values()]
    sent = {"Content-Type": FORM}
    away.append((gateway.ask("/api/v2/assets", method="POST", body=upload, headers=sent), is_comfys))
    away.append((gateway.ask("/v1/videos", method="POST", body=clip, headers=sent), is_videos))

    for answer, has_its_shape in away:
        assert answer.status == 503, answer.body
        assert has_its_shape(answer.json)
        assert b"S3" in answer.body
        assert b"secret-host" not in answer.body
        assert answer.headers["Retry-After"]
    folder_storage.broken = None
    assert [each.key for each in gateway.storage.list()] == before
    assert [each.job_id for each in gateway.store.find().jobs] == [job]
