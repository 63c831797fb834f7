"""Every field that a client may send, with values that none expects: told, and no fault of ours."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote

import pytest

from farm.asking.request import JobOptions
from farm.gateway import asked, videos
from tests.support.gateway import GRAPH, Open

# What a JSON body may hold. `json` writes and reads the two that JSON itself has no words for.
VALUES: Final[tuple[Any, ...]] = (
    *(["x"], {"a": 1}, None, True),
    *(float("nan"), 1e400, -1e400, "NaN", "1e308", -1, 10**400, "a\x00b"),
    *("", "\ud800", "9" * 20_000),
)
OPTIONS: Final = tuple(sorted(JobOptions.__annotations__))
TEMPLATE: Final = "wan22-t2v-a14b"
PARAMETERS: Final = ("prompt", "seed", "frames", "width", "fps", "steps", "cfg", "preset", "snap", "nope")

# What no client of a door knows: the words of Python, of its libraries, and of our command line.
INNER_WORDS: Final = re.compile(
    r"NoneType|\bNone\b|\bTrue\b|\bFalse\b|(Input|String|Tuple|Value) should|\ba (dict|tuple|str)\b"
    r"|sys\.|Errno|Error:|Exceeds the limit|[0-9]{200}|\(--|--[a-z]"
)

Place = tuple[str, ...]  # where a value goes in a body
BY_TEMPLATE: Final = {"template": TEMPLATE, "parameters": {"prompt": "a fox"}}
BY_GRAPH: Final = {"graph": GRAPH}
_OWN_PLACES: Final[tuple[Place, ...]] = (
    *((name,) for name in sorted(asked.FIELDS)),
    *(("parameters", name) for name in PARAMETERS),
    *((name, "1.text") for name in ("inputs", "bind", "parameters")),
    *(("graph", *rest) for rest in (("1",), ("1", "inputs"), ("1", "class_type"))),
)
DOORS: Final[dict[str, tuple[dict[str, Any], tuple[Place, ...]]]] = {
    "/farm/v1/jobs": (BY_TEMPLATE, _OWN_PLACES),
    "/farm/v1/plan": (BY_TEMPLATE, _OWN_PLACES[: len(asked.FIELDS)]),
    "/farm/v1/lint": (BY_TEMPLATE, _OWN_PLACES),
    "/farm/v1/jobs#graph": (BY_GRAPH, _OWN_PLACES[len(asked.FIELDS) :]),
    "/v1/videos": (
        {"prompt": "a fox", "fps": 16},
        (*((name,) for name in sorted(videos.FIELDS)), ("input_reference", "image_url")),
    ),
    "/v2/fox/run": (
        {"input": {"workflow": GRAPH}},
        (
            *(("input",), ("input", "workflow"), ("input", "images"), ("policy",), ("webhook",)),
            *(("policy", name) for name in ("executionTimeout", "ttl", "lowPriority")),
            *(("input", "images", name) for name in ("name", "image")),
        ),
    ),
    "/api/v2/jobs": (
        {"workflow": GRAPH},
        (
            *(("workflow",), ("workflow", "1"), ("workflow", "1", "inputs"), ("extra_data",), ("metadata",)),
            *(("metadata", name) for name in ("plain", "farm.template", "farm.set.prompt")),
            *(("metadata", f"farm.{name}") for name in OPTIONS),
        ),
    ),
    "/api/v2/assets/from-hash": (
        {"hash": "blake3:" + "0" * 64},
        (("hash",), ("file_path",), ("expires_in",)),
    ),
}


def bodies(path: str) -> Iterator[tuple[Place, Any, dict[str, Any]]]:
    """Each place of a door's body with each value."""
    usual, places = DOORS[path]
    for place in places:
        for value in VALUES:
            body = copy.deepcopy(usual)
            inner = body
            for name in place[:-1]:
                inner = inner.setdefault(name, {})
            inner[place[-1]] = value
            yield place, value, body


