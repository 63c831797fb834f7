"""The users of `deploy/users.acl`: each role does its work with its own, and not that of others."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis

from farm.broker import CeleryNotifier, make_app
from farm.gateway.keys import Scope, caller_of, create_key, list_keys, revoke_key
from farm.job import JobState
from farm.outside.dial import Dialer
from farm.settings.redis import RedisSettings
from farm.status.worker import WorkerStatus
from farm.store.base import Claim, Drain, LeaseAnswer, Notification, StoreLimits
from farm.store.redis.assets import AssetBook, StoredBlob
from farm.store.redis.doors import DoorBook
from farm.store.redis.lua import Call
from farm.store.redis.store import RedisJobStore, connect
from farm.upkeep.steward import Steward
from farm.upkeep.webhooks import add_webhook, rotate_secret
from tests.security.test_orders_by_message import A_WORKER
from tests.support.jobs import QUEUE, a_job, a_result, an_error, claimed
from tests.support.valkey import ValkeyServer, eventually

ROOT = Path(__file__).parents[2]
ACL = ROOT / "deploy" / "users.acl"
ROLES = ("producer", "gateway", "worker", "steward", "flower")
# For nobody: they end the server, read or change how it runs, move data elsewhere, or spy on others.
DANGEROUS = (
    *("FLUSHALL", "FLUSHDB", "SHUTDOWN NOSAVE", "CONFIG SET dir /tmp", "CONFIG REWRITE"),
    *("KEYS *", "ACL LIST", "ACL SETUSER x on", "CLIENT LIST", "CLIENT KILL TYPE normal", "MONITOR", "SAVE"),
    *("REPLICAOF 127.0.0.1 1", "MIGRATE 127.0.0.1 1 k 0 1", "RESTORE {farm}:x 0 x", "FUNCTION FLUSH"),
    *("SCRIPT FLUSH", "SCRIPT KILL", "MODULE LIST", "CLUSTER NODES", "GET {other}:job:1", "SET x 1"),
)
# What a role has no business with.
FORBIDDEN = {
    "producer": ("SET {farm}:worker:w x", "DEL {farm}:lock:s", "DEL {farm}:paces", "PUBLISH {farm}:q:/0.x x"),
    "gateway": (
        *("SET {farm}:worker:w x", "DEL {farm}:lock:steward", "PUBLISH x y"),
        *("HSET {farm}:apikey:0 digest x", "SADD {farm}:apikeys 0"),
    ),
    "worker": ("PUBLISH other x", "SUBSCRIBE {other}:control"),
    "steward": ("PUBLISH {farm}:q:/0.celery.pidbox x", "PUBLISH {farm}:q:/0.celeryev/task.received x"),
    "flower": ("HGETALL {farm}:job:1", "GET {farm}:worker:w", "LPUSH {farm}:q:render.24 x", "DEL {farm}:q:x"),
}  # fmt: skip


# Who runs which script of `farm/store/scripts`; each role's test below has to run all of its own.
_OF_WHO_SUBMITS = frozenset(
    {
        *("submit", "cancel", "retry", "pause", "resume", "prioritize", "remove"),
        *("resend_messages", "drop_webhook"),
        *("find", "briefs", "counts", "parked", "queue_positions", "results", "workers", "epoch"),
    }
)
SCRIPTS_OF = {
    "producer": _OF_WHO_SUBMITS,
    "gateway": _OF_WHO_SUBMITS,
    "doors": frozenset({"admit", "enter"}),
    "worker": frozenset(
        {
            *("claim", "renew", "report", "succeed", "fail", "release", "end_canceled", "epoch"),
            *("put_on_hold", "keep_on_hold", "put_worker", "workers", "note_paces", "acquire", "unlock"),
            *("unpark", "notify"),
        }
    ),
    "steward": frozenset(
        {
            *(
                "sweep_leases",
                "sweep_due",
                "sweep_deadlines",
                "sweep_events",
                "sweep_order",
                "sweep_finished",
            ),
            *("sweep_priority_queue", "sweep_messages", "priority_queues"),
            *("due_messages", "hear_webhook", "postpone_message", "bury_messages"),
        }
    ),
}


@contextlib.contextmanager
def running_all_of(role: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within it every script of that role has to run."""
    ran: set[str] = set()
    by_digest = Call.by_digest

    def noted(call: Call) -> list[Any]:
        ran.add(call.script)
        return by_digest(call)

    monkeypatch.setattr(Call, "by_digest", noted)
    yield
    missing = sorted(SCRIPTS_OF[role] - ran)
    assert not missing, f"this test does not run {', '.join(missing)} as {role}: call what runs them"


def test_every_script_is_run_by_a_role() -> None:
    scripts = {path.stem for path in (ROOT / "farm" / "store" / "scripts").glob("[!_]*.lua")}
    new = sorted(scripts - set().union(*SCRIPTS_OF.values()))

    assert not new, (
        f"{', '.join(new)}: new. Name it in SCRIPTS_OF, run it in the test of each role that needs it, and "
        "give its keys to these roles in deploy/users.acl"
    )
    assert set().union(*SCRIPTS_OF.values()) <= scripts


