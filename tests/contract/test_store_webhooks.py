"""Webhooks' messages are stored by whatever ends a job: both forms of the store."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from farm.job import JobState
from farm.store.base import StoreLimits
from farm.store.roles import JobStore
from farm.store.webhooks import JobEnd, Message, Webhook
from tests.contract.test_store_reuse import alike, made
from tests.support.jobs import a_job, a_result, an_error, claimed
from tests.support.shop import LONG, Open, Shop


def a_webhook(webhook_id: str = "wh_1", *, tenant: str = "") -> Webhook:
    return Webhook(
        webhook_id=webhook_id,
        url="https://example.com/ended",
        tenant=tenant,
        secret="whsec_c2VjcmV0",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


@pytest.fixture
def listened(shop: Shop) -> Shop:
    """A store to which one webhook listens."""
    shop.store.put_webhook(a_webhook())
    return shop


def due(store: JobStore, webhook_id: str = "wh_1") -> list[Message]:
    return store.due_messages(most=100).get(webhook_id, [])


def ends(store: JobStore) -> list[JobEnd]:
    return [message.end for message in due(store)]


def succeeds(shop: Shop) -> str:
    return made(shop)


def takes_a_result(shop: Shop) -> str:
    return shop.store.submit([alike(reuses=made(shop))])[0].job_id


def fails(shop: Shop) -> str:
    job_id = shop.running()
    shop.store.fail(job_id, 1, an_error(), retry_in_s=None)
    return job_id


def is_canceled_in_the_queue(shop: Shop) -> str:
    job_id = shop.submit()
    shop.store.cancel(job_id, reason="no more")
    return job_id


def is_canceled_while_it_runs(shop: Shop) -> str:
    job_id = shop.running()
    shop.store.cancel(job_id, reason="no more")
    shop.store.end_canceled(job_id, 1)
    return job_id


def is_canceled_before_its_commit(shop: Shop) -> str:
    job_id = shop.running()
    shop.store.cancel(job_id, reason="no more")
    shop.store.succeed(job_id, 1, a_result(job_id))
    return job_id


def expires_at_a_claim(shop: Shop) -> str:
    job_id = shop.submit(deadline=datetime.now(UTC) - timedelta(seconds=1))
    shop.store.claim(job_id, worker="w1")
    return job_id


def expires_at_a_sweep(shop: Shop) -> str:
    job_id = shop.submit(deadline=datetime.now(UTC) - timedelta(seconds=1))
    shop.store.sweep()
    return job_id


ENDS = (
    *(succeeds, takes_a_result, fails, is_canceled_in_the_queue, is_canceled_while_it_runs),
    *(is_canceled_before_its_commit, expires_at_a_claim, expires_at_a_sweep),
)


@pytest.mark.parametrize("how", ENDS, ids=lambda how: how.__name__)
def test_however_a_job_ends_its_end_is_told_as_the_record_has_it(how: object, listened: Shop) -> None:
    assert callable(how)
    job_id = how(listened)

    record = listened.store.get(job_id)
    (told,) = (end for end in ends(listened.store) if end.job_id == job_id)
    assert record.state.final
    assert (told.job_id, told.state, told.attempt) == (job_id, record.state, record.attempt)
    assert told.worker == (record.worker or "")
    assert record.finished_at is not None
    assert told.ended_ms == round(record.finished_at.timestamp() * 1000)
    assert told.submitted_ms == int(record.submitted_at.timestamp() * 1000)
    assert told.reason == (record.cancel_reason or ("its deadline passed" if "expires" in str(how) else ""))
    failed = record.error if record.state is JobState.FAILED else None
    assert (told.error or {}).get("message") == (failed and failed.message)


def test_a_job_that_lost_all_its_workers_is_told_of(open_shop: Open) -> None:
    shop = open_shop(StoreLimits(lease_s=0.05, max_lost_attempts=1))
    shop.store.put_webhook(a_webhook())
    job_id = shop.running()

    shop.sweep_until(lambda: shop.state(job_id).final)

    assert [(end.job_id, (end.error or {})["code"]) for end in ends(shop.store)] == [(job_id, "workers_lost")]


def test_an_attempt_that_is_tried_again_is_no_end(listened: Shop) -> None:
    listened.store.fail(listened.running(max_attempts=3), 1, an_error(), retry_in_s=60.0)
    listened.store.release(listened.running(), 1, reason="drained")

    assert ends(listened.store) == []


def test_each_end_of_a_job_that_is_queued_anew_is_told_once(listened: Shop) -> None:
    job_id = fails(listened)
    listened.store.retry(job_id)
    claim = claimed(listened.store, job_id)

    for _ in range(2):  # the answer to the first was lost on the way
        listened.store.succeed(job_id, claim.attempt, a_result(job_id), token=claim.token)

    assert {end.state for end in ends(listened.store)} == {JobState.FAILED, JobState.SUCCEEDED}
    assert len({message.message_id for message in due(listened.store)}) == 2


def test_a_message_outlives_the_job_that_it_tells_of(listened: Shop) -> None:
    job = a_job(title='A "red" fox – ✓', labels=["shot=12", "tenant=acme"])
    job_id = listened.store.submit([job])[0].job_id
    listened.store.cancel(job_id)

    listened.store.remove([job_id])

    (end,) = ends(listened.store)
    assert (end.title, end.labels) == ('A "red" fox – ✓', ("shot=12", "tenant=acme"))


def test_a_tenant_hears_of_its_own_jobs_alone_and_the_farm_of_all(shop: Shop) -> None:
    for webhook in (a_webhook("all"), a_webhook("acme", tenant="acme"), a_webhook("ape", tenant="ape")):
        shop.store.put_webhook(webhook)

    mine, nobodys = shop.submit(labels=["a", "tenant=acme"]), shop.submit(labels=["acme"])
    shop.store.cancel_many([mine, nobodys])

    heard = {name: {m.end.job_id for m in found} for name, found in shop.store.due_messages(most=9).items()}
    assert heard == {"all": {mine, nobodys}, "acme": {mine}}


def test_nothing_is_kept_where_nobody_listens(shop: Shop) -> None:
    fails(shop)

    shop.store.put_webhook(a_webhook())

    assert shop.store.due_messages(most=9) == {}


def test_what_was_delivered_is_gone_and_what_was_not_comes_again(listened: Shop) -> None:
    one, two = fails(listened), fails(listened)
    first, second = due(listened.store)  # in either order, for both may be of one ms

    listened.store.delivered("wh_1", first.message_id)
    listened.store.postpone("wh_1", second.message_id, in_s=60.0, reason="it answered 500")
    assert due(listened.store) == []
    listened.store.postpone("wh_1", second.message_id, in_s=0.0, reason="it answered 502")
    listened.store.postpone("wh_1", first.message_id, in_s=0.0, reason="delivered long ago")

    (again,) = due(listened.store)
    assert again == replace(second, tries=2, reason="it answered 502")
    assert {first.end.job_id, again.end.job_id} == {one, two}


def test_dead_letters_are_listed_and_sent_again(listened: Shop) -> None:
    for _ in range(3):
        fails(listened)
    ids = [message.message_id for message in due(listened.store)]

    listened.store.bury("wh_1", [*ids, "unknown"], reason="it answered 500")
    dead = listened.store.dead_letters("wh_1")
    one = listened.store.resend("wh_1", [ids[0], "unknown"])
    only = [message.message_id for message in due(listened.store)]
    rest = listened.store.resend("wh_1")

    assert {(each.message_id, each.reason) for each in dead} == {(each, "it answered 500") for each in ids}
    assert (one, only, rest) == (1, ids[:1], 2)
    assert sorted(message.message_id for message in due(listened.store)) == sorted(ids)
    assert listened.store.dead_letters("wh_1") == []


def test_a_disabled_webhook_hears_nothing_until_its_letters_are_sent_again(listened: Shop) -> None:
    before = fails(listened)

    listened.store.disable_webhook("wh_1", reason="it answered 410")
    fails(listened)

    assert due(listened.store) == []
    assert [each.disabled for each in listened.store.webhooks()] == ["it answered 410"]
    assert [each.end.job_id for each in listened.store.dead_letters("wh_1")] == [before]
    assert listened.store.resend("wh_1") == 1
    after = fails(listened)
    assert {end.job_id for end in ends(listened.store)} == {before, after}
    assert [each.disabled for each in listened.store.webhooks()] == [None]


def test_a_webhook_comes_back_as_it_was_kept_and_leaves_nothing_behind(shop: Shop) -> None:
    webhook = replace(
        a_webhook(tenant="acme"), old_secret="whsec_b2xk", old_until=datetime(2026, 1, 2, tzinfo=UTC)
    )
    shop.store.put_webhook(webhook)
    assert shop.store.webhooks() == [webhook]
    shop.store.cancel(shop.submit(labels=["tenant=acme"]))

    assert shop.store.drop_webhook("wh_1")

    assert not shop.store.drop_webhook("wh_1")
    assert (shop.store.webhooks(), shop.store.dead_letters("wh_1"), due(shop.store)) == ([], [], [])
    shop.store.disable_webhook("wh_1", reason="late")
    assert (shop.store.webhooks(), shop.store.resend("wh_1")) == ([], 0)


def test_of_too_many_messages_the_oldest_are_given_up(
    open_shop: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("farm.store.redis.lua", "farm.testing.memory.webhooks"):
        monkeypatch.setattr(f"{module}.MOST_KEPT", 2)
    _forget_scripts()
    shop = open_shop(LONG)
    shop.store.put_webhook(a_webhook())

    jobs = [fails(shop) for _ in range(5)]

    waiting = {end.job_id for end in ends(shop.store)}
    dead = {each.end.job_id: each.reason for each in shop.store.dead_letters("wh_1")}
    assert (len(waiting), len(dead)) == (2, 2)
    assert waiting.isdisjoint(dead)
    assert waiting | set(dead) <= set(jobs)
    assert set(dead.values()) == {"too many messages wait for this receiver"}
    _forget_scripts()


def test_what_waits_and_what_a_receiver_said_is_known_of_each(shop: Shop) -> None:
    for name in ("wh_1", "wh_2"):
        shop.store.put_webhook(a_webhook(name))
    for _ in range(3):
        fails(shop)

    shop.store.bury("wh_1", [due(shop.store)[0].message_id], reason="it answered 500")
    shop.store.heard("wh_1", "it answered 500")
    shop.store.heard("unknown", "late")

    one, two = shop.store.webhooks()
    assert (one.waiting, one.dead, one.heard) == (2, 1, "it answered 500")
    assert one.heard_at is not None
    assert (two.waiting, two.dead, two.heard, two.heard_at) == (3, 0, "", None)
    shop.store.put_webhook(replace(one, secret="whsec_b2xk"))
    assert shop.store.webhooks()[0].heard == "it answered 500"


def _forget_scripts() -> None:
    from farm.store.redis import lua

    lua._text.cache_clear()
    lua._digest.cache_clear()