@pytest.mark.parametrize("path", DOORS)
def test_no_value_of_a_field_is_a_fault_of_the_gateway(open_gateway: Open, path: str) -> None:
    gateway = open_gateway(requests_per_s=1e6)

    faults, strange = [], []
    for place, value, body in bodies(path):
        answer = gateway.ask(path, method="POST", body=body)
        if answer.status >= 500:
            faults.append((place, repr(value)[:30]))
        refused = answer.status >= 400 and path.startswith("/farm/")
        if refused and (found := INNER_WORDS.search(answer.body.decode())):
            strange.append((place, repr(value)[:30], found[0], answer.body[:300]))

    assert faults == []
    assert strange == []


@pytest.mark.parametrize("path", ["/farm/v1/jobs", "/api/v2/jobs", "/v1/videos"])
def test_a_page_of_a_size_that_is_none_is_refused(open_gateway: Open, path: str) -> None:
    gateway = open_gateway()

    for limit in ("0", "101", "-1", "NaN", "9" * 5000):
        assert gateway.ask(f"{path}?limit={limit}").status in (400, 422), limit[:9]
    assert gateway.ask(f"{path}?limit=1").status == 200
    assert gateway.ask(f"/farm/v1/jobs?cursor={'9' * 5000}").status == 400


OWN_READS: Final = (
    *("/farm/v1/jobs", "/farm/v1/workers", "/farm/v1/queues", "/farm/v1/templates", "/farm/v1/webhooks"),
)


def test_a_word_of_a_query_that_the_farms_own_door_does_not_know_is_refused_by_its_name(
    open_gateway: Open,
) -> None:
    gateway = open_gateway(requests_per_s=1e6)

    for path in OWN_READS:
        for query in ("lable=night", "page=2", "nope", "%00=1", "state[]=queued"):
            answer = gateway.ask(f"{path}?{query}")
            assert (answer.status, answer.code) == (400, "invalid_request"), (path, query)
            assert answer.json["error"]["details"]["param"] == unquote(query).partition("=")[0]
    for word in ("label", "state", "search", "worker", "since", "until", "limit", "cursor"):
        empty = gateway.ask(f"/farm/v1/jobs?{word}=")
        assert (empty.status, empty.json["error"]["details"]["param"]) == (400, word)
        twice = gateway.ask(f"/farm/v1/jobs?{word}=1&{word}=1")
        assert twice.status == (200 if word == "label" else 400), word
    assert gateway.ask("/farm/v1/jobs?label=night&label=fox").status == 200


OBJECTS: Final = (
    *(
        (path, name)
        for path in ("/farm/v1/jobs", "/farm/v1/lint")
        for name in ("parameters", "inputs", "bind")
    ),
    *(("/v2/fox/run", "policy"), ("/api/v2/jobs", "extra_data")),
)


def test_what_is_to_be_an_object_and_is_none_is_refused_with_its_name(open_gateway: Open) -> None:
    gateway = open_gateway(requests_per_s=1e6)

    for path, name in OBJECTS:
        for value in ([], "", 0, False, "x", 5, [1]):
            answer = gateway.ask(path, method="POST", body={**DOORS[path][0], name: value})
            assert answer.status in (400, 422), (path, name, value)
            assert name.encode() in answer.body


def test_times_of_runpods_policy_are_milliseconds(open_gateway: Open) -> None:
    gateway = open_gateway(requests_per_s=1e6)
    usual = DOORS["/v2/fox/run"][0]

    for name in ("executionTimeout", "ttl"):
        unlike: tuple[Any, ...] = ("x", [], {}, -1, 1e12, "soon", True)
        for value in unlike:
            answer = gateway.ask("/v2/fox/run", method="POST", body={**usual, "policy": {name: value}})
            assert answer.status == 400, (name, value)
    assert gateway.ask("/v2/fox/runsync?wait=abc", method="POST", body=usual).status == 400
