"""A worker under which Redis loses its data."""

from __future__ import annotations

import pytest

from farm.errors import StoreUnavailable
from farm.testing import MemoryJobStore
from worker.service.epoch import EpochWatch


def test_a_lost_memory_is_told_once_and_loudly(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryJobStore()
    told: list[str] = []
    watch = EpochWatch(store)
    watch.on_forgot(lambda: told.append("anew"))
    assert [watch.forgot(), watch.forgot()] == [False, False]
    assert (told, watch.forgot_at, caplog.records) == ([], None, [])

    store.lose_everything()

    assert [watch.forgot(), watch.forgot()] == [True, False]
    assert told == ["anew"]
    assert watch.forgot_at is not None
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_what_could_not_be_told_anew_is_told_the_next_time() -> None:
    store = MemoryJobStore()
    failures = [StoreUnavailable("127.0.0.1:6379", "no answer")]
    told: list[str] = []

    def tell() -> None:
        if failures:
            raise failures.pop()
        told.append("anew")

    watch = EpochWatch(store)
    watch.on_forgot(tell)
    watch.forgot()
    store.lose_everything()
    with pytest.raises(StoreUnavailable):
        watch.forgot()

    assert watch.forgot()
    assert told == ["anew"]
