"""Which routes a client asks, against answers that a real server or a proxy before it gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from comfy.protocol.client import ComfyClient, with_meta
from comfy.protocol.whereabouts import Whereabouts

P = "0b4f8a3c-5d7e-5a10-9d55-0a3c1f0e7b21"
JOB, CANCEL = f"GET /api/jobs/{P}", f"POST /api/jobs/{P}/cancel"
OLD_WAY = ["POST /queue", "POST /interrupt"]


@dataclass
class Answers:
    """A client's pool that answers as told, and keeps what was asked."""

    by_route: dict[str, tuple[int, Any]]
    asked: list[str] = field(default_factory=list)

    def request(self, method: str, url: str, **_: Any) -> Answers:
        route = f"{method} {url.removeprefix('http://comfy:8188')}"
        self.asked.append(route)
        empty: Any = {"queue_running": [], "queue_pending": []} if route.endswith("/queue") else {}
        self.status, body = self.by_route.get(route, (200, empty))
        self.data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        return self

    def clear(self) -> None:
        pass


Make = Callable[..., tuple[ComfyClient, list[str]]]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    def made(**by_route: tuple[int, Any]) -> tuple[ComfyClient, list[str]]:
        client, answers = ComfyClient("http://comfy:8188"), Answers(dict(by_route))
        monkeypatch.setattr(client._http, "_pool", answers)
        return client, answers.asked

    return made


@pytest.mark.parametrize(
    "answer", [(404, "404: Not Found"), (405, "405: Method Not Allowed"), (200, "<html>")]
)
def test_a_server_without_the_routes_is_asked_the_old_way_from_then_on(
    make: Make, answer: tuple[int, Any]
) -> None:
    client, asked = make(**{JOB: answer, CANCEL: answer})

    for _ in range(2):
        client.whereabouts(P)
        client.cancel(P)

    look = ["GET /queue", f"GET /history/{P}"]
    assert asked == [JOB, *look, CANCEL, *OLD_WAY, *look, *OLD_WAY]


def test_a_server_with_the_routes_is_asked_one_question(make: Make) -> None:
    client, asked = make(**{JOB: (200, {"status": "in_progress"}), CANCEL: (200, {"cancelled": True})})

    assert client.whereabouts(P) is Whereabouts.RUNNING
    assert client.cancel(P)

    assert asked == [JOB, CANCEL]


def test_a_job_that_the_route_does_not_know_is_not_taken_for_a_missing_route(make: Make) -> None:
    client, asked = make(**{JOB: (404, {"error": "Job not found"}), CANCEL: (200, {"cancelled": False})})

    assert [client.knows(P), client.knows(P), client.cancel(P)] == [False, False, False]

    assert asked == [JOB, JOB, CANCEL]


def test_a_route_that_fails_at_one_prompt_is_asked_again_for_the_next(make: Make) -> None:
    client, asked = make(**{JOB: (500, "500 Internal Server Error"), f"GET /history/{P}": (200, {P: {}})})

    assert client.whereabouts(P) is Whereabouts.OVER
    client.whereabouts(P)

    assert asked.count(JOB) == 2


def test_every_node_is_sent_with_a_meta() -> None:
    graph = {
        "1": {"class_type": "A", "inputs": {}},
        "2": {"_meta": {"title": "t"}},
        "3": {"_meta": None},
        "4": 5,
    }

    sent = with_meta(graph)

    assert [node["_meta"] for node in list(sent.values())[:3]] == [{}, {"title": "t"}, {}]
    assert (sent["4"], graph["1"]) == (5, {"class_type": "A", "inputs": {}})
