"""The real scripts against a plain model, `MemoryJobStore`: whatever is done to both, they agree.

Time does not pass by itself here: leases, waits and notifications run out when a rule says so, in both.
"""

from __future__ import annotations

import copy
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import permutations
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from pydantic import SecretStr

from farm.errors import FarmError
from farm.job import PUBLISHING, ErrorKind, EventKind, JobRecord, JobState, Progress
from farm.settings.redis import RedisSettings
from farm.status.not_fetching import NotFetching
from farm.status.worker import WorkerStatus
from farm.store.base import Claim, NewEvent, StoreLimits, Swept
from farm.store.redis.store import RedisJobStore, connect
from farm.store.roles import JobStore
from farm.testing import MemoryJobStore, PlainNotifier
from tests.support.jobs import QUEUE, a_job, a_result, an_error

LIMITS = StoreLimits(
    lease_s=3600,
    notify_again_after_s=3600,
    avoid_s=3600,
    retention_s=86400,
    max_lost_publishing=2,  # so that the rules come to it
)
LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)
FAR_MS = 4_000_000_000_000
PRIORITIES = (2, 5)
WORKERS = st.sampled_from(["w1", "w2", "w3"])
ERRORS = st.sampled_from([ErrorKind.JOB, ErrorKind.TRANSIENT, ErrorKind.MACHINE, ErrorKind.UNSUITABLE])


TIMED = replace(
    a_result("one"), timings_s={"queue": 0.0, "execute": 31.0, "attempt": 40_000.0, "unheard of": 1.0}
)

Act = Callable[[JobStore, str, int], Any]  # store, job, its attempt before the race


def _claim_as(worker: str) -> Act:
    def claim(store: JobStore, job_id: str, _attempt: int) -> Any:
        answer = store.claim(job_id, worker=worker)
        return answer.attempt if isinstance(answer, Claim) else answer

    return claim


def _take(store: JobStore, _job_id: str, _attempt: int) -> Any:
    """The part of a sweep that takes jobs from workers that were not heard of."""
    if isinstance(store, RedisJobStore):
        found = store._run(
            "sweep_leases",
            LIMITS.sweep_batch,
            f"{LIMITS.lease_s:g}",
            LIMITS.max_lost_attempts,
            LIMITS.max_lost_publishing,
        )
        return [job_id.decode() for job_id in found]
    assert isinstance(store, MemoryJobStore)
    with store._lock:
        lost = [kept for kept in store._in(JobState.RUNNING) if store._lease_is_over(kept)]
        for kept in lost:
            store._take(kept)
    return [kept.record.job_id for kept in lost]


# What may happen to one job at the same moment: three claimers, the last words of the attempt that runs
# and of one that a racing claim may begin, a cancel, a retry, two stewards.
RACES: dict[str, Act] = {
    **{f"claim by {worker}": _claim_as(worker) for worker in ("w1", "w2", "w3")},
    "renew": lambda store, job_id, attempt: store.renew(job_id, attempt),
    "succeed": lambda store, job_id, attempt: store.succeed(job_id, attempt, TIMED),
    "succeed next": lambda store, job_id, attempt: store.succeed(job_id, attempt + 1, a_result("two")),
    "fail": lambda store, job_id, attempt: store.fail(job_id, attempt, an_error(), retry_in_s=0),
    "release": lambda store, job_id, attempt: store.release(job_id, attempt, reason="drain"),
    "cancel": lambda store, job_id, _attempt: store.cancel(job_id),
    "end canceled": lambda store, job_id, attempt: store.end_canceled(job_id, attempt),
    "retry": lambda store, job_id, _attempt: store.retry(job_id),
    "pause": lambda store, job_id, _attempt: store.pause([job_id]),
    "resume": lambda store, job_id, _attempt: store.resume([job_id]),
    "steward": _take,
    "another steward": _take,
}


# Of each model: who waits for its news.
_ITS_OWN = {"_lock", "_news", "_feeds"}


def copied(model: MemoryJobStore) -> MemoryJobStore:
    """A model to try things on."""
    other = MemoryJobStore(model.limits)
    kept = {name: value for name, value in vars(model).items() if name not in _ITS_OWN}
    vars(other).update(copy.deepcopy(kept))
    return other


