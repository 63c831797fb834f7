"""The Redis form of the job store: what it costs, what it survives, and what it says of one in trouble."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from pydantic import SecretStr

from farm.asking.prepare import prepare
from farm.asking.request import JobRequest
from farm.broker import CeleryNotifier, make_app
from farm.check.services import judge_memory
from farm.client import Farm
from farm.errors import FarmError, JobForgotten, SettingsError, StoreMisconfigured, StoreUnavailable
from farm.job import ErrorKind, EventKind, JobState, new_job_id
from farm.process.child import free_port
from farm.settings.redis import RedisSettings
from farm.status.worker import WorkerStatus
from farm.store.base import Claim, LeaseAnswer, NewEvent, NewJob, Refused, StoreLimits
from farm.store.redis.server import check_server
from farm.store.redis.store import RedisJobStore, connect
from farm.testing import PlainNotifier
from farm.testing.storage import FolderStorage
from tests.support.fault_proxy import FaultProxy, Mode
from tests.support.fleet import PICTURE
from tests.support.jobs import QUEUE, a_job, a_result, an_error, claimed
from tests.support.valkey import ValkeyServer, eventually

StartValkey = Callable[..., ValkeyServer]
BUDGET_BYTES = 2.5 * 1024  # of a queued job with its message
ENDED_BUDGET_BYTES = 3.5 * 1024


@pytest.fixture
def store(valkey_url: str, namespace: str) -> RedisJobStore:
    """A store on the shared server."""
    return open_store(valkey_url, namespace)


@pytest.fixture
def client(valkey_url: str) -> Iterator[redis.Redis]:
    """To look into the shared server."""
    with redis.Redis.from_url(valkey_url) as opened:
        yield opened


def open_store(
    url: str, namespace: str = "farm", *, limits: StoreLimits | None = None, timeout_s: float = 5.0
) -> RedisJobStore:
    settings = RedisSettings.read(url=SecretStr(url), namespace=namespace, timeout_s=timeout_s)
    return connect(settings, limits or StoreLimits(), PlainNotifier(f"{{{namespace}}}:q:"))


def keys_of(client: redis.Redis, namespace: str) -> set[str]:
    """What is left of a farm, without its queue and the root of the name."""
    root = f"{{{namespace}}}:"
    return {key.decode().removeprefix(root) for key in client.scan_iter(match=f"{root}*", count=1000)}


def submit(store: RedisJobStore, **fields: Any) -> str:
    return store.submit([a_job(**fields)])[0].job_id


# -- what it costs ---------------------------------------------------------------------------------


def test_a_waiting_wan_job_keeps_within_its_memory(start_valkey: StartValkey) -> None:
    url = start_valkey().url
    settings = RedisSettings.read(url=SecretStr(url))
    store = connect(settings, StoreLimits(), CeleryNotifier(make_app(settings), "farm"))
    store.submit([_wan_job(0)])  # scripts and first keys are not counted
    with redis.Redis.from_url(url) as client:
        before = _used_bytes(client)

        store.submit([_wan_job(number) for number in range(1, 2001)])

        assert (_used_bytes(client) - before) / 2000 < BUDGET_BYTES


def test_an_ended_job_keeps_within_its_memory_with_key_events_and_result(
    start_valkey: StartValkey,
) -> None:
    url = start_valkey().url
    store = open_store(url, limits=StoreLimits(fold_after_s=0.0, sweep_batch=1000))
    jobs = [_wan_job(number) for number in range(1000)]
    progress = [NewEvent(kind=EventKind.PROGRESS, data={"fraction": step / 10}) for step in range(10)]
    with redis.Redis.from_url(url) as client:
        store.sweep()  # scripts are not counted
        before = _used_bytes(client)
        store.submit([replace(job, spec=replace(job.spec, idempotency_key=job.job_id)) for job in jobs])
        client.delete(PlainNotifier("{farm}:q:").list_key(QUEUE, jobs[0].spec.priority))
        for job in jobs:
            claimed(store, job.job_id, "gpu-0")
            store.report(job.job_id, 1, progress)
            store.succeed(job.job_id, 1, a_result())

        store.sweep()

        assert (_used_bytes(client) - before) / 1000 < ENDED_BUDGET_BYTES
        assert client.keys("{farm}:events:*") == []


def _wan_job(number: int) -> NewJob:
    prompt = f"A red fox trots through fresh snow at dawn, low sun through birch trunks, take {number}"
    request = JobRequest(
        template="wan22-t2v-a14b", parameters={"prompt": prompt}, options={"labels": ["batch=7"]}
    )
    return NewJob(job_id=new_job_id(), spec=prepare(request), queue=QUEUE)


def _used_bytes(client: redis.Redis) -> int:
    info: Callable[..., dict[str, int]] = client.info
    return info("memory")["used_memory"]


class CountingConnection(redis.Connection):
    """Counts what is sent: a pipeline is one."""

    sent = 0

    def send_packed_command(self, *args: Any, **options: Any) -> None:
        CountingConnection.sent += 1
        send: Callable[..., None] = super().send_packed_command
        send(*args, **options)


def test_every_move_on_the_hot_path_is_one_round_trip(start_valkey: StartValkey) -> None:
    pool = redis.ConnectionPool(connection_class=CountingConnection, port=start_valkey().port)
    store = RedisJobStore(
        redis.Redis(connection_pool=pool), namespace="farm", limits=StoreLimits(), notifier=PlainNotifier()
    )

    def whole_life() -> list[int]:
        """Round trips of each move; a batch of fifty first."""
        jobs = [a_job() for _ in range(50)]
        moves: list[Callable[[], object]] = [
            lambda: store.submit(jobs),
            lambda: store.claim(jobs[0].job_id, worker="w1"),
            lambda: store.renew(jobs[0].job_id, 1),
            lambda: store.report(jobs[0].job_id, 1, [NewEvent(kind=EventKind.LOG, data={})] * 5),
            lambda: store.succeed(jobs[0].job_id, 1, a_result()),
            lambda: store.get(jobs[0].job_id),
            lambda: store.find(limit=20),
            store.counts,
        ]
        return [_sent_by(move) for move in moves]

    whole_life()  # the server learns the scripts

    assert whole_life() == [1] * 8


def _sent_by(move: Callable[[], object]) -> int:
    before = CountingConnection.sent
    move()
    return CountingConnection.sent - before


def test_a_sweep_looks_at_no_waiting_job_when_nothing_is_wrong(store: RedisJobStore) -> None:
    store.submit([a_job(priority=number % 10) for number in range(200)])
    store.sweep()
    info: Callable[..., dict[str, dict[str, int]]] = store._client.info
    before = info("commandstats")

    store.sweep()

    after = info("commandstats")
    looked_at = {
        name: after[name]["calls"] - before.get(name, {"calls": 0})["calls"]
        for name in ("cmdstat_hmget", "cmdstat_hgetall")
        if name in after
    }
    assert all(calls == 0 for calls in looked_at.values())


def test_nothing_of_a_job_is_left_after_its_retention(
    valkey_url: str, namespace: str, client: redis.Redis
) -> None:
    store = open_store(valkey_url, namespace, limits=StoreLimits(retention_s=0.0, avoid_s=0.0))
    done, failed, canceled, expired = (
        submit(store, labels=["a", "b"], idempotency_key=key) for key in ("k1", "k2", "k3", "k4")
    )
    late = submit(store, deadline=datetime.now(UTC) - timedelta(seconds=1))
    for job_id in (done, failed):
        store.claim(job_id, worker="w1")
    store.succeed(done, 1, a_result())
    store.fail(failed, 1, an_error(), retry_in_s=60)
    for job_id in (failed, canceled, expired):
        store.cancel(job_id)
    store.sweep()
    store.sweep()

    assert store.counts().by_state[JobState.QUEUED] == 0
    with pytest.raises(FarmError):
        store.get(late)
    assert keys_of(client, namespace) <= {"epoch", "last", "tally", "q:render.24:5"}


def test_nothing_is_left_of_a_job_that_its_holder_took_up_after_its_queue_was_empty(
    valkey_url: str, namespace: str, client: redis.Redis
) -> None:
    store = open_store(valkey_url, namespace, limits=StoreLimits(retention_s=0.0))
    job_id = submit(store)
    store.claim(job_id, worker="w1")
    store.put_on_hold(job_id, 1, an_error(), hold_s=60.0)
    store.sweep()

    assert isinstance(store.claim(job_id, worker="w1"), Claim)
    store.succeed(job_id, 2, a_result())
    store.sweep()

    assert keys_of(client, namespace) <= {"epoch", "last", "tally", "q:render.24:5"}


# -- what it survives ------------------------------------------------------------------------------


def test_a_killed_redis_comes_back_with_every_job_and_message(start_valkey: StartValkey) -> None:
    # Under "everysec" a slow disk keeps what came last in the server's memory for up to two seconds.
    server = start_valkey("--appendonly", "yes", "--appendfsync", "always")
    store = open_store(server.url, limits=StoreLimits(lease_s=600.0))
    waiting = [done.job_id for done in store.submit([a_job() for _ in range(200)])]
    running = submit(store)
    store.claim(running, worker="w1")
    epoch = store.ping()["epoch"]

    server.kill()
    server.start()

    # The same store object: its dead connections are replaced, and the scripts are sent anew.
    assert store.renew(running, 1) is LeaseAnswer.OK
    assert store.counts().by_state[JobState.QUEUED] == 200
    assert isinstance(store.claim(waiting[0], worker="w2"), Claim)
    assert store.succeed(running, 1, a_result()) is LeaseAnswer.OK
    assert store.ping()["epoch"] == epoch
    with redis.Redis.from_url(server.url) as client:
        length: Callable[..., int] = client.llen
        assert length("{farm}:q:render.24:5") == 201


def test_a_redis_that_forgot_everything_has_another_epoch(start_valkey: StartValkey) -> None:
    server = start_valkey("--appendonly", "no")
    store = open_store(server.url)
    job_id = submit(store)
    store.claim(job_id, worker="w1")
    epoch = store.ping()["epoch"]

    server.kill()
    server.start()

    assert store.ping()["epoch"] != epoch
    assert store.renew(job_id, 1) is LeaseAnswer.LOST
    assert store.claim(job_id, worker="w1") is Refused.UNKNOWN


@pytest.mark.parametrize("how", ["restarted empty", "flushed"])
def test_who_asks_for_a_job_that_redis_forgot_is_told_so(start_valkey: StartValkey, how: str) -> None:
    server = start_valkey("--appendonly", "no")
    producer, bystander = open_store(server.url), open_store(server.url)
    job_id = submit(producer)
    assert bystander.ping()["forgot_at"] is None

    if how == "flushed":
        producer._client.flushdb()
    else:
        server.kill()
        server.start()

    asked: list[Callable[[str], object]] = [producer.get, producer.events, producer.cancel, producer.retry]
    # One that knew the old memory notices; then all are told, those who came later among them.
    for ask in (*asked, bystander.get, open_store(server.url).get):
        with pytest.raises(JobForgotten, match="this Redis forgot everything"):
            ask(job_id)
    assert bystander.ping()["forgot_at"] is not None
    assert judge_memory(bystander.ping())[0].what.startswith("it forgot everything")
    assert producer.get(submit(producer)).state is JobState.QUEUED


def test_a_producer_that_goes_on_submitting_warns_that_redis_forgot(
    start_valkey: StartValkey, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_valkey("--appendonly", "no")
    store = open_store(server.url)
    submit(store)
    submit(store)
    assert "forgot" not in caplog.text

    store._client.flushdb()
    submit(store)
    submit(store)

    assert [record.message for record in caplog.records if "forgot everything" in record.message] == [
        "This Redis forgot everything: earlier jobs are lost, submit them again"
    ]


def test_scripts_that_the_server_forgot_are_sent_again_in_the_midst_of_a_batch(
    store: RedisJobStore, client: redis.Redis
) -> None:
    submit(store)
    client.script_flush()

    done = store.submit([a_job() for _ in range(20)])

    assert [each.created for each in done] == [True] * 20
    newest_first = [job.job_id for job in store.find(limit=20).jobs]
    assert newest_first == [each.job_id for each in reversed(done)]


def test_a_claim_whose_answer_was_lost_can_be_repeated(store: RedisJobStore) -> None:
    job_id = submit(store)
    first, repeated, other = (
        store._run("claim", job_id, "w1", nonce, 60_000, 1, 1000, 0)
        for nonce in ("one call", "one call", "other")
    )

    assert first == repeated
    assert first[:2] == [b"granted", 1]
    assert other == [b"not_queued"]


@contextmanager
def given_unheard(
    store: RedisJobStore, valkey_url: str, namespace: str, job_id: str
) -> Iterator[RedisJobStore]:
    """A worker's store that was given the job and did not hear of it; its line is whole again."""
    address = urlsplit(valkey_url)
    assert address.port is not None
    with FaultProxy("127.0.0.1", address.port) as line:
        through = address._replace(netloc=f"127.0.0.1:{line.port}").geturl()
        with closing(open_store(through, namespace, limits=store.limits, timeout_s=0.5)) as deaf:
            assert deaf.claim(new_job_id(), worker="deaf") is Refused.UNKNOWN  # the script is there
            line.mode = Mode.MUTE
            with pytest.raises(StoreUnavailable):
                deaf.claim(job_id, worker="deaf")
            line.mode = Mode.PASS
            assert store.get(job_id).worker == "deaf"
            yield deaf


