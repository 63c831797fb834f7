"""The gate: one job on the GPU, publishing beside it, nothing fetched while there is a reason not to."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from farm.status.not_fetching import NotFetching
from tests.support.clock import Clock
from worker.gate import Gate, Ticket


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gate(clock: Clock) -> Gate:
    gate = Gate(threads=4, stuck_after_s=5.0, clock=clock)
    gate.open(NotFetching.STARTING)
    return gate


def hold(stack: ExitStack, gate: Gate, *, publishing: bool = False) -> Ticket:
    ticket = stack.enter_context(gate.work())
    if publishing:
        ticket.off_the_gpu()
    return ticket


def test_nothing_is_fetched_before_the_worker_is_ready() -> None:
    gate = Gate()

    assert not gate.may_fetch(reserved=0)
    gate.open(NotFetching.STARTING)
    assert gate.may_fetch(reserved=0)


def test_no_second_job_is_fetched_while_one_is_on_its_way_or_renders(gate: Gate) -> None:
    assert not gate.may_fetch(reserved=1)
    with gate.work():
        assert not gate.may_fetch(reserved=1)


def test_the_next_job_is_fetched_while_the_last_ones_publish(gate: Gate) -> None:
    with ExitStack() as stack:
        hold(stack, gate, publishing=True)
        hold(stack, gate, publishing=True)

        assert gate.may_fetch(reserved=2)
        assert not gate.may_fetch(reserved=3)


def test_no_job_is_fetched_to_wait_for_a_thread_that_publishes() -> None:
    gate = Gate(threads=2)
    gate.open(NotFetching.STARTING)
    with ExitStack() as stack:
        hold(stack, gate, publishing=True)
        with gate.work() as ticket:
            ticket.off_the_gpu()

            assert not gate.may_fetch(reserved=2)
            assert gate.crowded
        assert gate.may_fetch(reserved=1)


def test_a_second_message_of_a_job_that_is_published_does_not_stop_the_gpu(gate: Gate) -> None:
    with ExitStack() as stack:
        hold(stack, gate, publishing=True)
        with gate.work():  # the same job's message once more: it is dropped at once
            pass

        assert gate.may_fetch(reserved=1)


def test_a_message_that_celery_never_lets_go_of_does_not_keep_the_gpu_idle(gate: Gate, clock: Clock) -> None:
    assert not gate.may_fetch(reserved=1)
    clock.now += 5.0
    assert not gate.may_fetch(reserved=1)  # from here on it was there all the time
    clock.now += 5.0

    assert gate.may_fetch(reserved=1)
    with gate.work():
        assert not gate.may_fetch(reserved=2)
    assert not gate.may_fetch(reserved=2)  # another one is on its way


def test_messages_that_come_and_go_are_not_taken_for_stuck_ones(gate: Gate, clock: Clock) -> None:
    for _ in range(30):
        clock.now += 1.0
        assert not gate.may_fetch(reserved=1)
        assert gate.may_fetch(reserved=0)

    assert not gate.may_fetch(reserved=1)


def test_every_reason_must_be_over_before_the_gate_opens(gate: Gate) -> None:
    gate.close(NotFetching.DRAINING)
    gate.close(NotFetching.COMFYUI_DOWN)

    gate.open(NotFetching.COMFYUI_DOWN)

    assert gate.closed_for == {NotFetching.DRAINING}
    assert not gate.may_fetch(reserved=0)


def test_the_end_of_a_render_wakes_the_event_loop(gate: Gate) -> None:
    woken: list[int] = []
    gate.wake_with(lambda: woken.append(1))

    with gate.work() as ticket:
        ticket.off_the_gpu()
        assert len(woken) == 1

    assert len(woken) == 2
    assert gate.idle