class BothStores(RuleBasedStateMachine):
    """Every rule does the same to both stores and compares what they answer."""

    url: str
    jobs: Bundle[str] = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.namespace = f"m{uuid.uuid4().hex[:12]}"
        self.notifier = PlainNotifier(f"{{{self.namespace}}}:q:")
        redis_settings = RedisSettings.read(url=SecretStr(self.url), namespace=self.namespace)
        self.real = connect(redis_settings, LIMITS, self.notifier)
        self.model = MemoryJobStore(LIMITS)
        self.client = redis.Redis.from_url(self.url)
        self.known: list[str] = []

    def both(self, act: Callable[[JobStore], Any]) -> Any:
        """The answer of the real store, which is the model's as well."""
        answers = []
        for store in (self.real, self.model):
            try:
                answers.append(act(store))
            except FarmError as exc:
                answers.append((type(exc), str(exc)))
        assert answers[0] == answers[1]
        return answers[0]

    def key(self, name: str) -> str:
        return f"{{{self.namespace}}}:{name}"

    def attempt(self, job_id: str, off: int) -> int:
        return self.model.get(job_id).attempt + off

    # -- moves -------------------------------------------------------------------------------------

    @rule(
        target=jobs,
        priority=st.sampled_from(PRIORITIES),
        max_attempts=st.integers(1, 2),
        key=st.sampled_from([None, None, "k1", "k2"]),
        late=st.sampled_from([False, False, False, True]),
        labels=st.lists(st.sampled_from(["a", "b"]), max_size=2),
        parked=st.sampled_from([None, None, None, "no worker fits"]),
    )
    def submit(
        self,
        priority: int,
        max_attempts: int,
        key: str | None,
        late: bool,
        labels: list[str],
        parked: str | None,
    ) -> Any:
        job = a_job(
            # Ids in the order of submission: with all times alike, Redis sorts by id.
            job_id=f"job-{len(self.known):08d}",
            priority=priority,
            max_attempts=max_attempts,
            idempotency_key=key,
            deadline=LONG_AGO if late else None,
            labels=labels,
            parked=parked,
        )
        self.both(lambda store: store.submit([job]))
        try:
            self.model.get(job.job_id)
        except FarmError:
            return multiple()
        self.known.append(job.job_id)
        return job.job_id

    @rule(job_ids=st.lists(jobs, max_size=3, unique=True))
    def unpark(self, job_ids: list[str]) -> None:
        self.both(lambda store: store.unpark(job_ids, reason="one has come"))

    @rule(job_id=jobs, worker=WORKERS)
    def claim(self, job_id: str, worker: str, priority: int | None = None) -> None:
        def claimed(store: JobStore) -> Any:
            answer = store.claim(job_id, worker=worker, priority=priority)
            return (answer.attempt, answer.spec) if isinstance(answer, Claim) else answer

        self.both(claimed)
        # A refused claim asks for a notification one second from now. That must not come by itself.
        self._set_due(job_id, FAR_MS)

    @rule(job_id=jobs, off=st.integers(-1, 1))
    def renew(self, job_id: str, off: int) -> None:
        attempt = self.attempt(job_id, off)
        self.both(lambda store: store.renew(job_id, attempt))

    @rule(job_id=jobs, off=st.sampled_from([0, 0, -1]), step=st.integers(0, 9))
    def report(self, job_id: str, off: int, step: int) -> None:
        attempt = self.attempt(job_id, off)
        events = [NewEvent(kind=EventKind.LOG, data={"line": step, "none": None, "list": []})]
        progress = Progress(phase="vae", fraction=step / 10)
        self.both(lambda store: store.report(job_id, attempt, events, progress=progress))

    @rule(job_id=jobs, off=st.sampled_from([0, 0, -1]))
    def succeed(self, job_id: str, off: int) -> None:
        attempt = self.attempt(job_id, off)
        self.both(lambda store: store.succeed(job_id, attempt, a_result(f"{attempt}")))

    @rule(
        job_id=jobs, off=st.sampled_from([0, 0, -1]), kind=ERRORS, retry_in_s=st.sampled_from([None, 0, 60])
    )
    def fail(self, job_id: str, off: int, kind: ErrorKind, retry_in_s: float | None) -> None:
        attempt = self.attempt(job_id, off)
        self.both(lambda store: store.fail(job_id, attempt, an_error(kind), retry_in_s=retry_in_s))

    @rule(job_id=jobs, worker=WORKERS, doubt=st.sampled_from(["one way", "another way"]))
    def a_worker_takes_it_and_it_fails_in_doubt(self, job_id: str, worker: str, doubt: str) -> None:
        self.the_worker_is_forgiven(job_id)
        self.claim(job_id, worker)
        attempt, error = self.attempt(job_id, 0), an_error(ErrorKind.JOB)
        self.both(lambda store: store.fail(job_id, attempt, error, retry_in_s=0, doubt=doubt))

    @rule(job_id=jobs, off=st.sampled_from([0, 0, -1]))
    def release(self, job_id: str, off: int) -> None:
        attempt = self.attempt(job_id, off)
        self.both(lambda store: store.release(job_id, attempt, reason="drain"))

    @rule(job_id=jobs, off=st.sampled_from([0, 0, -1]))
    def end_canceled(self, job_id: str, off: int) -> None:
        attempt = self.attempt(job_id, off)
        self.both(lambda store: store.end_canceled(job_id, attempt))

    @rule(job_id=jobs)
    def cancel(self, job_id: str) -> None:
        self.both(lambda store: store.cancel(job_id, reason="why not"))

    @rule(job_ids=st.lists(jobs, max_size=3))
    def cancel_many(self, job_ids: list[str]) -> None:
        self.both(lambda store: store.cancel_many(job_ids, reason="all of them"))

    @rule(job_ids=st.lists(jobs, max_size=3, unique=True))
    def pause(self, job_ids: list[str]) -> None:
        self.both(lambda store: store.pause(job_ids))

    @rule(job_ids=st.lists(jobs, max_size=3, unique=True))
    def resume(self, job_ids: list[str]) -> None:
        self.both(lambda store: store.resume(job_ids))

    @rule(job_ids=st.lists(jobs, max_size=3, unique=True), priority=st.sampled_from(PRIORITIES))
    def prioritize(self, job_ids: list[str], priority: int) -> None:
        self.both(lambda store: store.prioritize(job_ids, priority))

    @rule(job_id=jobs, worker=WORKERS, priority=st.sampled_from(PRIORITIES))
    def claim_by_a_message_of_a_priority(self, job_id: str, worker: str, priority: int) -> None:
        self.claim(job_id, worker, priority)

    @rule(job_id=jobs)
    def retry(self, job_id: str) -> None:
        self.both(lambda store: store.retry(job_id))

    @rule()
    def sweep(self) -> None:
        self.both(lambda store: _by_priority_queue(store.sweep()))

    @rule(
        job_id=jobs,
        acts=st.lists(st.sampled_from(sorted(RACES)), min_size=2, max_size=4, unique=True),
        late=st.booleans(),
    )
    def several_at_once(self, job_id: str, acts: list[str], late: bool) -> None:
        """What happens at one moment happens in some order, and the model does the same in that order."""
        if late:
            self.the_lease_runs_out(job_id)
        attempt = self.attempt(job_id, 0)
        gate = threading.Barrier(len(acts))

        def act(name: str) -> Any:
            gate.wait()
            return answer_of(RACES[name], self.real, job_id, attempt)

        with ThreadPoolExecutor(len(acts)) as pool:
            answers = dict(zip(acts, pool.map(act, acts), strict=True))
        self._set_due(job_id, FAR_MS)
        found = self.real.get(job_id)
        for order in permutations(acts):
            model = copied(self.model)
            told = {name: answer_of(RACES[name], model, job_id, attempt) for name in order}
            if told == answers and _timeless(model.get(job_id)) == _timeless(found):
                self.model = model
                self._set_due(job_id, FAR_MS)
                return
        raise AssertionError(f"no order of these gives what Redis said: {answers}, {found}")

    @rule(worker=WORKERS, gib=st.sampled_from([8, 24, 48]), away=st.booleans())
    def a_worker_lives(self, worker: str, gib: int, away: bool) -> None:
        reasons = (NotFetching.DRAINED,) if away else ()
        status = WorkerStatus(name=worker, vram_gib=gib, not_fetching=reasons)
        self.both(lambda store: store.put_worker(status, ttl_s=3600))

    @rule(worker=WORKERS)
    def a_worker_leaves(self, worker: str) -> None:
        self.both(lambda store: store.drop_worker(worker))

    # -- what goes wrong, and time that passes -----------------------------------------------------

    @rule(job_id=jobs)
    def the_lease_runs_out(self, job_id: str) -> None:
        self.client.zadd(self.key("leases"), {job_id: 1}, xx=True)
        kept = self.model._jobs[job_id]
        if kept.record.lease_until is not None:
            self.model._set(kept, lease_until=LONG_AGO)

    @rule(job_id=jobs, worker=WORKERS, phase=st.sampled_from(["vae", PUBLISHING]))
    def a_worker_takes_it_and_dies(self, job_id: str, worker: str, phase: str) -> None:
        self.claim(job_id, worker)
        attempt, progress = self.attempt(job_id, 0), Progress(phase=phase, fraction=0.5)
        self.both(lambda store: store.report(job_id, attempt, [], progress=progress))
        self.the_lease_runs_out(job_id)
        self.sweep()

    @rule(job_id=jobs, worker=WORKERS, phase=st.sampled_from(["vae", PUBLISHING]))
    def a_worker_takes_it_and_is_cut_off_for_a_while(self, job_id: str, worker: str, phase: str) -> None:
        self.claim(job_id, worker)
        tokens: dict[JobStore, str] = {
            store: store.get(job_id).token or "none" for store in (self.real, self.model)
        }
        attempt, progress = self.attempt(job_id, 0), Progress(phase=phase, fraction=0.5)
        self.both(lambda store: store.report(job_id, attempt, [], progress=progress))
        self.the_lease_runs_out(job_id)
        self.sweep()
        self.both(lambda store: store.renew(job_id, attempt, token=tokens[store]))

    @rule(job_id=jobs)
    def the_retry_time_comes(self, job_id: str) -> None:
        self._set_due(job_id, 1)
        kept = self.model._jobs[job_id]
        if kept.record.not_before is not None:
            self.client.hset(self.key(f"job:{job_id}"), "not_before", 1)
            self.model._set(kept, not_before=LONG_AGO)

    @rule(job_id=jobs)
    def the_worker_is_forgiven(self, job_id: str) -> None:
        self.client.hdel(self.key(f"job:{job_id}"), "avoid")
        self.model._jobs[job_id].avoid.clear()

    @rule(priority=st.sampled_from(PRIORITIES))
    def messages_vanish(self, priority: int) -> None:
        self.client.delete(self.notifier.list_key(QUEUE, priority))
        self.model._notifications.pop((priority, QUEUE), None)

    @rule(priority=st.sampled_from(PRIORITIES))
    def a_message_is_popped(self, priority: int) -> None:
        message = self.client.rpop(self.notifier.list_key(QUEUE, priority))
        popped = self.notifier.job_id_of(message) if isinstance(message, bytes) else None
        assert popped == self.model.pop_notification(QUEUE, priority)

    @rule()
    def nobody_notified_for_long(self) -> None:
        for job_id in self.known:
            kept = self.model._jobs[job_id]
            kept.notified = 0.0
            if kept.record.state is JobState.QUEUED:
                self.client.hset(self.key(f"job:{job_id}"), "rung", 1)

    def _set_due(self, job_id: str, ms: int) -> None:
        self.client.zadd(self.key("due"), {job_id: ms}, xx=True)
        kept = self.model._jobs[job_id]
        if kept.due is not None:
            kept.due = ms / 1000

    # -- what always holds -------------------------------------------------------------------------

    @invariant()
    def records_agree(self) -> None:
        for job_id in self.known:
            assert _timeless(self.real.get(job_id)) == _timeless(self.model.get(job_id))

    @invariant()
    def queues_agree(self) -> None:
        real = []
        for priority in PRIORITIES:
            messages: Any = self.client.lrange(self.notifier.list_key(QUEUE, priority), 0, -1)
            real += [self.notifier.job_id_of(message) for message in reversed(messages)]
        assert real == self.model.notifications(QUEUE)

    @invariant()
    def listings_agree(self) -> None:
        self.both(lambda store: store.counts())
        self.both(lambda store: store.tally())
        for state, label in ((None, None), (None, "a"), (JobState.QUEUED, "b")):
            self.both(partial(_listed, state=state, label=label))

    @invariant()
    def every_index_says_the_same(self) -> None:
        records = [self.model.get(job_id) for job_id in self.known]
        waiting = {r.job_id for r in records if r.state is JobState.QUEUED}
        delayed = {r.job_id for r in records if r.not_before is not None}
        assert self._members("leases") == {r.job_id for r in records if r.state is JobState.RUNNING}
        assert self._members("finished") == {r.job_id for r in records if r.state.final}
        for state in JobState:
            assert self._members(f"state:{state}") == {r.job_id for r in records if r.state is state}
        queued = set().union(*(self._members(f"lane:{priority}:{QUEUE}") for priority in PRIORITIES))
        parked = {r.job_id for r in records if r.parked is not None}
        assert self._members("parked") == parked
        paused = {r.job_id for r in records if r.paused_at is not None}
        assert queued == waiting - delayed - parked - paused
        assert delayed - paused <= self._members("due") <= waiting - paused
        assert self._members("deadlines") <= waiting

    def _members(self, index: str) -> set[str]:
        members: Any = self.client.zrange(self.key(index), 0, -1)
        return {member.decode() for member in members}

    def teardown(self) -> None:
        for job_id in self.known:
            self.both(partial(_told, job_id=job_id))
        self.close()

    def close(self) -> None:
        """Leave nothing behind."""
        for key in self.client.scan_iter(match=self.key("*"), count=1000):
            self.client.delete(key)
        self.client.close()
        self.real.close()