@pytest.fixture
def server(start_valkey: Callable[..., ValkeyServer], tmp_path: Path) -> ValkeyServer:
    """A server with these users; the test itself comes as the default one."""
    file = tmp_path / "users.acl"
    text = re.sub(r">\w+", ">word", ACL.read_text())
    assert "user default off\n" in text
    file.write_text(text.replace("user default off", "user default on nopass ~* &* +@all"))
    return start_valkey("--appendonly", "yes", "--aclfile", str(file))


def settings_of(server: ValkeyServer, role: str) -> RedisSettings:
    return RedisSettings.read(url=f"redis://farm-{role}:word@127.0.0.1:{server.port}/0")


def opened(server: ValkeyServer, role: str) -> RedisJobStore:
    settings = settings_of(server, role)
    return connect(settings, StoreLimits(), CeleryNotifier(make_app(settings), settings.namespace))


@contextlib.contextmanager
def nothing_denied(server: ValkeyServer) -> Iterator[None]:
    """Whatever is refused within is in the server's own log."""
    with redis.Redis.from_url(server.url, protocol=2, decode_responses=True) as admin:
        admin.execute_command("ACL", "LOG", "RESET")
        yield
        denied = admin.execute_command("ACL", "LOG")
        assert denied == [], denied


def test_every_role_has_a_user() -> None:
    named = re.findall(r"^user farm-(\w+) on >[A-Z_]+ ", ACL.read_text(), re.MULTILINE)

    assert sorted(named) == sorted(ROLES)


