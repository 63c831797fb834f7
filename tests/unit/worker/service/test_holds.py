"""One worker per name and card across containers: they share no lock files, but the store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from farm.status.worker import GpuStatus, WorkerStatus
from farm.testing import MemoryJobStore
from tests.support.cards import CARD as A_CARD
from worker.errors import InUse
from worker.service.holds import Hold, hold_on_card, hold_on_name, identity_of
from worker.service.status_keeper import TTL_S

CARD = replace(A_CARD, uuid="GPU-7", index=2, name="NVIDIA L40S")
Make = Callable[[MemoryJobStore, str], Hold]
HOLDS = pytest.mark.parametrize(
    "make",
    [
        lambda store, identity: hold_on_name(store, "gpu0@pod", identity, patience_s=0.0),
        lambda store, identity: hold_on_card(store, "gpu0@pod", identity, CARD, patience_s=0.0),
    ],
    ids=["name", "card"],
)


class Clock:
    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        return self.now


def test_the_second_worker_on_a_card_is_told_who_has_it_and_what_to_do() -> None:
    store = MemoryJobStore()
    first = hold_on_card(store, "gpu2@pod-a", "a", CARD)
    first.take()
    store.put_worker(WorkerStatus(name="gpu2@pod-a", gpu=GpuStatus(uuid="GPU-7")), ttl_s=60)
    second = hold_on_card(store, "gpu0@pod-b", "b", CARD, patience_s=0.0)

    with pytest.raises(InUse, match=r"GPU 2 \(NVIDIA L40S, GPU-7\).*gpu2@pod-a.*one worker per card"):
        second.take()

    assert first.keep()
    first.release()
    second.take()


def test_the_second_worker_of_a_name_is_told_so_and_what_to_do() -> None:
    store = MemoryJobStore()
    hold_on_name(store, "gpu0@pod", "a").take()

    with pytest.raises(InUse, match=r"the name gpu0@pod is in use.*FARM_WORKER_NAME"):
        hold_on_name(store, "gpu0@pod", "b", patience_s=0.0).take()


@HOLDS
def test_a_worker_that_comes_back_takes_again_at_once_what_it_had(make: Make) -> None:
    store = MemoryJobStore()
    make(store, "a").take()

    make(store, "a").take()


def test_what_a_dead_worker_has_left_is_waited_out() -> None:
    clock = Clock()
    store = MemoryJobStore(clock=clock)
    hold_on_card(store, "worker@container1", "a", CARD).take()
    other = hold_on_card(store, "worker@container2", "b", CARD)
    taking = threading.Thread(target=other.take, daemon=True)

    taking.start()
    clock.now += TTL_S + 1
    taking.join(30)

    assert not taking.is_alive()
    assert other.keep()


@HOLDS
def test_who_was_cut_off_while_another_one_came_hears_that_it_is_not_its_own_any_more(make: Make) -> None:
    clock = Clock()
    store = MemoryJobStore(clock=clock)
    first, second = make(store, "a"), make(store, "b")
    first.take()
    clock.now += TTL_S + 1
    second.take()

    assert not first.keep()
    first.release()
    assert second.keep()


def test_a_folder_has_one_identity_for_ever(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()

    assert identity_of(tmp_path) == identity_of(tmp_path) != identity_of(tmp_path / "other")
