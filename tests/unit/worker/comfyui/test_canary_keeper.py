"""No job comes before a canary is back, and none while what it needs does not hold."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from comfy.canary.report import CanaryReport, Seen, Trait, TraitRow
from farm.status.not_fetching import NotFetching
from tests.support.valkey import eventually
from worker.comfyui.canary_keeper import CanaryKeeper
from worker.comfyui.keeper import ComfyState
from worker.fetching.gate import Gate

GOOD = CanaryReport(version="0.33.0", taken_for="0.33.0", is_newer=False, rows=())
BUSY = dataclasses.replace(GOOD, busy="1 prompts of others are before ours")


def without(trait: Trait) -> CanaryReport:
    row = TraitRow(trait=trait, seen=Seen.FAILED, expected="a cat", came="a dog")
    return dataclasses.replace(GOOD, rows=(row,))


class FakeComfy:
    """Answers a canary with the reports that it is given; the last one stays."""

    def __init__(self, *reports: CanaryReport) -> None:
        self.state = ComfyState.READY
        self.generation = 1
        self.reports = list(reports)
        self.flights = 0
        self.while_it_flies: Callable[[], None] = lambda: None

    def send_canary(self, *, give_up: threading.Event, on_wait: Callable[[str], None]) -> CanaryReport:
        assert not give_up.is_set()
        self.flights += 1
        report = self.reports[min(self.flights, len(self.reports)) - 1]
        if report.busy:
            on_wait(report.busy)
        self.while_it_flies()
        return report


Keep = Callable[..., CanaryKeeper]


@pytest.fixture
def gate() -> Gate:
    gate = Gate()
    gate.open(NotFetching.STARTING)
    return gate


@pytest.fixture
def keep(gate: Gate) -> Iterator[Keep]:
    """Have a canary kept for a ComfyUI that has just started."""
    keepers: list[CanaryKeeper] = []

    def make(comfy: FakeComfy, *, required: bool = True, pause_s: float = 0.01) -> CanaryKeeper:
        keeper = CanaryKeeper(comfy, gate, required=required, on_report=lambda: None, first_pause_s=pause_s)
        keepers.append(keeper)
        keeper.start()
        keeper.comfyui_started()
        return keeper

    yield make
    for keeper in keepers:
        keeper.stop()


def test_the_gate_is_closed_until_the_first_one_is_back(gate: Gate, keep: Keep) -> None:
    comfy = FakeComfy(GOOD)
    held = threading.Event()

    def flies() -> None:
        held.wait(30)

    comfy.while_it_flies = flies

    keeper = keep(comfy)
    eventually(lambda: comfy.flights == 1, within_s=30)
    closed_for = gate.closed_for
    held.set()

    assert closed_for == {NotFetching.CANARY_UNDER_WAY}
    eventually(lambda: not gate.closed_for, within_s=30)
    assert keeper.report is GOOD
    assert keeper.trouble is None


@pytest.mark.parametrize("trait", [trait for trait in Trait if trait.is_needed])
def test_what_jobs_need_and_is_not_there_keeps_them_away(gate: Gate, keep: Keep, trait: Trait) -> None:
    keeper = keep(FakeComfy(without(trait)), pause_s=60)

    eventually(lambda: gate.closed_for == {NotFetching.CANARY_FAILED}, within_s=30)
    assert keeper.trouble is not None
    assert f"{trait}: expected a cat; came a dog" in keeper.trouble


@pytest.mark.parametrize("trait", [trait for trait in Trait if not trait.is_needed])
def test_what_only_informs_lets_jobs_come(gate: Gate, keep: Keep, trait: Trait) -> None:
    keeper = keep(FakeComfy(without(trait)))

    eventually(lambda: not gate.closed_for, within_s=30)
    assert keeper.report is not None
    assert [row.trait for row in keeper.report.strange] == [trait]
    assert keeper.trouble is None


def test_who_does_not_require_it_gets_jobs_and_is_told(gate: Gate, keep: Keep) -> None:
    keeper = keep(FakeComfy(without(Trait.HISTORY)), required=False)

    eventually(lambda: not gate.closed_for, within_s=30)
    assert keeper.trouble is None
    assert keeper.report is not None
    assert keeper.report.broken


def test_one_that_did_not_come_through_is_sent_again_until_it_does(gate: Gate, keep: Keep) -> None:
    comfy = FakeComfy(without(Trait.POST), BUSY, without(Trait.QUEUE), GOOD)

    keep(comfy)

    eventually(lambda: not gate.closed_for, within_s=30)
    assert comfy.flights == 4


def test_a_busy_server_is_a_state_of_its_own(gate: Gate, keep: Keep) -> None:
    keep(FakeComfy(BUSY), pause_s=60)

    eventually(lambda: gate.closed_for == {NotFetching.CANARY_BUSY}, within_s=30)


def test_another_start_of_comfyui_is_proven_anew(gate: Gate, keep: Keep) -> None:
    comfy = FakeComfy(GOOD, without(Trait.POST))
    keeper = keep(comfy, pause_s=60)
    eventually(lambda: not gate.closed_for, within_s=30)

    comfy.generation = 2
    keeper.comfyui_started()

    eventually(lambda: gate.closed_for == {NotFetching.CANARY_FAILED}, within_s=30)


def test_what_the_end_of_comfyui_did_to_it_counts_for_nothing(gate: Gate, keep: Keep) -> None:
    comfy = FakeComfy(without(Trait.HISTORY), GOOD)

    def dies() -> None:
        comfy.generation += comfy.flights == 1

    comfy.while_it_flies = dies
    keeper = keep(comfy, pause_s=60)
    eventually(lambda: comfy.generation == 2, within_s=30)
    assert gate.closed_for == {NotFetching.CANARY_UNDER_WAY}

    keeper.comfyui_started()

    eventually(lambda: not gate.closed_for, within_s=30)
    assert keeper.report is GOOD


def test_while_no_comfyui_answers_no_reason_is_the_canarys(gate: Gate, keep: Keep) -> None:
    comfy = FakeComfy(without(Trait.HISTORY))
    keeper = keep(comfy, pause_s=60)
    eventually(lambda: gate.closed_for == {NotFetching.CANARY_FAILED}, within_s=30)

    comfy.state = ComfyState.DOWN
    keeper.comfyui_ended()

    assert not gate.closed_for
    assert keeper.trouble is None


def test_who_asks_for_one_gets_the_report_of_a_new_one(keep: Keep) -> None:
    comfy = FakeComfy(GOOD, without(Trait.OUTPUT))
    keeper = keep(comfy, pause_s=60)
    eventually(lambda: keeper.report is GOOD, within_s=30)

    report = keeper.send_now()

    assert report is not None
    assert [row.trait for row in report.broken] == [Trait.OUTPUT]


def test_that_a_server_is_newer_is_said_once(keep: Keep, caplog: pytest.LogCaptureFixture) -> None:
    newer = dataclasses.replace(GOOD, version="0.99.0", is_newer=True)
    keeper = keep(FakeComfy(newer))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            keeper.send_now()

    told = [record for record in caplog.records if getattr(record, "event", "") == "comfyui_newer"]
    assert len(told) <= 1
    assert keeper.report is newer
