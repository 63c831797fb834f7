"""One worker per card across containers: they share no lock files, but the store."""

from __future__ import annotations

import pytest

from farm.status.worker import (
    GpuStatus,
    WorkerStatus,
)
from farm.testing import MemoryJobStore
from worker.errors import InUse
from worker.gpu.card import GpuCard
from worker.service.gpu_hold import CardHold

CARD = GpuCard(
    uuid="GPU-7",
    index=2,
    name="NVIDIA L40S",
    total_bytes=2**35,
    free_bytes=2**35,
    used_bytes=0,
    compute_capability=(8, 9),
    driver="580",
)


def test_the_second_worker_on_a_card_is_told_who_has_it_and_what_to_do() -> None:
    store = MemoryJobStore()
    first = CardHold(store, "gpu2@pod-a", CARD)
    first.take()
    store.put_worker(WorkerStatus(name="gpu2@pod-a", gpu=GpuStatus(uuid="GPU-7")), ttl_s=60)
    second = CardHold(store, "gpu0@pod-b", CARD)

    with pytest.raises(InUse, match=r"GPU 2 \(NVIDIA L40S, GPU-7\).*gpu2@pod-a.*one worker per card"):
        second.take()

    first.keep()
    first.release()
    second.take()


def test_a_worker_that_comes_back_takes_its_card_again() -> None:
    store = MemoryJobStore()
    CardHold(store, "gpu2@pod-a", CARD).take()

    CardHold(store, "gpu2@pod-a", CARD).take()
