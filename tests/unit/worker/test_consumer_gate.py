"""The gate: one job on the GPU, publishing beside it, nothing fetched while there is a reason not to."""

from __future__ import annotations

from worker.consumer import Gate


def an_open_gate() -> Gate:
    gate = Gate()
    gate.open("starting")
    return gate


def test_nothing_is_fetched_before_the_worker_is_ready() -> None:
    gate = Gate()

    assert not gate.may_fetch(reserved=0)
    gate.open("starting")
    assert gate.may_fetch(reserved=0)


def test_no_second_job_is_fetched_while_one_renders() -> None:
    gate = an_open_gate()

    assert not gate.may_fetch(reserved=1)


def test_the_next_job_is_fetched_while_the_last_ones_publish() -> None:
    gate = an_open_gate()
    gate.release("a")
    gate.release("b")

    assert gate.may_fetch(reserved=2)
    assert not gate.may_fetch(reserved=3)


def test_no_job_is_fetched_to_wait_for_a_thread_that_publishes() -> None:
    gate = Gate(threads=2)
    gate.open("starting")
    gate.release("a")
    gate.release("b")

    assert not gate.may_fetch(reserved=2)
    gate.done("a")
    assert gate.may_fetch(reserved=1)


def test_a_job_that_ended_counts_no_more() -> None:
    gate = an_open_gate()
    gate.release("a")

    gate.done("a")

    assert gate.may_fetch(reserved=0)
    assert not gate.may_fetch(reserved=1)


def test_every_reason_must_be_over_before_the_gate_opens() -> None:
    gate = an_open_gate()
    gate.close("draining")
    gate.close("comfy down")

    gate.open("comfy down")

    assert gate.closed_for == {"draining"}
    assert not gate.may_fetch(reserved=0)


def test_the_end_of_a_render_wakes_the_event_loop() -> None:
    woken: list[int] = []
    gate = an_open_gate()
    gate.wake_with(lambda: woken.append(1))

    gate.release("a")
    gate.done("a")

    assert len(woken) == 2