def test_a_job_whose_worker_did_not_hear_that_it_had_it_is_given_back_with_its_next_claim(
    store: RedisJobStore, valkey_url: str, namespace: str
) -> None:
    job_id = submit(store)
    with given_unheard(store, valkey_url, namespace, job_id) as deaf:
        second = claimed(deaf, job_id)

        assert second.attempt == 2
        assert [each.outcome for each in store.get(job_id).attempts] == ["released"]
        assert deaf.claim(new_job_id(), worker="deaf") is Refused.UNKNOWN  # and it is not given back again
        assert deaf.renew(job_id, 2, token=second.token) is LeaseAnswer.OK


def test_a_worker_that_did_not_hear_that_it_had_a_job_is_not_lost_by_it(
    valkey_url: str, namespace: str
) -> None:
    limits = StoreLimits(lease_s=0.1, max_lost_attempts=2, max_lost_publishing=2)
    store = open_store(valkey_url, namespace, limits=limits)
    job_id = submit(store)
    with given_unheard(store, valkey_url, namespace, job_id) as deaf:
        eventually(lambda: store.sweep().lost)
        assert deaf.claim(new_job_id(), worker="deaf") is Refused.UNKNOWN

    claimed(store, job_id)
    eventually(lambda: store.sweep().lost)

    assert store.get(job_id).state is JobState.QUEUED


