"""A seed is a schedule: without that, a failing one could not be played again."""

from __future__ import annotations

from tests.chaos.schedule import Fault, make_schedule


def test_a_seed_gives_the_same_schedule_each_time_and_another_seed_another_one() -> None:
    first = make_schedule(7, faults=46, over_s=10.0)

    assert first == make_schedule(7, faults=46, over_s=10.0)
    assert first != make_schedule(8, faults=46, over_s=10.0)


def test_a_schedule_that_is_long_enough_has_every_kind_in_order_of_time() -> None:
    schedule = make_schedule(7, faults=46, over_s=10.0)

    assert {planned.kind for planned in schedule} == set(Fault)
    assert [planned.at_s for planned in schedule] == sorted(planned.at_s for planned in schedule)
