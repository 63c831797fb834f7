"""What tests of most doors begin with."""

from __future__ import annotations

import pytest

from tests.support.gateway import Gateway, Open
from tests.support.gateway_worker import HandWorker


@pytest.fixture
def gateway(open_gateway: Open) -> Gateway:
    """A gateway that sends files itself: the storage is a folder, to which no link leads."""
    return open_gateway(content="bytes")


@pytest.fixture
def worker(gateway: Gateway) -> HandWorker:
    """A worker that does what a test says."""
    return HandWorker(gateway.store, gateway.storage)