def test_who_listens_for_cancels_hears_again_after_a_restart(start_valkey: StartValkey) -> None:
    server = start_valkey("--appendonly", "yes")
    store = open_store(server.url)
    job_id = submit(store)
    store.claim(job_id, worker="w1")
    feed = store.listen_control()

    server.kill()
    with pytest.raises(StoreUnavailable):
        feed.next(1.0)
    server.start()

    def heard() -> bool:
        store.cancel(job_id)
        return feed.next(0.1) == job_id

    eventually(heard)
    feed.close()


def test_a_cancel_is_heard_within_milliseconds(store: RedisJobStore) -> None:
    job_id = submit(store)
    store.claim(job_id, worker="w1")
    feed = store.listen_control()

    with closing(feed):
        store.cancel(job_id)
        heard = feed.next(10.0)

    assert heard == job_id


# -- a mixed fleet ---------------------------------------------------------------------------------


def test_a_job_of_a_newer_farm_is_left_to_newer_workers(
    store: RedisJobStore, client: redis.Redis, namespace: str
) -> None:
    old, new = submit(store), submit(store)
    key = f"{{{namespace}}}:job:{new}"
    head = client.hget(key, "head")
    assert isinstance(head, bytes)
    client.hset(key, "head", head.replace(b'"v":1', b'"v":99').decode())

    assert store.claim(new, worker="w1") is Refused.NEWER
    assert isinstance(store.claim(old, worker="w1"), Claim)
    with pytest.raises(FarmError, match="newer farm"):
        store.get(new)
    assert [job.job_id for job in store.find().jobs] == [old]
    assert store.counts().by_state[JobState.QUEUED] == 1


