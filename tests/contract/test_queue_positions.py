"""What every `JobStore` says of many jobs at once: their records, and their places in their queues."""

from __future__ import annotations

from tests.support.jobs import an_error
from tests.support.shop import Shop


def test_the_more_urgent_and_the_older_come_before_it(shop: Shop) -> None:
    late = shop.submit(priority=9)
    first, second = shop.submit(), shop.submit()
    urgent = shop.submit(priority=0)

    places = shop.store.queue_positions([late, first, second, urgent])

    assert places == {urgent: 0, first: 1, second: 2, late: 3}


def test_other_queues_do_not_count(shop: Shop) -> None:
    shop.submit(queue="render.80")
    mine = shop.submit()

    assert shop.store.queue_positions([mine]) == {mine: 0}


def test_what_waits_in_no_queue_has_no_place(shop: Shop) -> None:
    paused, parked, running = shop.submit(), shop.submit(parked="no card"), shop.running()
    shop.store.pause([paused])
    canceled = shop.submit()
    shop.store.cancel(canceled)
    failed = shop.running()
    shop.store.fail(failed, 1, an_error(), retry_in_s=600.0)
    waits = shop.submit()

    asked = [paused, parked, running, canceled, failed, "0" * 32, waits]

    assert shop.store.queue_positions(asked) == {waits: 0}
    assert shop.store.queue_positions([]) == {}


def test_many_jobs_are_read_as_each_is_and_those_that_are_not_there_are_left_out(shop: Shop) -> None:
    waiting, running = shop.submit(), shop.running()

    found = shop.store.get_many([running, "0" * 32, waiting, running])

    assert found == {each: shop.store.get(each) for each in (running, waiting)}
    assert shop.store.get_many([]) == {}
