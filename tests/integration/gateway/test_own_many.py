"""Orders about many jobs at once, and lists that look for few among many."""

from __future__ import annotations

from typing import Any

import pytest

from farm.gateway.keys import Scope
from farm.job import JobState
from tests.support.gateway import GRAPH, Gateway, Open
from tests.support.jobs import a_job
from tests.support.many_jobs import copy_job

JOBS = "/farm/v1/jobs"


@pytest.fixture
def gateway(open_gateway: Open) -> Gateway:
    return open_gateway(requests_per_s=1e6)


def submit(gateway: Gateway, title: str, *labels: str, key: str | None = None) -> str:
    body = {"graph": GRAPH, "title": title, "labels": labels}
    return str(gateway.ask(JOBS, method="POST", key=key, body=body).json["job_id"])


def order(gateway: Gateway, verb: str, key: str | None = None, **body: Any) -> tuple[int, int]:
    """Carry it out to its end: how many were done, of how many, counted over all calls."""
    done = of = 0
    while True:
        answer = gateway.ask(f"{JOBS}/{verb}", method="POST", key=key, body=body)
        assert answer.status == 200, answer.body
        done, of = done + answer.json["done"], of + answer.json["of"]
        if answer.json["next_cursor"] is None:
            return done, of
        body["cursor"] = answer.json["next_cursor"]


def test_named_jobs_are_canceled_and_queued_anew(gateway: Gateway) -> None:
    ids = [submit(gateway, f"fox {number}") for number in range(3)]
    kept = submit(gateway, "hare")

    assert order(gateway, "cancel", ids=[*ids, ids[0], "nobody"]) == (3, 3)
    assert order(gateway, "cancel", ids=ids) == (0, 3)
    assert gateway.store.get(kept).state is JobState.QUEUED
    assert order(gateway, "retry", ids=[*ids, kept]) == (3, 4)
    assert {gateway.store.get(each).state for each in ids} == {JobState.QUEUED}


def test_more_jobs_of_a_label_than_one_call_takes_are_canceled_and_others_are_not(gateway: Gateway) -> None:
    one = a_job(labels=["batch=7"])
    kept = gateway.store.submit([a_job(labels=["batch=8"]), one])[0].job_id
    copy_job(gateway.redis, one.job_id, 1_199)

    done = order(gateway, "cancel", where={"labels": ["batch=7"], "state": "queued"})

    assert done == (1_200, 1_200)
    assert gateway.store.counts().by_state[JobState.CANCELED] == 1_200
    assert gateway.store.get(kept).state is JobState.QUEUED


def test_an_order_reaches_no_job_of_others(gateway: Gateway) -> None:
    acme, other = gateway.key("acme"), gateway.key("other")
    mine, theirs = submit(gateway, "fox", key=acme), submit(gateway, "fox", key=other)

    assert order(gateway, "cancel", acme, ids=[mine, theirs]) == (1, 1)
    assert order(gateway, "cancel", acme, where={"search": "fox"}) == (0, 1)
    assert gateway.store.get(theirs).state is JobState.QUEUED
    reader = gateway.key("acme", Scope.READ)
    refused = gateway.ask(f"{JOBS}/cancel", method="POST", key=reader, body={"ids": [mine]})
    assert refused.code == "forbidden"


BAD: dict[str, dict[str, Any]] = {
    "nothing": {},
    "an id that is none": {"ids": [7]},
    "ids that are no list": {"ids": "x"},
    "more ids than one call takes": {"ids": ["x"] * 501},
    "both": {"ids": [], "where": {}},
    "a state that is none": {"where": {"state": "asleep"}},
    "a filter that is none": {"where": {"colour": "red"}},
    "labels that are no list": {"where": {"labels": "night"}},
    "a label that is no text": {"where": {"labels": [1]}},
    "words that are no text": {"where": {"search": ["x"]}},
    "a cursor that is none": {"where": {}, "all": True, "cursor": 7},
    "every job, and nobody said so": {"where": {}},
    "every job, by filters that are empty": {"where": {"labels": [], "search": ""}},
    "every job, said in another way": {"where": {}, "all": "yes"},
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("verb", ["cancel", "retry"])
def test_an_order_that_is_not_understood_changes_nothing(gateway: Gateway, verb: str, what: str) -> None:
    job_id = submit(gateway, "fox")

    answer = gateway.ask(f"{JOBS}/{verb}", method="POST", body=BAD[what])

    assert answer.code == "invalid_request"
    assert gateway.store.get(job_id).state is JobState.QUEUED


def test_a_search_finds_the_oldest_of_many_and_misses_none(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farm.gateway.tenancy._LOOKING_S", 0.0)
    old = [submit(gateway, f"A white hare {number}") for number in range(3)]
    copy_job(gateway.redis, submit(gateway, "A red fox"), 7_000)

    found: list[str] = []
    cursor: str | None = ""
    calls = 0
    while cursor is not None:
        told = gateway.ask(f"{JOBS}?search=hare&limit=2" + (f"&cursor={cursor}" if cursor else "")).json
        found += [each["job_id"] for each in told["jobs"]]
        assert (told["looked_back_to"] is None) == (told["next_cursor"] is None)
        cursor, calls = told["next_cursor"], calls + 1

    assert found == old[::-1]
    assert calls > 2  # none looks through them all