# -- what it says when Redis is in trouble --------------------------------------------------------------


def test_nothing_listens() -> None:
    port = free_port()
    store = open_store(f"redis://:secret@127.0.0.1:{port}/0")

    with pytest.raises(StoreUnavailable, match="connection refused") as failed:
        store.counts()

    assert failed.value.where == f"127.0.0.1:{port}"
    assert "FARM_REDIS_URL" in str(failed.value)
    assert "secret" not in str(failed.value)


def test_a_server_that_does_not_answer_is_given_up_in_time() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as mute:
        store = open_store(f"redis://127.0.0.1:{mute.getsockname()[1]}/0", timeout_s=0.3)
        began = time.monotonic()

        with pytest.raises(StoreUnavailable, match="timed out"):
            store.submit([a_job()])

        assert time.monotonic() - began < 20.0  # many times its limit; one without a limit waits for ever


def test_an_unknown_host() -> None:
    with pytest.raises(StoreUnavailable, match="host name is not known"):
        open_store("redis://no-such-host.invalid:6379/0").counts()


def test_a_wrong_password_and_none(start_valkey: StartValkey) -> None:
    server = start_valkey(password="right")

    with pytest.raises(StoreUnavailable, match="wrong user name or password") as failed:
        open_store(f"redis://:wrong@127.0.0.1:{server.port}/0").counts()
    assert "wrong@" not in str(failed.value)
    with pytest.raises(StoreUnavailable, match="asks for a password"):
        open_store(f"redis://127.0.0.1:{server.port}/0").counts()
    assert open_store(server.url).counts().waiting == ()


