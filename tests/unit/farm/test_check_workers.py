"""`farm check` tells what the canaries of the live workers found."""

from __future__ import annotations

import pytest

from farm.check.workers import check_workers
from farm.errors import StoreUnavailable
from farm.testing import MemoryJobStore
from tests.support.fleet import announce


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch, store: MemoryJobStore) -> MemoryJobStore:
    """The store that is found at the Redis of the settings."""
    monkeypatch.setenv("FARM_REDIS_URL", "redis://nowhere:6379/0")
    monkeypatch.setattr("farm.store.redis.store.connect", lambda *_: store)
    return store


def test_each_workers_canary_is_told_and_only_an_unusable_comfyui_blocks(there: MemoryJobStore) -> None:
    announce(there, "gpu0@rack", canary={"verdict": "proven", "sentence": "as 0.33.0"})
    announce(there, "gpu1@rack", canary={"verdict": "unusable", "sentence": "no history"})
    announce(there, "gpu2@rack", canary={"verdict": "of tomorrow", "sentence": "?"})
    announce(there, "gpu3@rack")

    found = {finding.name: finding for finding in check_workers()}

    assert found.keys() == {"canary of gpu0@rack", "canary of gpu1@rack"}
    assert found["canary of gpu0@rack"].ok
    assert found["canary of gpu1@rack"].blocks
    assert found["canary of gpu1@rack"].what == "no history"


def test_without_redis_nothing_is_told_of_workers(
    there: MemoryJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise StoreUnavailable("redis://nowhere:6379/0", "refused")

    monkeypatch.setattr(there, "workers", away)

    assert check_workers() == []
