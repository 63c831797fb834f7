"""ComfyUI is started anew between jobs when its leaks say so, and not for models that stay warm."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from comfy.wan.models import GIB
from worker.comfyui.recycle import RecycleLimits, Recycler, Usage


@dataclass
class Server:
    """A ComfyUI that holds `models_gib` until it is told to free them, and `leaked_gib` for good."""

    rss_gib: float = 4
    models_gib: float = 13
    leaked_gib: float = 0.5
    freed: int = 0
    restarts: list[str] = field(default_factory=list)

    def usage(self) -> Usage:
        vram = int((self.models_gib + self.leaked_gib) * GIB)
        return Usage(rss_bytes=int(self.rss_gib * GIB), vram_bytes=vram)

    def free(self) -> None:
        self.freed += 1
        self.models_gib = 0

    def recycler(self, **limits: int) -> Recycler:
        return Recycler(
            RecycleLimits(**limits),
            usage=self.usage,
            free=self.free,
            restart=self.restarts.append,
            freed_within_s=0.0,
        )


def test_without_limits_it_runs_for_ever() -> None:
    server = Server()
    recycler = server.recycler()

    for job in range(100):
        server.rss_gib, server.leaked_gib = job, job
        recycler.after_job(1)

    assert (server.restarts, server.freed) == ([], 0)


def test_it_is_recycled_after_so_many_jobs_counted_from_each_start() -> None:
    server = Server()
    recycler = server.recycler(jobs=3)

    for generation in (1, 1, 2, 2, 2, 3):
        recycler.after_job(generation)

    assert server.restarts == ["3 jobs since its start"]


@pytest.mark.parametrize(("grown_gib", "restarts"), [(1.9, 0), (2.1, 1)])
def test_growth_of_host_memory_counts_from_the_first_job(grown_gib: float, restarts: int) -> None:
    server = Server(rss_gib=30)
    recycler = server.recycler(rss_bytes=2 * GIB)

    recycler.after_job(1)
    server.rss_gib += grown_gib
    recycler.after_job(1)

    assert len(server.restarts) == restarts


def test_vram_that_stays_after_freeing_is_a_leak() -> None:
    server = Server()
    recycler = server.recycler(vram_bytes=2 * GIB)

    recycler.after_job(1)
    server.leaked_gib = 6
    recycler.after_job(1)

    assert server.freed == 1
    assert server.restarts == ["it keeps 6.0 GiB of VRAM after all models were to be freed"]


def test_another_jobs_larger_models_are_no_leak_and_suspected_once() -> None:
    server = Server(models_gib=3)
    recycler = server.recycler(vram_bytes=2 * GIB)

    recycler.after_job(1)
    for _ in range(3):
        server.models_gib = 13
        recycler.after_job(1)

    assert (server.restarts, server.freed) == ([], 1)
