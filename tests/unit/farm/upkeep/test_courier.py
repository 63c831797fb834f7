"""Messages to receivers, by real HTTP: signed by the standard, and never lost to a bad receiver."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from farm.errors import InvalidJob, StoreUnavailable, WebhookNotFound
from farm.outside.addresses import Address
from farm.outside.dial import Dialer
from farm.store.webhooks import Webhook, facts_of
from farm.testing import MemoryJobStore
from farm.upkeep.courier import WAITS_S, Courier
from farm.upkeep.steward import Steward
from farm.upkeep.webhooks import add_webhook, headers_of, rotate_secret, webhook_of
from tests.support.http import served
from tests.support.jobs import a_job
from tests.support.valkey import eventually

_REACHABLE = Dialer(allow_private=True)


class Receiver(ThreadingHTTPServer):
    """Keeps what it is sent, and answers as the test says."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[tuple[Mapping[str, str], bytes]] = []
        self.answer: Callable[[BaseHTTPRequestHandler], None] = with_status(200)
        self.url = f"http://127.0.0.1:{self.server_port}/ended"

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.got]


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        headers = {name.lower(): value for name, value in self.headers.items()}
        server.got.append((headers, self.rfile.read(int(self.headers["Content-Length"]))))
        server.answer(self)

    def log_message(self, *_: Any) -> None:
        pass


