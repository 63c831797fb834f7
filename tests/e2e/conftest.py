"""A whole farm for each test module, and farms of their own for tests that kill what is in them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.s3 import S3Server
from tests.support.whole_farm import WholeFarm, WorkerProcess


@pytest.fixture(scope="module")
def shared_farm(lasting_farm: WholeFarm) -> WholeFarm:
    """A farm of one worker that the tests of a module share; its emulator does as it is told."""
    lasting_farm.start_worker("a", FARM_CANCEL_GRACE_S="3", FARM_FREEZE_TIMEOUT_S="4")
    return lasting_farm


@pytest.fixture
def farm(shared_farm: WholeFarm) -> Iterator[WholeFarm]:
    """The shared farm, with an emulator that behaves until it is told otherwise."""
    yield shared_farm
    shared_farm.workers[0].behave()


@pytest.fixture
def worker(farm: WholeFarm) -> WorkerProcess:
    """The shared farm's only worker."""
    return farm.workers[0]


@pytest.fixture
def new_farm(tmp_path: Path, valkey_url: str, s3_server: S3Server) -> Iterator[Callable[..., WholeFarm]]:
    """Makes a farm of the test's own, without workers; what is given replaces times, Redis or S3."""
    farms: list[WholeFarm] = []

    def make(*, redis_url: str | None = None, s3: Any = None, **store: Any) -> WholeFarm:
        settings = s3 or s3_server.settings(prefix=f"e{uuid.uuid4().hex[:12]}")
        farms.append(WholeFarm(tmp_path / f"farm{len(farms)}", redis_url or valkey_url, settings, **store))
        return farms[-1]

    yield make
    for made in farms:
        made.close()