def answer_of(act: Act, store: JobStore, job_id: str, attempt: int) -> Any:
    """What the store says, a refusal among it."""
    try:
        return act(store, job_id, attempt)
    except FarmError as exc:
        return type(exc), str(exc)


def _by_priority_queue(swept: Swept) -> Swept:
    """The order of notifications means something only within a priority queue: each is a list of its own."""
    return replace(
        swept,
        notifications=tuple(
            sorted(swept.notifications, key=lambda notification: (notification.queue, notification.priority))
        ),
    )


def _listed(store: JobStore, *, state: JobState | None, label: str | None) -> list[str]:
    return [job.job_id for job in store.find(limit=100, state=state, label=label).jobs]


def _told(store: JobStore, *, job_id: str) -> list[tuple[EventKind, dict[str, Any]]]:
    return [(event.kind, event.data) for event in store.events(job_id, limit=1000)]


def _timeless(record: JobRecord) -> dict[str, Any]:
    """A record without times and token, on which two stores never agree; that there is one, they must."""
    fields = {name: getattr(record, name) for name in JobRecord.__dataclass_fields__}
    for name in (
        "submitted_at",
        "started_at",
        "claimed_at",
        "finished_at",
        "lease_until",
        "not_before",
        "paused_at",
        "token",
    ):
        fields[name] = fields[name] is not None
    fields["attempts"] = [(note.attempt, note.worker, note.outcome, note.error) for note in record.attempts]
    return fields


