"""The checker finds what it is there to find: one planted fault each, and none in a history without."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos.checker import Breach, check
from tests.chaos.history import AttemptSeen, Bounds, Death, Harm, History, Run, StateSeen, Stored, Story

JOB = "a" * 32
PREFIX = f"jobs/{JOB}/2/"
CLIP = f"{PREFIX}clip.mp4"


def told(*states: tuple[str, int, str]) -> tuple[StateSeen, ...]:
    return tuple(
        StateSeen(state=state, attempt=attempt, at_s=float(at), reason=reason)
        for at, (state, attempt, reason) in enumerate(states)
    )


# One worker was lost, the next one succeeded.
GOOD = Story(
    job_id=JOB,
    state="succeeded",
    states=told(
        ("queued", 0, ""), ("running", 1, ""), ("queued", 1, "lost"), ("running", 2, ""), ("succeeded", 2, "")
    ),
    attempts=(
        AttemptSeen(attempt=1, worker="a", outcome="lost", started_s=1, ended_s=2),
        AttemptSeen(attempt=2, worker="b", outcome="succeeded", started_s=3, ended_s=4),
    ),
    artifacts=(Stored(key=CLIP, sha256="11"),),
    accepted_prefix=PREFIX,
)
RUNS = (
    Run(job_id=JOB, attempt=1, started_s=1.1, worker="a"),
    Run(job_id=JOB, attempt=2, started_s=3.1, worker="b"),
)
KILL = Harm(kind="worker_kill", since_s=1.5, until_s=1.5, explains=frozenset({"lost"}), worker="a")


def history_of(story: Story | None, **changes: object) -> History:
    stories = {} if story is None else {story.job_id: story}
    plain = History(
        accepted=(JOB,),
        stories=stories,
        objects={CLIP: "11", f"{PREFIX}manifest.json": "22"},
        runs=RUNS,
        harms=(KILL,),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def breaches(history: History) -> set[Breach]:
    return {violation.breach for violation in check(history)}


def test_a_history_as_it_should_be_has_no_violation() -> None:
    assert check(history_of(GOOD)) == []


def test_a_job_that_a_person_retried_may_end_again() -> None:
    states = told(
        ("queued", 0, ""), ("running", 1, ""), ("failed", 1, ""), ("queued", 1, "retry"), ("running", 2, ""),
        ("succeeded", 2, ""),
    )  # fmt: skip

    assert check(history_of(replace(GOOD, states=states))) == []


def test_a_job_that_the_store_forgot_is_found() -> None:
    assert breaches(history_of(None, objects={})) == {Breach.LOST}


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_job_without_an_end_is_found(state: str) -> None:
    assert Breach.LOST in breaches(history_of(replace(GOOD, state=state)))


def test_two_accepted_results_are_found() -> None:
    twice = replace(GOOD, states=(*GOOD.states, GOOD.states[-1]))

    assert Breach.DOUBLED in breaches(history_of(twice))


def test_an_end_after_the_end_is_found() -> None:
    states = told(("queued", 0, ""), ("running", 2, ""), ("canceled", 2, ""), ("failed", 2, ""))

    assert Breach.DOUBLED in breaches(history_of(replace(GOOD, states=states)))


def test_attempt_numbers_that_do_not_grow_are_found() -> None:
    states = told(("running", 2, ""), ("queued", 2, "lost"), ("running", 2, ""), ("succeeded", 2, ""))

    assert breaches(history_of(replace(GOOD, states=states))) == {Breach.ATTEMPTS}


def test_a_claim_of_a_job_that_another_attempt_holds_is_found() -> None:
    states = told(("queued", 0, ""), ("running", 1, ""), ("running", 2, ""), ("succeeded", 2, ""))

    assert breaches(history_of(replace(GOOD, states=states))) == {Breach.ATTEMPTS}


def test_two_attempts_that_held_the_lease_at_once_are_found() -> None:
    one, other = GOOD.attempts

    assert breaches(history_of(replace(GOOD, attempts=(one, replace(other, started_s=1.5))))) == {
        Breach.ATTEMPTS
    }


def test_a_result_of_an_attempt_whose_lease_was_lost_is_found() -> None:
    states = told(("running", 1, ""), ("queued", 1, "lost"), ("succeeded", 1, ""))

    assert Breach.FENCE in breaches(history_of(replace(GOOD, states=states)))


def test_an_attempt_noted_as_lost_and_as_succeeded_is_found() -> None:
    attempts = tuple(replace(each, attempt=2) for each in GOOD.attempts)

    assert breaches(history_of(replace(GOOD, attempts=attempts))) == {Breach.FENCE}


def test_a_result_whose_file_is_not_there_is_found() -> None:
    assert breaches(history_of(GOOD, objects={})) == {Breach.BYTES}


def test_a_result_whose_file_has_other_bytes_is_found() -> None:
    assert breaches(history_of(GOOD, objects={CLIP: "33"})) == {Breach.BYTES}


def test_a_result_that_names_the_files_of_another_attempt_is_found() -> None:
    assert Breach.BYTES in breaches(history_of(replace(GOOD, accepted_prefix=f"jobs/{JOB}/1/")))


def test_a_result_without_files_is_found() -> None:
    assert breaches(history_of(replace(GOOD, artifacts=()))) == {Breach.BYTES}


def test_a_canceled_job_that_succeeded_is_found() -> None:
    assert breaches(history_of(replace(GOOD, cancel_confirmed_s=9.0))) == {Breach.CANCEL}


def test_a_run_that_began_after_the_cancel_is_found() -> None:
    canceled = Story(job_id=JOB, state="canceled", cancel_confirmed_s=5.0)
    late = Run(job_id=JOB, attempt=1, started_s=7.0, worker="a")

    assert check(history_of(canceled, objects={})) == []
    assert breaches(history_of(canceled, objects={}, runs=(late,))) == {Breach.CANCEL}


@pytest.mark.parametrize(
    ("rendering", "publishing", "found"),
    [(4, 0, {Breach.POISON}), (0, 6, {Breach.POISON}), (3, 4, set()), (2, 5, set())],
)
def test_a_job_that_took_too_many_workers_is_found(
    rendering: int, publishing: int, found: set[Breach]
) -> None:
    taken = tuple(
        AttemptSeen(
            attempt=number + 1,
            worker="a",
            outcome="lost",
            started_s=number,
            ended_s=number + 0.5,
            publishing=number >= rendering,
        )
        for number in range(rendering + publishing)
    )
    deaths = tuple(Death(worker="a", at_s=each.started_s + 0.1) for each in taken)
    story = Story(job_id=JOB, state="failed", attempts=taken, error="so many", poison=True)

    assert breaches(history_of(story, objects={}, deaths=deaths)) == found


def test_a_poison_job_that_succeeded_is_found() -> None:
    assert breaches(history_of(replace(GOOD, poison=True))) == {Breach.POISON}


def test_a_failure_without_a_reason_is_found() -> None:
    assert breaches(history_of(Story(job_id=JOB, state="failed"), objects={})) == {Breach.REASON}


@pytest.mark.parametrize("kind", ["job", "place", "time_limit"])
def test_a_sound_job_that_is_blamed_for_what_was_done_to_it_is_found(kind: str) -> None:
    blamed = Story(job_id=JOB, state="failed", error="node 3 failed", error_kind=kind)

    assert breaches(history_of(blamed, objects={})) == {Breach.REASON}


def ended(outcome: str, *kinds: str) -> tuple[AttemptSeen, ...]:
    """Attempts that came to nothing, one after the other, on worker a."""
    return tuple(
        AttemptSeen(
            attempt=number,
            worker="a",
            outcome=outcome,
            started_s=10 * number,
            ended_s=10 * number + 5,
            error_kind=kind,
        )
        for number, kind in enumerate(kinds, start=1)
    )


def harmed(attempts: tuple[AttemptSeen, ...], **at: object) -> tuple[Harm, ...]:
    """A fault in the middle of each of them."""
    plain = Harm(kind="any", since_s=0, until_s=0, explains=frozenset({"lost", "failed"}), worker="a")
    return tuple(
        replace(plain, since_s=each.started_s + 1, until_s=each.started_s + 1, **at)  # type: ignore[arg-type]
        for each in attempts
    )


def failed_with(error_kind: str, attempts: tuple[AttemptSeen, ...], **seen: object) -> set[Breach]:
    story = Story(job_id=JOB, state="failed", error="why", error_kind=error_kind, attempts=attempts)
    return breaches(history_of(story, objects={}, runs=(), **{"harms": harmed(attempts)} | seen))


def test_a_sound_job_that_fails_before_its_attempts_are_used_up_is_found() -> None:
    assert failed_with("transient", ended("failed", *["transient"] * 3)) == set()
    assert failed_with("transient", ended("failed", "transient")) == {Breach.REASON}
    assert failed_with("machine", ended("failed", "machine")) == {Breach.REASON}
    # What a machine or a place is at fault for is not counted.
    assert failed_with("transient", ended("failed", "machine", "transient", "place")) == {Breach.REASON}


def test_a_sound_job_that_fails_as_poison_without_three_deaths_is_found() -> None:
    attempts = ended("lost", *["machine"] * 3)
    deaths = tuple(Death(worker="a", at_s=each.started_s + 1) for each in attempts)
    soon = Bounds(reach_s=2.0)

    assert failed_with("poison", attempts, deaths=deaths, bounds=soon) == set()
    assert failed_with("poison", attempts, deaths=deaths[:2], exits=deaths[2:], bounds=soon) == set()
    assert failed_with("poison", attempts, deaths=deaths[:2], bounds=soon) == {Breach.REASON}
    # Its worker lived: it was cut off, three times.
    assert failed_with("poison", attempts, bounds=soon) == {Breach.REASON}
    assert failed_with("poison", ended("failed", *["machine"] * 5)) == set()
    assert failed_with("poison", ended("failed", *["machine"] * 4)) == {Breach.REASON}


@pytest.mark.parametrize(
    ("silent_until_s", "died_s", "is_due"),
    [
        pytest.param(40.0, None, True, id="silent-until-it-was-judged"),
        pytest.param(33.5, None, True, id="its-way-back-takes-a-moment"),
        pytest.param(20.0, None, False, id="heard-of-before"),
        pytest.param(20.0, 18.0, True, id="died-before-it-was-heard-of"),
        pytest.param(20.0, 25.0, False, id="died-after-it-was-heard-of"),
    ],
)
def test_a_worker_that_is_cut_off_counts_as_lost_while_nobody_hears_of_it(
    silent_until_s: float, died_s: float | None, is_due: bool
) -> None:
    first, *others = ended("lost", *["machine"] * 3)
    attempts = (replace(first, worker="b"), *others)
    cut = Harm(kind="silence", since_s=11.0, until_s=silent_until_s, explains=frozenset({"lost"}), worker="b")
    deaths = [Death(worker="a", at_s=each.started_s + 1) for each in others]
    if died_s is not None:
        deaths.append(Death(worker="b", at_s=died_s))

    found = failed_with(
        "poison", attempts, harms=(cut, *harmed(attempts)), deaths=tuple(deaths), bounds=Bounds(reach_s=2.0)
    )

    assert found == (set() if is_due else {Breach.REASON})


@pytest.mark.parametrize(("cut_at_s", "is_excused"), [(2.0, True), (0.0, True), (9.0, False)])
def test_an_attempt_that_is_given_back_is_excused_by_a_cut_at_its_claim_alone(
    cut_at_s: float, is_excused: bool
) -> None:
    attempt = AttemptSeen(attempt=1, worker="a", outcome="released", started_s=2.0, ended_s=12.0)
    cut = Harm(
        kind="silence", since_s=cut_at_s, until_s=cut_at_s + 1, explains=frozenset({"lost"}), worker="a"
    )
    story = Story(job_id=JOB, state="canceled", attempts=(attempt,))

    found = breaches(history_of(story, objects={}, runs=(), harms=(cut,), bounds=Bounds(reach_s=2.0)))

    assert (Breach.CAUSE in found) is not is_excused


@pytest.mark.parametrize("outcome", ["lost", "failed", "released", "unpublished"])
def test_an_attempt_that_comes_to_nothing_without_a_fault_is_found(outcome: str) -> None:
    first, second = GOOD.attempts
    story = replace(GOOD, attempts=(replace(first, outcome=outcome), second))
    fault = replace(KILL, explains=frozenset({outcome}))

    def with_harms(*harms: Harm) -> set[Breach]:
        return breaches(history_of(story, harms=harms, runs=RUNS[1:]))

    assert with_harms(fault) == set()
    assert with_harms() == {Breach.CAUSE}
    assert with_harms(replace(fault, worker="b")) == {Breach.CAUSE}
    assert with_harms(replace(fault, job_id="b" * 32)) == {Breach.CAUSE}
    assert with_harms(replace(fault, since_s=2.5, until_s=2.5)) == {Breach.CAUSE}
    assert with_harms(replace(fault, explains=frozenset({"something else"}))) == {Breach.CAUSE}


def test_a_job_that_is_rendered_again_and_again_without_a_fault_is_found() -> None:
    third = Run(job_id=JOB, attempt=2, started_s=60.0, worker="a")

    assert breaches(history_of(GOOD)) == set()
    assert breaches(history_of(GOOD, runs=(*RUNS, third))) == {Breach.CAUSE}
    assert breaches(history_of(GOOD, harms=())) == {Breach.CAUSE}


def test_two_jobs_for_one_idempotency_key_are_found() -> None:
    assert breaches(history_of(GOOD, submissions=(("k", JOB), ("k", JOB), ("l", "b" * 32)))) == set()
    assert breaches(history_of(GOOD, submissions=(("k", JOB), ("k", "b" * 32)))) == {Breach.DOUBLED}


def waited(name: str, since_s: float, begun_s: float | None, *, priority: int = 5) -> Story:
    end = "canceled" if begun_s is None else "running"
    return Story(
        job_id=name,
        state="canceled",
        queue="render.8",
        priority=priority,
        states=(
            StateSeen(state="queued", attempt=0, at_s=since_s),
            StateSeen(state=end, attempt=1, at_s=500.0 if begun_s is None else begun_s),
        ),
    )


def order_of(*stories: Story) -> set[Breach]:
    told = {story.job_id: story for story in stories}
    return breaches(History(accepted=tuple(told), stories=told, bounds=Bounds(passed_over_s=30.0)))


def test_a_job_that_waits_while_younger_ones_are_begun_again_and_again_is_found() -> None:
    younger = [waited(f"young{begun}", 2, begun) for begun in (20, 40, 60)]

    assert order_of(waited("old", 1, 100), *younger) == {Breach.ORDER}
    assert order_of(waited("old", 1, None), *younger) == {Breach.ORDER}
    assert order_of(waited("old", 1, 50), *younger) == set()
    assert order_of(waited("old", 1, 10), *younger) == set()


def test_a_job_that_waits_while_less_urgent_ones_are_begun_again_and_again_is_found() -> None:
    idle = [waited(f"idle{begun}", 2, begun, priority=9) for begun in (20, 60)]

    assert order_of(waited("urgent", 10, 200, priority=1), *idle) == {Breach.ORDER}
    assert order_of(waited("urgent", 30, 200, priority=1), *idle) == set()


def test_a_job_may_wait_as_long_as_more_urgent_ones_are_begun() -> None:
    more_urgent = [waited(f"more{begun}", begun - 1, begun, priority=1) for begun in range(30, 200, 20)]

    assert order_of(waited("old", 1, 300), waited("young", 2, 20), *more_urgent) == set()
    # It was passed over at 20 s and at 210 s, each time for a moment.
    assert order_of(waited("old", 1, 300), waited("young", 2, 20), waited("b", 2, 210), *more_urgent) == set()


def test_a_job_that_failed_on_a_worker_is_not_passed_over_by_what_that_one_begins() -> None:
    def begun(name: str, at_s: float, worker: str) -> Story:
        by = AttemptSeen(attempt=1, worker=worker, outcome="succeeded", started_s=at_s, ended_s=at_s)
        return replace(waited(name, 2, at_s), attempts=(by,))

    failed = AttemptSeen(attempt=0, worker="w", outcome="failed", started_s=0, ended_s=1, error_kind="job")
    harm = Harm(kind="any", since_s=0, until_s=1, explains=frozenset({"failed"}))
    old = replace(waited("old", 1, 100), attempts=(failed,))

    def order(worker: str) -> set[Breach]:
        told = {each.job_id: each for each in (old, begun("young", 20, worker), begun("b", 80, worker))}
        return breaches(History(accepted=tuple(told), stories=told, harms=(harm,)))

    assert order("w") == set()
    assert order("v") == {Breach.ORDER}


def test_a_job_that_is_kept_for_the_worker_that_has_its_files_is_not_passed_over() -> None:
    kept = StateSeen(state="queued", attempt=1, at_s=1.0, held=True)
    later = replace(waited("old", 1, 100), states=(kept, StateSeen(state="running", attempt=2, at_s=100)))

    assert order_of(later, waited("young", 2, 20), waited("b", 2, 80)) == set()


def test_a_retry_that_waits_for_its_time_is_not_passed_over_by_others() -> None:
    waits = StateSeen(state="queued", attempt=1, at_s=1.0, retry_in_s=95.0)
    retried = replace(waited("old", 1, 100), states=(waits, StateSeen(state="running", attempt=2, at_s=100)))

    assert order_of(retried, waited("young", 2, 20), waited("b", 2, 80)) == set()


def dead(taken_after_s: float, **facts: object) -> set[Breach]:
    """A job whose worker died at 10 s, and that was taken from it so many seconds later."""
    lost = AttemptSeen(attempt=1, worker="a", outcome="lost", started_s=5, ended_s=10 + taken_after_s)
    states = told(("queued", 0, ""), ("running", 1, ""), ("queued", 1, "lost"), ("canceled", 1, ""))
    story = Story(job_id=JOB, state="canceled", attempts=(lost,), states=states)
    bounds = Bounds(lease_s=15, repair_s=2, slack_s=10)
    plain = {"objects": {}, "bounds": bounds, "deaths": (Death(worker="a", at_s=10),)}
    plain |= {"harms": (replace(KILL, since_s=10, until_s=10),), "runs": ()}
    return breaches(history_of(story, **plain | facts))


def test_a_job_that_is_left_with_a_dead_worker_is_found() -> None:
    assert dead(17) == set()
    assert dead(60) == {Breach.RECOVERY}


def test_a_job_that_is_left_with_a_dead_worker_for_many_short_leases_is_found() -> None:
    quick = Bounds(lease_s=2, repair_s=2, slack_s=5)

    assert dead(8, bounds=quick) == set()
    assert dead(26, bounds=quick) == {Breach.RECOVERY}


def test_a_free_worker_that_stands_beside_a_job_that_was_lost_is_found() -> None:
    first, second = (
        replace(each, started_s=at, ended_s=at + 4) for each, at in zip(GOOD.attempts, (1, 60), strict=True)
    )
    states = (StateSeen(state="queued", attempt=1, at_s=5), StateSeen(state="running", attempt=2, at_s=60))
    story = replace(GOOD, attempts=(first, second), states=(*states, replace(states[1], state="succeeded")))
    other = replace(waited("other", 0, 6), attempts=(replace(second, started_s=6, ended_s=59),))
    other = replace(other, state="succeeded", artifacts=(Stored(key="jobs/other/clip", sha256="1"),))
    other = replace(other, accepted_prefix="jobs/other/")

    def beside(**facts: object) -> set[Breach]:
        seen = history_of(story, deaths=(Death(worker="a", at_s=2),), runs=(), **facts)
        objects = {**seen.objects, "jobs/other/clip": "1"}
        return breaches(replace(seen, stories={**seen.stories, "other": other}, objects=objects))

    assert beside() == set()  # nobody was there to take it
    assert beside(able={"b": ((0.0, 100.0),)}) == set()  # b had another job in hand
    assert beside(able={"c": ((0.0, 100.0),)}) == {Breach.RECOVERY}
    assert beside(able={"c": ((0.0, 6.0), (55.0, 100.0))}) == set()
    assert beside(able={"c": ((0.0, 100.0),)}, outages=((0.0, 100.0),)) == set()


def test_a_repair_waits_for_the_store_and_is_not_blamed_for_that() -> None:
    assert dead(60, outages=((0.0, 12.0), (11.0, 45.0))) == set()
    assert dead(60, outages=((0.0, 12.0), (100.0, 200.0))) == {Breach.RECOVERY}


def test_what_was_not_cleared_away_is_found() -> None:
    assert breaches(history_of(GOOD, leftovers={"leases": 0})) == set()
    assert breaches(history_of(GOOD, leftovers={"leases": 1})) == {Breach.LEFTOVER}


def test_a_file_of_an_attempt_that_nobody_names_is_found() -> None:
    orphan = f"jobs/{JOB}/1/clip.mp4"

    assert breaches(history_of(GOOD, objects={CLIP: "11", orphan: "11"}, cleared=True)) == {Breach.LEFTOVER}
    # A worker that is killed leaves some; they may stay until somebody clears up.
    assert breaches(history_of(GOOD, objects={CLIP: "11", orphan: "11"})) == set()
