"""A Valkey for plays under a virtual clock."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import redis

from tests.support.valkey import ValkeyServer


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis.Redis]:
    """A client of a server that nobody else uses; each play empties it."""
    folder = tmp_path_factory.mktemp("valkey")
    socket = folder / "socket"
    valkey = ValkeyServer(folder, "--appendonly", "no", "--unixsocket", str(socket))
    valkey.start()
    with redis.Redis(unix_socket_path=str(socket)) as client:
        yield client
    valkey.kill()


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """What the farm logs of its days would take longer than they do."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