def bound_to(url: str) -> type[BothStores]:
    """The machine for one server."""
    return type("BothStoresThere", (BothStores,), {"url": url})


def test_the_scripts_do_what_the_model_does(valkey_url: str) -> None:
    run_state_machine_as_test(
        bound_to(valkey_url),
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_two_claims_that_are_both_granted_are_found_out(
    valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = bound_to(valkey_url)()
    job_id = stores.submit(priority=5, max_attempts=1, key=None, late=False, labels=[], parked=None)
    # As if the state was not looked at: each claimer gets the first attempt.
    monkeypatch.setitem(RACES, "claim by w1", lambda store, *_: 1 if store is stores.real else None)
    monkeypatch.setitem(RACES, "claim by w2", lambda store, *_: 1 if store is stores.real else None)

    with pytest.raises(AssertionError, match="no order of these"):
        stores.several_at_once(job_id=job_id, acts=["claim by w1", "claim by w2"], late=False)
    stores.close()


def test_a_model_that_forgets_a_cancel_is_found_out(valkey_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryJobStore, "_end_canceled", lambda self, kept: False)
    stores = bound_to(valkey_url)()
    job_id = stores.submit(priority=5, max_attempts=1, key=None, late=False, labels=[], parked=None)
    stores.claim(job_id=job_id, worker="w1")
    stores.cancel(job_id=job_id)

    with pytest.raises(AssertionError):
        stores.succeed(job_id=job_id, off=0)
    stores.close()


@pytest.mark.parametrize(
    "acts", [["another steward", "cancel"], ["steward", "renew"], ["pause", "resume"]], ids=str
)
def test_a_worker_that_was_there_before_several_acts_is_remembered_after_them(
    valkey_url: str, acts: list[str]
) -> None:
    stores = bound_to(valkey_url)()
    stores.a_worker_lives(away=False, gib=24, worker="w1")
    job_id, other = (
        str(stores.submit(key=None, labels=[], late=False, max_attempts=1, parked=None, priority=2))
        for _ in range(2)
    )
    stores.several_at_once(acts=acts, job_id=other, late=False)
    stores.a_worker_leaves(worker="w1")

    stores.a_worker_takes_it_and_it_fails_in_doubt(doubt="one way", job_id=job_id, worker="w2")

    assert stores.real.get(job_id).state is JobState.QUEUED
    stores.queues_agree()
    stores.close()


def test_a_message_that_came_after_a_sweep_saw_the_whole_queue_is_seen_by_the_next(valkey_url: str) -> None:
    stores = bound_to(valkey_url)()
    submit = partial(stores.submit, key=None, labels=[], late=False, max_attempts=1, parked=None, priority=2)
    stores.a_worker_takes_it_and_dies(job_id=str(submit()), phase="vae", worker="w1")
    stores.sweep()

    stores.a_worker_takes_it_and_it_fails_in_doubt(doubt="one way", job_id=str(submit()), worker="w1")

    for _ in range(3):
        stores.sweep()
        stores.queues_agree()
    stores.close()
