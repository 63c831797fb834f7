"""Comfy API v2 is asked what its specification allows and what it forbids: each answer is one that it has."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import hypothesis
import pytest
from hypothesis import strategies

from farm.gateway.comfy.door import COMFY
from tests.integration.gateway.test_comfy_contract import multipart
from tests.support.comfy_contract import FILE
from tests.support.gateway import GRAPH, Gateway, Open
from tests.support.gateway_worker import HandWorker

NOT_IN_IT: Final = ("GET /api/v2/health", "GET /api/v2/jobs")  # they came after the published file
LABELS: Final = sorted({f"{call.method} {COMFY.prefix}{call.path}" for call in COMFY.calls} - {*NOT_IN_IT})
WITH_BODY: Final = ("POST /api/v2/assets", "POST /api/v2/assets/from-hash", "POST /api/v2/jobs")
CHECKS: Final = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
    *("response_headers_conformance", "response_schema_conformance"),
)
UNLIKE: Final = {
    # A form has texts alone: what is a number there is a text of digits here.
    "POST /api/v2/assets": "negative_data_rejection",
    # It has no word for a body that cannot be read: a hash is known there or is not.
    "POST /api/v2/assets/from-hash": "status_code_conformance",
    # There it says of a file's bytes that they are bytes; they have their own type too.
    "GET /api/v2/assets/{id}/content": "content_type_conformance",
    # It says no more of a stream than that it is a text; `test_streams` holds each event to its schema.
    "GET /api/v2/jobs/{id}/events": "response_schema_conformance",
}


@cache
def operations() -> dict[str, Any]:
    """What the specification lets a client ask, by its label."""
    # Only here: it takes a second, and every process of the tests reads this file to know their names.
    import schemathesis
    from schemathesis.core.result import Ok

    read = schemathesis.openapi.from_path(FILE).get_all_operations()
    return {each.ok().label: each.ok() for each in read if isinstance(each, Ok)}


@pytest.fixture
def gateway(open_gateway: Open) -> Gateway:
    return open_gateway(content="bytes", requests_per_s=1e6)


@pytest.fixture
def ids(gateway: Gateway) -> list[str]:
    """What a path may name: jobs that wait and that have ended, an upload and an output."""
    worker = HandWorker(gateway.store, gateway.storage)
    waiting, done = (
        str(gateway.ask("/api/v2/jobs", method="POST", body={"workflow": GRAPH}).json["id"]) for _ in range(2)
    )
    worker.start(done)
    worker.succeed(done)
    form = {"Content-Type": "multipart/form-data; boundary=x1y2"}
    sent = multipart(content_type="image/png", file_path="fox.png")
    asset = gateway.ask("/api/v2/assets", method="POST", body=sent, headers=form).json["id"]
    output = gateway.ask(f"/api/v2/jobs/{done}").json["outputs"][0]["id"]
    return [waiting, done, asset, output]


def checks_of(label: str, *more: str) -> list[Any]:
    from schemathesis.checks import CHECKS as ALL
    from schemathesis.checks import load_all_checks

    load_all_checks()
    return list(ALL.get_by_names([each for each in (*CHECKS, *more) if each != UNLIKE.get(label)]))


def each_case(label: str, mode: str, ids: list[str], ask: Callable[[Any], None]) -> None:
    from schemathesis.generation import GenerationMode

    strategy = operations()[label].as_strategy(generation_mode=GenerationMode(mode))

    @hypothesis.settings(
        max_examples=10,
        database=None,
        derandomize=True,  # the same questions on every machine
        deadline=None,
        suppress_health_check=[*hypothesis.HealthCheck],
    )
    @hypothesis.given(case=strategy, named=strategies.sampled_from(["", *ids]))
    def asked(case: Any, named: str) -> None:
        if named and "id" in (case.path_parameters or {}):
            # The stream of a job that goes on has no end.
            case.path_parameters["id"] = ids[1] if case.operation.label.endswith("/events") else named
        ask(case)

    asked()


def test_every_call_of_the_specification_is_one_of_the_gateway() -> None:
    assert sorted(operations()) == LABELS
    assert [label for label, each in operations().items() if each.body] == [*WITH_BODY]


@pytest.mark.parametrize("label", LABELS)
def test_what_is_allowed_is_answered_as_the_specification_has_it(
    gateway: Gateway, ids: list[str], label: str
) -> None:
    def ask(case: Any) -> None:
        case.validate_response(case.call(base_url=gateway.url), checks=checks_of(label))

    each_case(label, "positive", ids, ask)


@pytest.mark.parametrize("label", WITH_BODY)
def test_what_is_forbidden_is_refused_as_the_specification_has_it(
    gateway: Gateway, ids: list[str], label: str
) -> None:
    def ask(case: Any) -> None:
        checks = checks_of(label, "negative_data_rejection")
        case.validate_response(case.call(base_url=gateway.url), checks=checks)

    each_case(label, "negative", ids, ask)
