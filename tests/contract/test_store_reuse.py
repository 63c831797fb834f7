"""A job that takes the stored result of another one: both forms of the store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from farm.job import EventKind, JobState, new_job_id
from farm.store.base import NewJob, StoreLimits
from tests.support.jobs import a_job, a_result, claimed
from tests.support.shop import LONG, Open, Shop


def alike(content: str = "c", *, reuses: str | None = None, **fields: object) -> NewJob:
    return replace(a_job(**fields), content=content, reuses=reuses)  # type: ignore[arg-type]


def made(shop: Shop, content: str = "c") -> str:
    """A job of that content that has succeeded; its id."""
    job_id = shop.store.submit([alike(content)])[0].job_id
    claim = claimed(shop.store, job_id)
    shop.store.succeed(job_id, 1, a_result(job_id), token=claim.token)
    shop.pop_all()
    return job_id


def test_a_job_of_a_content_that_was_made_succeeds_at_once_with_its_result(open_shop: Open) -> None:
    shop = open_shop(LONG)
    maker = made(shop)
    assert shop.store.find_results(["c", "other"])["c"].job_id == maker

    done = shop.store.submit([alike(reuses=maker, labels=["a"])])[0]

    record = shop.store.get(done.job_id)
    assert (done.created, done.reused) == (True, True)
    assert (record.state, record.reused_from, record.attempt) == (JobState.SUCCEEDED, maker, 0)
    assert record.result == shop.store.get(maker).result
    assert shop.pop_all() == []
    told = [event.data for event in shop.store.events(done.job_id) if event.kind is EventKind.STATE]
    assert [(data["state"], data.get("reused_from")) for data in told] == [
        ("queued", None),
        ("succeeded", maker),
    ]
    assert shop.store.counts().by_state[JobState.SUCCEEDED] == 2
    assert shop.store.counts().waiting == ()
    assert [job.job_id for job in shop.store.find(label="a").jobs] == [done.job_id]


def test_a_job_is_rendered_when_what_it_would_reuse_is_not_the_one_any_more(open_shop: Open) -> None:
    shop = open_shop(LONG)
    older, newer = made(shop), made(shop)

    jobs = [alike(reuses=older), alike("other", reuses=newer), alike(reuses=new_job_id()), alike()]

    assert [done.reused for done in shop.store.submit(jobs)] == [False] * 4
    assert shop.pop_all() == [job.job_id for job in jobs]
    assert shop.store.submit([alike(reuses=newer)])[0].reused


def test_a_result_is_reused_only_while_its_job_is_kept(open_shop: Open) -> None:
    shop = open_shop(StoreLimits(lease_s=60, retention_s=0.05))
    maker = made(shop)

    shop.sweep_until(lambda: shop.store.find_results(["c"]) == {})

    assert not shop.store.submit([alike(reuses=maker)])[0].reused


def test_a_key_that_is_known_gives_its_job_and_not_another_result(open_shop: Open) -> None:
    shop = open_shop(LONG)
    maker = made(shop)
    first = shop.store.submit([alike(idempotency_key="k")])[0]

    again = shop.store.submit([alike(idempotency_key="k", reuses=maker)])[0]

    assert (again.job_id, again.created, again.reused) == (first.job_id, False, False)


def test_twenty_threads_that_reuse_one_result_all_have_it(open_shop: Open) -> None:
    shop = open_shop(LONG)
    maker = made(shop)

    with ThreadPoolExecutor(20) as pool:
        done = list(pool.map(lambda _: shop.store.submit([alike(reuses=maker)])[0], range(20)))

    assert all(each.reused for each in done)
    assert {shop.store.get(each.job_id).reused_from for each in done} == {maker}