@pytest.mark.parametrize("role", ["producer", "gateway"])
def test_who_submits_can_do_all_that_farm_offers(
    role: str, server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with nothing_denied(server), running_all_of(role, monkeypatch):
        store = opened(server, role)
        add_webhook(store, Dialer(), "https://1.1.1.1/", tenant="")
        assert store.ping()["append_fsync"] == "everysec"
        first, second, third = store.submit([a_job(labels=["a"]), a_job(idempotency_key="k"), a_job()])
        worker = opened(server, "worker")
        claimed(worker, third.job_id)

        assert store.cancel(first.job_id, reason="no more") is JobState.CANCELED
        store.cancel(third.job_id)
        assert store.retry(first.job_id) is JobState.QUEUED
        assert len(store.find(label="a").jobs) == 1
        assert store.events(first.job_id, after="0")
        assert store.news({second.job_id: "0"}, block_s=0.01) is not None
        assert store.counts().by_state
        assert store.ids_beginning(first.job_id[:8], limit=2) == [first.job_id]
        assert store.workers() == []
        assert store.paces() == {}
        assert store.get_blob("x") is None
        store.find_results(["x"])
        store.parked()
        store.recent_events(first.job_id)
        store.queue_positions([first.job_id])
        store.briefs([first.job_id])
        assert store.pause([second.job_id]) == {second.job_id: JobState.QUEUED}
        store.resume([second.job_id])
        store.prioritize([second.job_id], 2)
        store.cancel_many([first.job_id, second.job_id])
        store.epoch()
        store.remove([first.job_id])
        assert store.removed() == [first.job_id]
        store.files_are_gone(first.job_id)
        (webhook,) = store.webhooks()
        rotate_secret(store, webhook)
        assert store.dead_letters(webhook.webhook_id) == []
        assert store.resend(webhook.webhook_id) == 0
        assert store.drop_webhook(webhook.webhook_id)
        store.set_drain("w1", Drain.FINISH)
        store.set_drain("w1", None)
        store.close()
        worker.close()


def test_the_gateway_lets_in_whom_a_producer_gave_a_key(
    server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with nothing_denied(server), running_all_of("doors", monkeypatch):
        with closing(DoorBook(settings_of(server, "producer"))) as book:
            key, text = create_key(book, "acme", [Scope.SUBMIT])
            revoked, _ = create_key(book, "acme", [Scope.SUBMIT])
            revoke_key(book, revoked.key_id)
            assert len(list_keys(book)) == 2
        with closing(DoorBook(settings_of(server, "gateway"))) as book:
            assert caller_of(book, text) is not None
            assert book.has_keys()
            assert book.admit([key.key_id], per_s=50.0) == [0.0]
            places = [book.enter("acme", most_open=3, most_waiting=9, once=word) for word in ("a", "b")]
            book.settle(places[0], "0123456789abcdef")
            book.leave(places[1])
            book.ping()
        with closing(AssetBook(settings_of(server, "gateway"))) as assets:
            blob = StoredBlob(blake3="ab" * 32, key="inputs/a.png", size_bytes=1, media_type="image/png")
            asset = assets.keep("acme", blob, "a.png", ttl_s=60, blob_ttl_s=60)
            assert assets.named("acme", ["a.png"]) == [assets.get(asset.asset_id)]
            assert assets.blob("acme", blob.blake3) == blob
            assets.use([asset], "0" * 32)
            assert assets.jobs_of(asset) == ["0" * 32]
            assert assets.drop(asset)


def test_a_worker_can_do_its_work_with_its_steward(
    server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = opened(server, "producer")
    done, failed, given_back, held, stopped, parked = (
        each.job_id for each in producer.submit([*(a_job() for _ in range(5)), a_job(parked="no card")])
    )
    with nothing_denied(server), running_all_of("worker", monkeypatch):
        store = opened(server, "worker")
        store.put_worker(WorkerStatus(name="w1", vram_gib=24), ttl_s=60)
        store.put_blob("x", b"x", ttl_s=60)
        feed = store.listen_control()
        claim, other = (store.claim(job_id, worker="w1") for job_id in (done, failed))
        assert isinstance(claim, Claim)
        assert isinstance(other, Claim)
        assert store.renew(done, 1, token=claim.token) is LeaseAnswer.OK
        assert store.succeed(done, 1, a_result(), token=claim.token) is LeaseAnswer.OK
        store.fail(failed, 1, an_error(), retry_in_s=0.0, token=other.token)
        tokens = {}
        for job_id in (given_back, held, stopped):
            tokens[job_id] = claimed(store, job_id).token
        store.report(given_back, 1, [], token=tokens[given_back])
        store.release(given_back, 1, reason="drained", token=tokens[given_back])
        store.put_on_hold(held, 1, an_error(), hold_s=60.0, token=tokens[held])
        assert store.keep_on_hold(held, "w1", hold_s=60.0)
        producer.cancel(stopped)
        store.end_canceled(stopped, 1, token=tokens[stopped])
        store.unpark([parked], reason="a card has come")
        store.notify([Notification(job_id=parked, queue=QUEUE, priority=5, title="", front=False)])
        store.workers()
        store.epoch()
        store.note_paces({"x": 1.0})
        assert store.acquire("janitor", "w1", ttl_s=5)
        store.unlock("janitor", "w1")
        store.sweep()
        store.drop_worker("w1")
        feed.close()
        store.close()
    producer.close()


def test_a_steward_alone_repairs(server: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    producer = opened(server, "producer")
    webhook = add_webhook(producer, Dialer(), "https://1.1.1.1/", tenant="").webhook_id
    producer.cancel_many([each.job_id for each in producer.submit([a_job(), a_job(), a_job()])])
    with (
        nothing_denied(server),
        running_all_of("steward", monkeypatch),
        redis.Redis.from_url(server.url) as admin,
    ):
        store = opened(server, "steward")
        steward = Steward(store, holder="s", grace_s=0.0, sweep_s=0.05)
        steward.start()
        eventually(lambda: admin.get("{farm}:lock:steward") == b"s")
        store.sweep()
        one, two, _ = (each.message_id for each in store.due_messages(most=3)[webhook])
        store.heard(webhook, "it was taken (200)")
        store.delivered(webhook, one)
        store.postpone(webhook, two, in_s=60.0, reason="it answered 500")
        store.disable_webhook(webhook, reason="it answered 410")
        assert len(store.webhooks()) == 1
        steward.stop()
        store.close()
    producer.close()


def test_celery_and_flower_get_on_with_theirs(server: ValkeyServer, tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    url = settings_of(server, "worker").url.get_secret_value()
    with nothing_denied(server):
        with log.open("w") as output:
            worker = subprocess.Popen(
                [sys.executable, "-c", A_WORKER, QUEUE],
                env={**os.environ, "FARM_REDIS_URL": url, "PYTHONPATH": str(ROOT)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            flower = make_app(settings_of(server, "flower"))
            eventually(lambda: flower.control.ping(timeout=1.0, limit=1) or worker.poll() is not None)
            assert flower.control.inspect(timeout=60.0, limit=1).active_queues()
            seen: list[str] = []
            with flower.connection_for_read() as connection:
                receiver = flower.events.Receiver(connection)

                def hear(event: dict[str, Any]) -> None:
                    seen.append(event["type"])
                    receiver.should_stop = True

                receiver.handlers["*"] = hear
                receiver.capture(timeout=60.0, wakeup=False)
            assert seen
            producer = opened(server, "producer")
            producer.submit([a_job()])
            eventually(lambda: "RAN" in log.read_text())
            producer.close()
        finally:
            worker.kill()
            worker.wait()


@pytest.mark.parametrize("role", ROLES)
def test_a_role_can_do_no_more(role: str, server: ValkeyServer) -> None:
    allowed = []
    with redis.Redis.from_url(settings_of(server, role).url.get_secret_value(), protocol=2) as client:
        for command in (*DANGEROUS, *FORBIDDEN[role]):
            try:
                client.execute_command(*command.split())
            except redis.exceptions.NoPermissionError:
                continue
            allowed.append(command)

    assert allowed == []


def test_nobody_comes_in_without_a_name(
    start_valkey: Callable[..., ValkeyServer], server: ValkeyServer
) -> None:
    with redis.Redis.from_url(server.url, protocol=2) as admin:
        admin.execute_command("ACL", "SETUSER", "default", "off", "resetpass")

    with redis.Redis.from_url(server.url, protocol=2) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
