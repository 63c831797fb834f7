"""Hours of a farm's life under faults, in seconds: real scripts, steward and attempts under a virtual clock.

`python -m bench.virtual` plays as many as you like, and shrinks what fails.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from farm.job import ErrorKind, JobState, queue_for
from farm.status.worker import WorkerStatus
from farm.store.base import StoreLimits
from farm.store.redis.link import RedisLink
from farm.store.redis.lua import _digest, _text
from farm.store.redis.store import RedisJobStore
from farm.upkeep.steward import Steward
from tests.chaos.checker import Breach
from tests.support.jobs import a_job, an_error, claimed
from tests.virtual.fleet import NOTIFIER
from tests.virtual.loop import Loop, Process
from tests.virtual.plan import SEAMS, Durability, Fault, Plan, make_plan
from tests.virtual.play import Played, play, shrink
from tests.virtual.valkey import VirtualClient, VirtualValkey
from worker.jobs.lease import Lease

pytestmark = pytest.mark.timeout(600)  # ten seconds of CPU, of which a starved machine gives little

Keep = Callable[[str, object], None]


def spells(number: int, seed: int) -> Plan:
    """Spells of work under ten faults, one each two hours; each seed has its kind of durability."""
    return make_plan(
        seed, for_s=240.0 * number, spells=number, every_s=7200.0, jobs=12 * number, faults=10 * number
    )


def is_kept(number: int, played: Played, record_property: Keep) -> None:
    """No sentence of the promise is broken; how long the farm lived is told at the end of the test run."""
    record_property("farm_hours", played.virtual_s / 3600)
    record_property("moves", played.moves)
    record_property("played_s", played.real_s)
    again = f"--seconds {240 * number} --spells {number} --every 7200 --jobs {12 * number}"
    assert played.violations == (), (
        f"python -m bench.virtual --shrink {again} --faults {10 * number} --seeds {played.plan.seed}"
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_farm_keeps_its_promise_whatever_comes_between_two_moves(
    seed: int, server: redis.Redis, tmp_path: Path, record_property: Keep
) -> None:
    played = play(spells(3, seed), server, tmp_path)

    is_kept(3, played, record_property)
    assert played.virtual_s > 4 * 3600
    assert played.moves > 6_000
    assert len(played.history.stories) > 33


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_weeks_of_a_farm_keep_its_promise(server: redis.Redis, tmp_path: Path, record_property: Keep) -> None:
    for seed in (1, 2, 3, *range(100, 124)):
        is_kept(9, play(spells(9, seed), server, tmp_path / str(seed)), record_property)


def test_a_dead_workers_job_is_begun_elsewhere_within_seventeen_seconds(
    server: redis.Redis, tmp_path: Path
) -> None:
    plan = make_plan(5, for_s=900.0, jobs=20, faults=40, workers=4, kinds=(Fault.KILL,))
    plan = replace(plan, jobs=tuple(replace(job, seconds=40.0, queue=0) for job in plan.jobs))

    history = play(plan, server, tmp_path).history

    waits_s = []
    for story in history.stories.values():
        for each in (each for each in story.attempts if each.outcome == "lost"):
            died_s = max(
                death.at_s
                for death in history.deaths
                if death.worker == each.worker and each.started_s <= death.at_s <= each.ended_s
            )
            goes_on = (s.at_s for s in story.states if s.attempt > each.attempt or s.state == "failed")
            waits_s.append(next(goes_on) - died_s)
    assert len(waits_s) > 5
    assert max(waits_s) <= 17.0


def test_a_worker_that_is_told_to_end_at_any_seam_loses_no_lease_and_fails_no_job(
    server: redis.Redis, tmp_path: Path
) -> None:
    plan = make_plan(4, for_s=800.0, jobs=70, faults=70, kinds=(Fault.TERMINATE_AT_SEAM,))
    seams = itertools.cycle(itertools.product(SEAMS, (False, True)))
    away = (Fault.STORAGE_AWAY, Fault.CANCEL)  # without which some seams are never come to
    faults = tuple(
        replace(each, kind=away[number // 6 % 2])
        if number % 6 == 0
        else replace(each, seam=seam, answered=answered)
        for number, (each, (seam, answered)) in enumerate(zip(plan.faults, seams, strict=False))
    )

    played = play(replace(plan, faults=faults), server, tmp_path)

    assert played.violations == ()
    outcomes = {each.outcome for story in played.history.stories.values() for each in story.attempts}
    assert outcomes <= {"succeeded", "released", "unpublished", "canceled"}
    assert len(played.seams) > 12


def test_a_seed_is_played_the_same_way_again(server: redis.Redis, tmp_path: Path) -> None:
    plan = make_plan(7, for_s=300.0, jobs=15, faults=20)

    one, other = (play(plan, server, tmp_path / name) for name in ("one", "other"))

    assert one.moves == other.moves
    assert one.history == other.history


# -- mistakes that it must find ----------------------------------------------------------------------


def found(
    server: redis.Redis, folder: Path, kind: Fault, *, seam: str = "", answered: bool = False
) -> set[Breach]:
    plan = make_plan(3, for_s=600.0, jobs=30, faults=25, kinds=(kind,))
    faults = tuple(replace(each, seam=seam, answered=answered) for each in plan.faults)
    played = play(replace(plan, faults=faults), server, folder, calm_s=300.0)
    return {violation.breach for violation in played.violations}


def test_a_steward_that_repairs_nothing_is_found(
    server: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Steward, "run_forever", lambda _: None)

    assert Breach.LOST in found(server, tmp_path, Fault.KILL)


def test_a_worker_that_goes_on_after_it_slept_past_its_lease_is_found(
    server: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lease, "provable", True)

    assert Breach.CAUSE in found(server, tmp_path, Fault.FREEZE_AT_SEAM, seam="claim", answered=True)


def test_a_submit_that_returns_before_the_file_is_on_the_disk_is_found(
    server: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RedisLink, "_syncs_always", lambda _: True)
    plan = make_plan(2, for_s=200.0, jobs=100, faults=20, kinds=(Fault.VALKEY_POWER,))
    assert plan.durability is Durability.WAITED_FOR

    assert Breach.LOST in {each.breach for each in play(plan, server, tmp_path, calm_s=300.0).violations}


@pytest.mark.parametrize(
    ("check", "mistake", "kind", "seam", "breach"),
    [
        # A worker that slept before its last word says it all the same.
        (
            "job.attempt == tonumber(attempt) and same(job.token, token)",
            "true",
            Fault.FREEZE_AT_SEAM,
            "succeed",
            Breach.BYTES,
        ),
        # A lease is taken before it has run out.
        ("'leases', '-inf', now,", "'leases', '-inf', '+inf',", Fault.MESSAGES_GONE, "", Breach.CAUSE),
    ],
)
def test_a_script_without_its_check_is_found(
    check: str,
    mistake: str,
    kind: Fault,
    seam: str,
    breach: Breach,
    server: redis.Redis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        sys.modules[_text.__module__], "_text", lambda script: _text(script).replace(check, mistake)
    )
    _digest.cache_clear()
    try:
        breaches = found(server, tmp_path, kind, seam=seam)
    finally:
        _digest.cache_clear()

    assert breach in breaches


def test_a_failing_plan_is_shrunk_to_what_makes_it_fail() -> None:
    plan = make_plan(1, for_s=100.0, jobs=20, faults=20)
    culprit, victim = plan.faults[13], plan.jobs[7]

    small = shrink(plan, lambda tried: culprit in tried.faults and victim in tried.jobs)

    assert (small.faults, small.jobs) == ((culprit,), (victim,))


# -- the clock ---------------------------------------------------------------------------------------


@pytest.fixture
def told(server: redis.Redis) -> tuple[Loop, RedisJobStore, Callable[[Callable[[], None]], None]]:
    loop = Loop(1)
    process = Process("p")
    client = VirtualClient(VirtualValkey(loop, server), process)
    store = RedisJobStore(client, namespace="clock", limits=StoreLimits(), notifier=NOTIFIER)  # type: ignore[arg-type]

    def during(act: Callable[[], None]) -> None:
        with loop.in_charge():
            loop.spawn(process, act)
            loop.run(3600.0)
            loop.close()

    return loop, store, during


def test_a_key_that_ends_by_itself_ends_when_its_virtual_time_has_come(
    told: tuple[Loop, RedisJobStore, Callable[[Callable[[], None]], None]],
) -> None:
    loop, store, during = told
    held: list[bool] = []

    def act() -> None:
        held.append(store.acquire("lock", "one", ttl_s=60.0))
        loop.sleep(59.0)
        held.append(store.acquire("lock", "other", ttl_s=60.0))
        loop.sleep(2.0)
        held.append(store.acquire("lock", "other", ttl_s=60.0))

    during(act)

    assert held == [True, False, True]


def test_time_in_which_redis_was_away_is_no_workers_absence(
    told: tuple[Loop, RedisJobStore, Callable[[Callable[[], None]], None]],
) -> None:
    loop, store, during = told
    seen: list[object] = []

    def tell(*names: str) -> None:
        for name in names:
            store.put_worker(WorkerStatus(name=name, vram_gib=24), ttl_s=15.0)

    def judged() -> object:
        job = a_job(queue=queue_for(24))
        store.submit([job])
        claim = claimed(store, job.job_id)
        error = an_error(ErrorKind.JOB)
        return store.fail(job.job_id, 1, error, retry_in_s=0.0, doubt="how", token=claim.token)

    def act() -> None:
        tell("w1", "w2")
        loop.sleep(1800.0)  # in which it was away
        seen.append(judged())
        for _ in range(14):
            tell("w1")
            loop.sleep(5.0)
            seen.append(judged())

    during(act)

    assert seen[:12] == [JobState.QUEUED] * 12
    assert seen[-1] is JobState.FAILED
