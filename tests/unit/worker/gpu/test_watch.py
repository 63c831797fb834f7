"""A card that goes is noticed, said once, and noticed again when it is back."""

from __future__ import annotations

import queue
import time

import pynvml
import pytest

from comfy.doctor.times import CardUse
from tests.support.fake_nvml import FakeCard, FakeDriver
from worker.errors import GpuUnusable
from worker.gpu.card import read_cards
from worker.gpu.nvml import GpuState
from worker.gpu.watch import GpuWatch


def test_a_card_that_is_well_is_nothing_to_tell(driver: FakeDriver) -> None:
    told: list[GpuUnusable | None] = []
    watch = GpuWatch(read_cards()[0], told.append)
    driver.cards[0].used_mib = 20_000

    watch.look()

    assert (told, watch.trouble) == ([], None)
    assert watch.card.used_bytes == 20_000 * 2**20


@pytest.mark.parametrize(
    ("code", "state"),
    [
        (pynvml.NVML_ERROR_GPU_IS_LOST, GpuState.LOST),
        (pynvml.NVML_ERROR_NO_PERMISSION, GpuState.NOT_PERMITTED),
        (pynvml.NVML_ERROR_UNKNOWN, GpuState.FAILED),
    ],
)
def test_a_card_that_goes_and_comes_back_is_told_once_each(
    driver: FakeDriver, code: int, state: GpuState
) -> None:
    told: list[GpuUnusable | None] = []
    watch = GpuWatch(read_cards()[0], told.append)

    driver.cards[0].error = code
    watch.look()
    watch.look()
    driver.cards[0].error = 0
    watch.look()

    assert [trouble and trouble.state for trouble in told] == [state, None]
    assert watch.trouble is None


def test_what_was_seen_of_the_card_during_a_job_is_told(driver: FakeDriver) -> None:
    watch = GpuWatch(read_cards()[0], lambda _trouble: None)
    watch.look()
    began = time.monotonic()
    driver.cards[0].processes = [(7, 9000), (8, 2000)]
    driver.cards[0].slowed = pynvml.nvmlClocksThrottleReasonSwThermalSlowdown
    driver.cards[0].temperature_c = 89
    watch.look()
    driver.cards[0].slowed = pynvml.nvmlClocksThrottleReasonSwPowerCap
    watch.look()

    use = watch.use_during(began, time.monotonic())

    # What runs at its power limit does what it was made for.
    assert use == CardUse(
        looks=2, shared=2, others_bytes=2000 * 2**20, slowed=1, slowed_by="heat", hottest_c=89
    )


def test_a_card_that_does_not_tell_why_it_is_slow_is_not_slow(driver: FakeDriver) -> None:
    watch = GpuWatch(read_cards()[0], lambda _trouble: None)
    driver.cards[0].slowed = None

    watch.look()

    use = watch.use_during(0, time.monotonic())
    assert use is not None
    assert (use.slowed, use.shared) == (0, 0)
    assert watch.use_during(-2, -1) is None


def test_nvml_that_vanishes_under_a_living_worker_is_told(driver: FakeDriver) -> None:
    told: list[GpuUnusable | None] = []
    watch = GpuWatch(read_cards()[0], told.append)

    driver.init_error = pynvml.NVML_ERROR_UNKNOWN
    trouble = watch.look()

    assert trouble is not None
    assert "start it again" in str(trouble)
    assert told == [trouble]


def test_only_new_memory_errors_count(driver: FakeDriver) -> None:
    driver.cards = [FakeCard(ecc_uncorrected=3)]
    watch = GpuWatch(read_cards()[0], lambda _: None)

    old = watch.look()
    driver.cards[0].ecc_uncorrected = 4
    new = watch.look()

    assert old is None
    assert new is not None
    assert new.state == GpuState.MEMORY_ERRORS


def test_the_thread_looks_by_itself_and_outlives_a_listener_that_fails(driver: FakeDriver) -> None:
    told: queue.Queue[GpuUnusable | None] = queue.Queue()

    def listen(trouble: GpuUnusable | None) -> None:
        told.put(trouble)
        raise RuntimeError("not ready yet")

    watch = GpuWatch(read_cards()[0], listen, every_s=0.01)
    watch.start()
    try:
        driver.cards[0].error = pynvml.NVML_ERROR_GPU_IS_LOST
        lost = told.get(timeout=60)
        driver.cards[0].error = 0
        well = told.get(timeout=60)
    finally:
        watch.stop()

    assert lost is not None
    assert well is None
