"""The gate: one job on the GPU, publishing beside it, nothing fetched while there is a reason not to."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest

from farm.status.not_fetching import NotFetching
from tests.support.clock import Clock
from tests.support.valkey import eventually
from worker.fetching.gate import Gate, Ticket


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


def test_while_the_inputs_of_a_job_are_slow_another_one_may_come_and_have_the_gpu(gate: Gate) -> None:
    never = threading.Event()
    with gate.work() as slow:
        slow.step_aside()
        assert gate.may_fetch(reserved=1)
        assert not gate.idle

        with gate.work() as ready:
            ready.take_gpu(never)
            assert not gate.may_fetch(reserved=2)
            waiting = threading.Thread(target=slow.take_gpu, args=(never,))
            waiting.start()
            eventually(lambda: not gate.may_fetch(reserved=2), within_s=30)
            assert waiting.is_alive()

            ready.off_the_gpu()
            waiting.join(timeout=30)

            assert not waiting.is_alive()
            assert not gate.may_fetch(reserved=2)
        slow.off_the_gpu()
        assert gate.may_fetch(reserved=1)


def test_two_jobs_never_have_the_gpu_at_once(gate: Gate) -> None:
    on_gpu, most, lock = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal on_gpu, most
        with gate.work() as ticket:
            ticket.step_aside()
            ticket.take_gpu(threading.Event())
            with lock:
                on_gpu += 1
                most = max(most, on_gpu)
            with lock:
                on_gpu -= 1
            ticket.off_the_gpu()

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    assert most == 1
    assert gate.idle


def test_a_job_that_is_to_stop_does_not_wait_for_its_turn(gate: Gate) -> None:
    stop = threading.Event()
    with gate.work() as first, gate.work() as second:
        first.take_gpu(stop)
        stop.set()

        second.take_gpu(stop)

        first.off_the_gpu()
        with gate.work() as third:
            third.take_gpu(threading.Event())  # the one that was stopped has never had it


def test_two_threads_stay_for_jobs_whose_inputs_are_there(gate: Gate) -> None:
    with ExitStack() as stack:
        slow = [hold(stack, gate) for _ in range(3)]
        for ticket in slow:
            ticket.step_aside()

        assert not gate.may_fetch(reserved=3)  # the third one keeps its place before the GPU
        slow[0].take_gpu(threading.Event())
        slow[0].off_the_gpu()
        slow[2].step_aside()

        assert gate.may_fetch(reserved=3)


def test_the_seconds_in_which_jobs_had_the_gpu_add_up(gate: Gate, clock: Clock) -> None:
    for _ in range(2):
        with gate.work() as ticket:
            clock.now += 1.0
            ticket.take_gpu(threading.Event())
            clock.now += 5.0
            ticket.off_the_gpu()
            clock.now += 7.0
    with gate.work() as ticket:
        ticket.take_gpu(threading.Event())
        clock.now += 2.0

        assert gate.gpu_held_s == 12.0