def with_status(status: int, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return answer


def until_hung_up(piece: bytes, *, first: bytes = b"") -> Callable[[BaseHTTPRequestHandler], None]:
    """Sends that for ever, now and then, or as fast as it is taken."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.connection.settimeout(0.2)
        try:
            request.wfile.write(first)
            while True:
                if piece:
                    request.wfile.write(piece)
                elif not request.connection.recv(1):
                    return None
                time.sleep(0 if len(piece) > 1 else 0.02)
        except TimeoutError:
            return answer(request) if not piece else None
        except OSError:
            return None

    return answer


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with served(Receiver()) as server:
        yield server


@pytest.fixture
def store() -> MemoryJobStore:
    return MemoryJobStore()


@pytest.fixture
def couriers(store: MemoryJobStore) -> Iterator[Callable[..., Courier]]:
    made: list[Courier] = []

    def make(**options: Any) -> Courier:
        made.append(Courier(store, _REACHABLE, **{"time_s": 30.0, **options}))
        return made[-1]

    yield make
    for courier in made:
        courier.stop()


def ended(store: MemoryJobStore, **fields: Any) -> str:
    job_id = store.submit([a_job(**fields)])[0].job_id
    store.cancel(job_id, reason="no more")
    return job_id


def verified(webhook: Webhook, sent: tuple[Mapping[str, str], bytes]) -> Any:
    headers, body = sent
    return Verifier(webhook.secret).verify(body, dict(headers))


def turned_until(courier: Courier, condition: Callable[[], object]) -> None:
    def turned() -> object:
        courier.turn()
        return condition()

    eventually(turned)


def test_a_receiver_verifies_what_it_is_told(
    receiver: Receiver, store: MemoryJobStore, couriers: Callable[..., Courier]
) -> None:
    webhook = add_webhook(store, _REACHABLE, receiver.url, tenant="acme")
    job_id = ended(store, title="A red fox – ✓", labels=["shot=12", "tenant=acme"])

    turned_until(couriers(), lambda: receiver.got)

    told = verified(webhook, receiver.got[0])
    assert told["type"] == "job.canceled"
    assert datetime.fromisoformat(told["timestamp"]).tzinfo is not None
    data = told["data"]
    assert (data["job_id"], data["title"], data["labels"]) == (job_id, "A red fox – ✓", ["shot=12"])
    assert (data["state"], data["reason"], data["error"]) == ("canceled", "no more", None)
    assert data["tenant"] == "acme", "who hears of all jobs knows whose each is"
    headers, body = receiver.got[0]
    with pytest.raises(WebhookVerificationError):
        Verifier(webhook.secret).verify(body + b" ", dict(headers))


def test_both_secrets_sign_after_a_rotation(
    receiver: Receiver, store: MemoryJobStore, couriers: Callable[..., Courier]
) -> None:
    before = add_webhook(store, _REACHABLE, receiver.url, tenant="")
    after = rotate_secret(store, before)
    ended(store)

    turned_until(couriers(), lambda: receiver.got)

    assert after.secret != before.secret
    assert verified(after, receiver.got[0]) == verified(before, receiver.got[0])
    assert "whsec_" not in repr(after)


def test_an_old_secret_signs_no_more_when_its_day_is_over(store: MemoryJobStore) -> None:
    rotated = rotate_secret(store, add_webhook(store, _REACHABLE, "https://1.1.1.1/", tenant=""))
    ended(store)
    (message,) = store.due_messages(most=1)[rotated.webhook_id]
    past = replace(rotated, old_until=datetime.now(UTC) - timedelta(seconds=1))

    signed = [headers_of(each, message, b"{}", now=datetime.now(UTC)) for each in (rotated, past)]

    assert [len(headers["webhook-signature"].split()) for headers in signed] == [2, 1]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (with_status(500), "the receiver answered 500"),
        (with_status(404), "the receiver answered 404"),
        (with_status(302, Location="http://169.254.169.254/"), "the receiver answered 302"),
        (until_hung_up(b""), "did not answer within 0.5 s"),
        (until_hung_up(b"H"), "did not answer within 0.5 s"),
        (until_hung_up(b"x", first=b"HTTP/1.1 200 OK\r\nx-drip: "), "did not answer within 0.5 s"),
        (lambda request: request.connection.close(), "does not answer"),
    ],
    ids=["500", "404", "redirect", "hangs", "drips", "drips-headers", "hangs-up"],
)
def test_a_receiver_that_does_not_take_it_is_asked_again_under_the_same_id(
    answer: Callable[[BaseHTTPRequestHandler], None],
    reason: str,
    receiver: Receiver,
    store: MemoryJobStore,
    couriers: Callable[..., Courier],
) -> None:
    webhook = add_webhook(store, _REACHABLE, receiver.url, tenant="")
    ended(store)
    receiver.answer = answer
    courier = couriers(time_s=0.5, waits_s=(0.0,))

    turned_until(courier, lambda: store.dead_letters(webhook.webhook_id))

    (letter,) = store.dead_letters(webhook.webhook_id)
    assert reason in letter.reason
    assert receiver.ids == [letter.message_id] * 2
    receiver.answer = with_status(204)
    assert store.resend(webhook.webhook_id) == 1
    turned_until(couriers(), lambda: len(receiver.got) == 3)
    assert receiver.ids == [letter.message_id] * 3
    eventually(lambda: not store.due_messages(most=1))


def test_a_body_without_end_is_not_read(
    receiver: Receiver, store: MemoryJobStore, couriers: Callable[..., Courier]
) -> None:
    webhook = add_webhook(store, _REACHABLE, receiver.url, tenant="")
    ended(store)
    receiver.answer = until_hung_up(b"x" * 65536, first=b"HTTP/1.1 200 OK\r\n\r\n")

    turned_until(couriers(), lambda: receiver.got and not store.due_messages(most=1))

    assert store.dead_letters(webhook.webhook_id) == []


def test_a_receiver_that_is_gone_is_told_nothing_more(
    receiver: Receiver, store: MemoryJobStore, couriers: Callable[..., Courier]
) -> None:
    webhook = add_webhook(store, _REACHABLE, receiver.url, tenant="")
    jobs = {ended(store) for _ in range(3)}
    receiver.answer = with_status(410)
    courier = couriers()

    turned_until(courier, lambda: store.webhooks()[0].disabled)
    ended(store)
    courier.turn()

    assert store.webhooks()[0].disabled == "the receiver answered 410"
    assert {letter.end.job_id for letter in store.dead_letters(webhook.webhook_id)} == jobs
    assert len(receiver.got) == 1


def test_one_receiver_that_hangs_keeps_no_other_from_its_news(
    receiver: Receiver, store: MemoryJobStore, couriers: Callable[..., Courier]
) -> None:
    with served(Receiver()) as slow:
        slow.answer = until_hung_up(b"")
        add_webhook(store, _REACHABLE, slow.url, tenant="")
        add_webhook(store, _REACHABLE, receiver.url, tenant="")
        courier = couriers()
        ended(store)
        turned_until(courier, lambda: slow.got)

        jobs = [ended(store) for _ in range(30)]
        turned_until(courier, lambda: len(receiver.got) == 1 + len(jobs))

        assert len(slow.got) == 1
        courier.stop()


def test_a_steward_that_died_before_it_crossed_a_message_out_sends_it_again_under_its_id(
    receiver: Receiver,
    store: MemoryJobStore,
    monkeypatch: pytest.MonkeyPatch,
    couriers: Callable[..., Courier],
) -> None:
    add_webhook(store, _REACHABLE, receiver.url, tenant="")
    ended(store)

    died = threading.Event()

    def dies(*_: Any) -> None:
        died.set()
        raise StoreUnavailable("redis", "it died here")

    with monkeypatch.context() as dying:
        dying.setattr(store, "delivered", dies)
        turned_until(couriers(), died.is_set)
    turned_until(couriers(), lambda: not store.due_messages(most=1))

    assert len(receiver.got) >= 2
    assert len(set(receiver.ids)) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://169.254.169.254/x", "http://[::1]/"])
def test_a_private_address_is_not_called_unless_that_is_allowed(url: str, store: MemoryJobStore) -> None:
    with pytest.raises(InvalidJob, match="private or local address"):
        add_webhook(store, Dialer(), url, tenant="")
    webhook = add_webhook(store, _REACHABLE, url, tenant="")  # where the rule was another one
    ended(store)
    courier = Courier(store, Dialer(), waits_s=())

    turned_until(courier, lambda: store.dead_letters(webhook.webhook_id))
    courier.stop()

    assert "private or local address" in store.dead_letters(webhook.webhook_id)[0].reason


@pytest.mark.parametrize(
    "url",
    ["", "example.com/x", "ftp://example.com/", "file:///etc/passwd", "https://", "https://me:pw@example.com/",
     "https://example.com/\n", "https://example.com/" + "x" * 2000, "https://[::1"],
)  # fmt: skip
def test_what_is_no_address_to_call_is_refused(url: str, store: MemoryJobStore) -> None:
    with pytest.raises(InvalidJob, match="url"):
        add_webhook(store, Dialer(resolver=_nowhere), url, tenant="")

    assert store.webhooks() == []


def _nowhere(_host: str, _port: int) -> list[Address]:
    raise socket.gaierror(socket.EAI_AGAIN, "no DNS")


def test_a_name_that_nobody_knows_is_refused_and_one_that_dns_did_not_tell_just_now_is_not(
    store: MemoryJobStore,
) -> None:
    def unknown(_host: str, _port: int) -> list[Address]:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    with pytest.raises(InvalidJob, match="cannot be resolved"):
        add_webhook(store, Dialer(resolver=unknown), "https://exmaple.com/", tenant="")

    assert add_webhook(store, Dialer(resolver=_nowhere), "https://example.com/", tenant="").url


@pytest.mark.parametrize(("status", "wait"), [(204, 0), (500, 1)])
def test_what_a_receiver_answered_last_is_told_with_what_waits_for_it(
    receiver: Receiver, store: MemoryJobStore, couriers: Callable[..., Courier], status: int, wait: int
) -> None:
    webhook = add_webhook(store, _REACHABLE, receiver.url, tenant="")
    assert (facts_of(webhook)["waiting"], facts_of(webhook)["last_answer"]) == (0, None)
    receiver.answer = with_status(status)
    ended(store)

    turned_until(couriers(), lambda: store.webhooks()[0].heard_at and not store.due_messages(most=1))

    (told,) = map(facts_of, store.webhooks())
    assert str(status) in told["last_answer"]
    assert (told["waiting"], told["dead"]) == (wait, 0)


def test_a_tenants_webhook_is_nobody_elses(store: MemoryJobStore) -> None:
    webhook = add_webhook(store, Dialer(), "https://1.1.1.1/", tenant="acme")

    assert webhook_of(store, webhook.webhook_id, tenant="acme") == webhook
    assert webhook_of(store, webhook.webhook_id) == webhook
    for tenant in ("ape", ""):
        with pytest.raises(WebhookNotFound):
            webhook_of(store, webhook.webhook_id, tenant=tenant)


def test_the_steward_sends_for_the_farm(receiver: Receiver, store: MemoryJobStore) -> None:
    add_webhook(store, _REACHABLE, receiver.url, tenant="")
    steward = Steward(
        store, holder="s", grace_s=0.0, sweep_s=0.05, courier=Courier(store, _REACHABLE, time_s=30.0)
    )

    steward.start()
    job_id = ended(store)
    eventually(lambda: receiver.got)
    steward.stop()

    assert json.loads(receiver.got[0][1])["data"]["job_id"] == job_id


def test_a_receiver_has_days_to_come_back() -> None:
    assert sum(WAITS_S) > 2 * 86400
