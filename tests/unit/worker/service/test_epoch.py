"""A worker under which Redis loses its data."""

from __future__ import annotations

import pytest

from farm.testing import MemoryJobStore
from worker.service.epoch import EpochWatch


def test_a_lost_memory_is_told_once_and_loudly(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryJobStore()
    told: list[str] = []
    watch = EpochWatch(store)
    watch.on_forgot(lambda: told.append("anew"))
    watch.look()
    watch.look()
    assert (told, watch.forgot_at, caplog.records) == ([], None, [])

    store.lose_everything()
    watch.look()
    watch.look()

    assert told == ["anew"]
    assert watch.forgot_at is not None
    assert [record.levelname for record in caplog.records] == ["ERROR"]