def test_a_user_without_the_right(start_valkey: StartValkey) -> None:
    server = start_valkey("--user", "reader", "on", ">pw", "~*", "+@read")

    with pytest.raises(StoreUnavailable, match="ACL does not allow"):
        open_store(f"redis://reader:pw@127.0.0.1:{server.port}/0").submit([a_job()])


def test_tls_to_a_server_without_it(valkey_url: str) -> None:
    with pytest.raises(StoreUnavailable, match="TLS"):
        open_store(valkey_url.replace("redis://", "rediss://"), timeout_s=0.3).counts()


def test_a_full_server_takes_no_job_and_says_so(start_valkey: StartValkey) -> None:
    server = start_valkey("--maxmemory-policy", "noeviction")
    store = open_store(server.url)
    stored = [submit(store)]
    with redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory", _used_bytes(client) + 200_000)

    def fill() -> None:
        stored.extend(submit(store) for _ in range(1000))

    with pytest.raises(StoreUnavailable, match="memory is full"):
        fill()

    # What is there can still be read, and what was accepted is there.
    assert store.get(stored[0]).state is JobState.QUEUED
    assert store.counts().by_state[JobState.QUEUED] == len(stored)


def test_a_replica_is_refused(start_valkey: StartValkey) -> None:
    primary = start_valkey()
    replica = start_valkey("--replicaof", "127.0.0.1", str(primary.port))
    store = open_store(replica.url)

    def says_read_only() -> bool:
        try:
            store.submit([a_job()])
        except StoreUnavailable as exc:
            return "read-only replica" in str(exc)
        return False

    eventually(says_read_only)


def test_a_url_that_is_none_names_its_setting() -> None:
    with pytest.raises(SettingsError, match="FARM_REDIS_URL"):
        open_store("http://127.0.0.1:6379")


# -- is this server fit ----------------------------------------------------------------------------


def test_a_server_that_would_evict_jobs_is_refused_with_the_remedy(start_valkey: StartValkey) -> None:
    server = start_valkey("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")

    with pytest.raises(StoreMisconfigured, match=r"allkeys-lru.*noeviction") as refused:
        check_server(open_store(server.url).ping())

    assert str(server.port) in refused.value.where


def test_a_safe_server_has_no_warnings_and_one_without_a_file_has(start_valkey: StartValkey) -> None:
    safe = start_valkey("--appendonly", "yes")
    unsafe = start_valkey("--appendonly", "no")

    assert check_server(open_store(safe.url).ping()) == []
    assert "append-only file is off" in check_server(open_store(unsafe.url).ping())[0]


@pytest.mark.parametrize("fsync", ["no", "everysec", "always"])
def test_how_a_server_writes_its_file_is_read_from_it(start_valkey: StartValkey, fsync: str) -> None:
    server = start_valkey("--appendonly", "yes", "--appendfsync", fsync)

    facts = open_store(server.url).ping()

    assert facts["append_fsync"] == fsync
    assert any("its appendfsync is no" in warning for warning in check_server(facts)) == (fsync == "no")


