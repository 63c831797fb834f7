"""A server that runs otherwise than planned is told once, and under `strict` gets no jobs."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace

import pytest

from comfy.log.reading import LogReader
from comfy.log.text import plain_lines
from farm.status.not_fetching import NotFetching
from farm.status.proof import Proof, ProofVerdict
from worker.comfyui.plan_check import PlanCheck
from worker.fetching.gate import Gate

PROVEN = Proof(verdict=ProofVerdict.PROVEN, vram_state="NORMAL_VRAM")
UNPROVEN = Proof(verdict=ProofVerdict.UNPROVEN, unproven=("its log does not say",))


def differs(*differences: str) -> Proof:
    return Proof(verdict=ProofVerdict.DIFFERS, vram_state="NO_VRAM", differences=differences)


@dataclass
class Server:
    """What there is to see; `looks` counts how often it was looked at."""

    proof: Proof | None = field(default=PROVEN)
    generation: int = 1
    looks: int = 0

    def prove(self) -> Proof | None:
        self.looks += 1
        return self.proof


def a_check(server: Server, gate: Gate | None = None, *, strict: bool = False) -> PlanCheck:
    return PlanCheck(server.prove, lambda: server.generation, gate or Gate(threads=1), strict=strict)


def test_each_start_and_each_job_are_looked_at_once() -> None:
    server = Server()
    check = a_check(server)

    for after_job in (False, False, True, True, False):
        check.look(after_job=after_job)
    first_start = server.looks
    server.generation = 2
    check.look()

    assert (first_start, server.looks) == (3, 4)


def test_a_log_that_was_not_read_yet_is_looked_at_again() -> None:
    server = Server(proof=UNPROVEN)
    check = a_check(server)

    check.look()
    server.proof = differs("wrong")
    check.look()

    assert check.proof == server.proof


def test_a_difference_is_logged_once_and_a_new_one_again(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(proof=differs("state"))
    check = a_check(server)

    with caplog.at_level(logging.WARNING):
        check.look()
        server.proof = differs("state", "loads")
        check.look(after_job=True)

    assert [record.__dict__["what"] for record in caplog.records] == ["state", "loads"]


def test_only_under_strict_a_difference_stops_the_fetching_until_a_start_as_planned() -> None:
    gate = Gate(threads=1)
    gate.open(NotFetching.STARTING)
    server = Server(proof=differs("state"))

    a_check(server, gate).look()
    lenient = gate.closed_for
    strict = a_check(server, gate, strict=True)
    strict.look()
    closed = gate.closed_for
    server.generation, server.proof = 2, PROVEN
    strict.look()

    assert lenient == frozenset()
    assert closed == {NotFetching.NOT_PROVEN}
    assert gate.closed_for == frozenset()


def test_before_the_first_start_there_is_nothing_to_say() -> None:
    server = Server(proof=None)
    check = a_check(server)

    check.look()

    assert check.proof is None


def test_under_strict_a_log_that_is_not_understood_stops_the_fetching_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = Gate(threads=1)
    gate.open(NotFetching.STARTING)
    server = Server(proof=UNPROVEN)
    check = a_check(server, gate, strict=True)

    check.look()
    closed = gate.closed_for
    server.proof = PROVEN
    check.look()

    assert closed == {NotFetching.NOT_PROVEN}
    assert gate.closed_for == frozenset()
    assert [record.__dict__["event"] for record in caplog.records] == ["unproven"]


def test_a_warning_that_nobody_knows_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    log = LogReader.of(plain_lines("\x1b[33m[WARNING]\x1b[0m the moon is full")).reading()
    server = Server(proof=replace(PROVEN, log=log))
    check = a_check(server)

    check.look()
    check.look(after_job=True)

    assert [record.__dict__["what"] for record in caplog.records] == ["the moon is full"]
