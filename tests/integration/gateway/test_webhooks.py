"""Webhooks by the farm's own door and by the command line: each tenant's own, and secrets shown once."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from farm.cli.main import run
from farm.cli.terminal.door import Door, PlainConsole
from farm.cli.terminal.exits import ExitCode
from farm.gateway.keys import Scope
from farm.settings.redis import RedisSettings
from tests.support.environment import environment_of
from tests.support.gateway import Gateway, Open

HOOKS = "/farm/v1/webhooks"
URL = "https://1.1.1.1/ended"  # by number: no test asks DNS


@pytest.fixture
def gateway(open_gateway: Open) -> Gateway:
    return open_gateway()


def add(gateway: Gateway, key: str | None = None) -> dict[str, Any]:
    answer = gateway.ask(HOOKS, key=key, body={"url": URL})
    assert answer.status == 201, answer.body
    found: dict[str, Any] = answer.json
    return found


def listed(gateway: Gateway, key: str | None = None) -> list[str]:
    return [each["id"] for each in gateway.ask(HOOKS, key=key).json["webhooks"]]


def buried(gateway: Gateway, webhook_id: str, *labels: str) -> str:
    """A job's end that could not be told; the message's id."""
    gateway.store.cancel(gateway.farm_job(*labels))
    (message,) = gateway.store.due_messages(most=9)[webhook_id]
    gateway.store.bury(webhook_id, [message.message_id], reason="it answered 500")
    return message.message_id


def test_a_tenant_makes_rotates_and_removes_its_own_and_sees_no_others(gateway: Gateway) -> None:
    acme, ape, boss = gateway.key("acme"), gateway.key("ape"), gateway.key("boss", Scope.ADMIN)
    mine, all_jobs = add(gateway, acme), add(gateway, boss)
    own = f"{HOOKS}/{mine['id']}"

    assert (mine["tenant"], all_jobs["tenant"]) == ("acme", None)
    assert (listed(gateway, acme), listed(gateway, ape)) == ([mine["id"]], [])
    assert sorted(listed(gateway, boss)) == sorted([mine["id"], all_jobs["id"]])
    for method, path in (("DELETE", own), ("POST", f"{own}/rotate"), ("GET", f"{own}/dead")):
        assert gateway.ask(path, method=method, key=ape).code == "not_found"
    rotated = gateway.ask(f"{own}/rotate", method="POST", key=acme).json
    assert rotated["secret"].startswith("whsec_")
    assert rotated["secret"] != mine["secret"]
    assert rotated["old_secret_until"] is not None
    assert "whsec_" not in gateway.ask(HOOKS, key=acme).body.decode()
    assert gateway.ask(own, method="DELETE", key=acme).status == 204
    assert listed(gateway, acme) == []


def test_a_job_of_the_tenant_that_ends_is_in_its_outbox_and_dead_letters_are_sent_again(
    gateway: Gateway,
) -> None:
    key = gateway.key("acme")
    hook = add(gateway, key)["id"]
    gateway.store.cancel(gateway.farm_job("tenant=ape"))
    message = buried(gateway, hook, "tenant=acme")

    dead = gateway.ask(f"{HOOKS}/{hook}/dead", key=key).json["messages"]
    again = gateway.ask(f"{HOOKS}/{hook}/resend", method="POST", key=key, body={"messages": [message]}).json

    assert [(each["id"], each["state"], each["reason"]) for each in dead] == [
        (message, "canceled", "it answered 500")
    ]
    assert again == {"resent": 1}
    assert [each.message_id for each in gateway.store.due_messages(most=9)[hook]] == [message]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"url": 7}, 400),
        ({"url": URL, "secret": "mine"}, 400),
        ({"url": "ftp://example.com/"}, 422),
        ({"url": "https://me:word@1.1.1.1/"}, 422),
        ({"url": "http://127.0.0.1:6379/"}, 422),
        ({"url": "http://169.254.169.254/latest/meta-data"}, 422),
    ],
)
def test_a_wrong_request_makes_none(body: dict[str, Any], status: int, gateway: Gateway) -> None:
    answer = gateway.ask(HOOKS, body=body)

    assert (answer.status, listed(gateway)) == (status, [])


def test_a_key_that_only_reads_makes_none_and_a_tenant_has_no_more_than_twenty(gateway: Gateway) -> None:
    acme, reader = gateway.key("acme"), gateway.key("acme", Scope.READ)
    for _ in range(20):
        add(gateway, acme)

    assert gateway.ask(HOOKS, key=reader, body={"url": URL}).code == "forbidden"
    assert gateway.ask(HOOKS, key=acme, body={"url": URL}).code == "too_many_webhooks"


def test_the_command_line_does_all_of_it(
    gateway: Gateway, gateway_redis: RedisSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment_of(gateway_redis).items():
        monkeypatch.setenv(name, value)

    def webhooks(*arguments: str) -> Any:
        out, err = io.StringIO(), io.StringIO()
        door = Door(out=PlainConsole(file=out), err=PlainConsole(file=err))
        code = run(["webhooks", *arguments, "--json"], door=door)
        return json.loads(out.getvalue()) if code is ExitCode.OK else err.getvalue()

    made = webhooks("add", URL, "--tenant", "acme")
    hook = made["id"]
    message = buried(gateway, hook, "tenant=acme")

    assert made["secret"].startswith("whsec_")
    assert [(each["id"], each["tenant"]) for each in webhooks()] == [(hook, "acme")]
    assert webhooks("rotate", hook)["secret"] != made["secret"]
    assert [each["id"] for each in webhooks("dead", hook)] == [message]
    assert [(each["waiting"], each["dead"]) for each in webhooks()] == [(0, 1)]
    assert webhooks("resend", hook) == {"resent": 1}
    assert [(each["waiting"], each["dead"]) for each in webhooks()] == [(1, 0)]
    assert webhooks("rm", hook) == {"removed": hook}
    assert webhooks() == []
    for wrong in (["rm", hook], ["add", "ftp://x/"], ["add", "http://[::1]/"], ["add"], ["list", "x"]):
        assert webhooks(*wrong) not in (ExitCode.OK, None)