def test_a_server_without_the_command_to_ask_how_it_writes_is_used_all_the_same(
    start_valkey: StartValkey,
) -> None:
    server = start_valkey("--appendonly", "yes", "--rename-command", "CONFIG", "")

    facts = open_store(server.url).ping()

    assert (facts["append_only"], facts["append_fsync"]) == (True, None)
    assert check_server(facts) == []


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"speaks": "6.0.16"}, "oldest"),
        ({"speaks": "5.0.7"}, "oldest"),
        ({"cluster": True}, "cluster"),
        ({"role": "slave"}, "replica"),
        ({"max_memory_policy": "volatile-ttl"}, "volatile-ttl"),
    ],
)
def test_servers_that_cannot_work_are_refused(facts: dict[str, Any], said: str) -> None:
    good = {"where": "host:1", "speaks": "7.2.4", "max_memory_policy": "noeviction", "append_only": True}
    assert check_server(good) == []

    with pytest.raises(StoreMisconfigured, match=said):
        check_server(good | facts)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"append_fsync": "no"}, "appendfsync"),
        ({"append_ok": False}, "disk"),
        ({"max_memory_bytes": 100, "used_memory_bytes": 61}, "61%"),
    ],
)
def test_what_is_risky_is_warned_of(facts: dict[str, Any], said: str) -> None:
    good = {"where": "host:1", "speaks": "7.2.4", "max_memory_policy": "noeviction", "append_only": True}

    assert said in check_server(good | facts)[0]


@pytest.mark.parametrize("text", [b"no JSON", b"[1]", b"7", b"null", b"\xff", b'{"vram_gib": "much"}'])
def test_one_worker_whose_status_is_damaged_stops_nobody_and_is_told(
    store: RedisJobStore, client: redis.Redis, namespace: str, text: bytes
) -> None:
    store.put_worker(WorkerStatus(name="well", vram_gib=24), ttl_s=60)
    store.put_worker(WorkerStatus(name="damaged"), ttl_s=60)
    client.set(f"{{{namespace}}}:worker:damaged", text, ex=60)
    farm = Farm(store=store, storage=FolderStorage(Path("unused")))

    job = farm.submit(PICTURE)
    claim = claimed(store, job.job_id, "well")
    store.fail(job.job_id, claim.attempt, an_error(ErrorKind.UNSUITABLE), retry_in_s=0)
    store.sweep()

    damaged, well = store.workers()
    assert (well.name, well.vram_gib, well.trouble) == ("well", 24, None)
    assert damaged.name == "damaged"
    assert str(damaged.trouble).startswith("its status cannot be read: ")


def test_thousands_of_jobs_past_their_retention_go_with_one_sweep(start_valkey: StartValkey) -> None:
    server = start_valkey("--appendonly", "no")
    limits = StoreLimits(retention_s=0.0)
    store = connect(RedisSettings.read(url=server.url), limits, PlainNotifier("{farm}:q:"))
    jobs = store.submit([a_job(deadline=datetime(2001, 1, 1, tzinfo=UTC)) for _ in range(2500)])
    while store.counts().by_state.get(JobState.QUEUED):
        store._run("sweep_deadlines", 1000)

    began = time.monotonic()
    purged = store.sweep().purged
    spent_s = time.monotonic() - began

    assert purged == len(jobs) == 2500
    assert spent_s < 20.0  # a fraction of a second on a quiet machine
    assert store.counts().by_state.get(JobState.EXPIRED, 0) == 0


@pytest.mark.long
@pytest.mark.timeout(600)
def test_ten_thousand_messages_of_canceled_jobs_are_gone_after_three_sweeps(
    start_valkey: StartValkey,
) -> None:
    server = start_valkey("--appendonly", "no")
    notifier = PlainNotifier("{farm}:q:")
    store = connect(RedisSettings.read(url=server.url), StoreLimits(), notifier)
    jobs = [stored.job_id for stored in store.submit([a_job() for _ in range(10_000)])]
    live = store.submit([a_job()])[0].job_id
    store.cancel_many(jobs)

    for _ in range(3):
        store.sweep()

    with redis.Redis.from_url(server.url) as client:
        waiting = client.lrange(notifier.list_key(QUEUE, 5), 0, -1)
    assert [notifier.job_id_of(message) for message in waiting] == [live]
