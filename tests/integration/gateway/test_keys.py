"""API keys: who comes in, what they may do, and for how long."""

from __future__ import annotations

import io
import json

import pytest
import redis

from farm.cli.main import run
from farm.cli.terminal.door import Door, PlainConsole
from farm.cli.terminal.exits import ExitCode
from farm.gateway.keys import Scope, caller_of, create_key, list_keys
from farm.settings.redis import RedisSettings
from farm.store.redis.doors import DoorBook
from tests.support.environment import environment_of
from tests.support.gateway import Gateway, Open


@pytest.fixture
def book(gateway_redis: RedisSettings) -> DoorBook:
    return DoorBook(gateway_redis)


class Keys:
    """`farm keys`, in this process."""

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        door = Door(out=PlainConsole(file=out), err=PlainConsole(file=err))
        code = run(["keys", *arguments], door=door)
        return code, out.getvalue(), err.getvalue()


@pytest.fixture
def keys(gateway_redis: RedisSettings, monkeypatch: pytest.MonkeyPatch) -> Keys:
    for name, value in environment_of(gateway_redis).items():
        monkeypatch.setenv(name, value)
    return Keys()


def test_a_key_is_its_callers_until_it_is_revoked(keys: Keys, book: DoorBook) -> None:
    code, out, _ = keys("create", "acme", "--scope", "read", "--label", "the laptop", "--json")
    made = json.loads(out)

    caller = caller_of(book, made["key"])
    assert code == ExitCode.OK
    assert caller is not None
    assert (caller.tenant, sorted(caller.scopes)) == ("acme", [Scope.READ])

    assert keys("revoke", made["id"])[0] == ExitCode.OK
    assert caller_of(book, made["key"]) is None
    listed = json.loads(keys("list", "--json")[1])
    assert [(each["id"], each["label"]) for each in listed] == [(made["id"], "the laptop")]
    assert listed[0]["revoked_at"]


def test_the_key_is_shown_once_and_kept_nowhere(
    keys: Keys, book: DoorBook, gateway_redis: RedisSettings
) -> None:
    _, out, err = keys("create", "acme")
    text = out.strip()
    secret = text.rpartition("_")[2]

    assert caller_of(book, text) is not None
    assert secret not in err
    assert secret not in keys("list")[1]
    with redis.Redis.from_url(gateway_redis.url.get_secret_value()) as client:
        stored = [client.hgetall(name) for name in client.scan_iter("*apikey:*")]
    assert stored
    assert secret.encode() not in repr(stored).encode()


@pytest.mark.parametrize(
    "arguments",
    [("create", "Big Corp"), ("create", ""), ("create", "a", "--label", "x\ny"), ("create",), ("list", "a")],
)
def test_what_can_be_no_key_is_refused(keys: Keys, book: DoorBook, arguments: tuple[str, ...]) -> None:
    assert keys(*arguments)[0] == ExitCode.USAGE

    assert list_keys(book) == []


def test_to_revoke_what_is_not_there_is_told(keys: Keys) -> None:
    code, _, err = keys("revoke", "0123456789ab")

    assert code == ExitCode.NOT_FOUND
    assert "0123456789ab" in err


def wrong_keys(right: str) -> dict[str, str | None]:
    other = right[:-1] + ("A" if right[-1] != "A" else "B")
    return {
        "no header": None,
        "another scheme": f"Basic {right}",
        "one letter off": f"Bearer {other}",
        "the id alone": f"Bearer {right[:17]}",
        "an unknown id": f"Bearer farm_{'0' * 12}_{right[18:]}",
        "nothing": "Bearer ",
        "another name's": "Bearer sk-123",
        "very long": "Bearer " + "farm_" + "a" * 20_000,
    }


@pytest.mark.parametrize("what", wrong_keys("farm_0123456789ab_" + "x" * 43))
def test_a_wrong_key_gets_nothing(open_gateway: Open, what: str) -> None:
    gateway: Gateway = open_gateway()
    said = wrong_keys(gateway.key())[what]

    answer = gateway.ask("/probe", headers={} if said is None else {"Authorization": said})

    assert (answer.status, answer.code) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_scope_that_a_key_lacks_is_named(open_gateway: Open) -> None:
    gateway = open_gateway()

    answer = gateway.ask("/probe", method="POST", key=gateway.key("acme", Scope.READ))

    assert (answer.status, answer.code) == (403, "forbidden")
    assert "submit" in answer.json["error"]["message"]


def test_without_keys_whoever_is_on_this_machine_comes_in(open_gateway: Open) -> None:
    gateway = open_gateway()

    assert gateway.ask("/probe").json == {"tenant": ""}
    assert gateway.ask("/probe", key="whatever a client insists on").status == 200
    gateway.key()
    assert gateway.ask("/probe").status == 401, "from the first key on everybody needs one"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "192.168.0.7:8190", ""])
def test_without_keys_a_name_that_leads_here_from_elsewhere_does_not(open_gateway: Open, host: str) -> None:
    answer = open_gateway().ask("/probe", headers={"Host": host})

    assert answer.status in (400, 401)
    if answer.status == 401:
        assert "without keys only requests to localhost" in answer.json["error"]["message"]


def test_without_keys_nobody_comes_in_where_others_can_reach_it(open_gateway: Open) -> None:
    assert open_gateway(only_here=False).ask("/probe").status == 401


def test_a_page_of_another_origin_may_not_call_unless_it_is_named(open_gateway: Open) -> None:
    gateway = open_gateway(origins="https://studio.example")

    foreign = gateway.ask("/probe", headers={"Origin": "https://evil.example"})
    named = gateway.ask("/probe", headers={"Origin": "https://studio.example"})
    asked = gateway.ask("/probe", method="OPTIONS", headers={"Origin": "https://studio.example"})
    own = gateway.ask("/probe", headers={"Origin": gateway.url})

    assert (foreign.status, foreign.code) == (403, "forbidden")
    assert named.headers["Access-Control-Allow-Origin"] == "https://studio.example"
    assert asked.status == 204
    assert own.status == 200
    assert "Access-Control-Allow-Origin" not in own.headers


def test_a_key_that_asks_too_often_is_told_when_to_come_again(open_gateway: Open) -> None:
    gateway = open_gateway(requests_per_s=0.001)  # one, and then none for a long time
    eager, patient = gateway.key("acme"), gateway.key("other")

    first, second = (gateway.ask("/probe", key=eager) for _ in range(2))

    assert first.status == 200
    assert (second.status, second.code) == (429, "rate_limited")
    assert int(second.headers["Retry-After"]) >= 1
    assert gateway.ask("/probe", key=patient).status == 200


def test_the_last_use_is_noted(open_gateway: Open, book: DoorBook) -> None:
    gateway = open_gateway()
    _, text = create_key(book, "acme", [Scope.READ])
    assert list_keys(book)[0].last_used_at is None

    gateway.ask("/probe", key=text)

    assert list_keys(book)[0].last_used_at is not None
