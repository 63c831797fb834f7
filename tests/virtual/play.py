"""Plays a plan under a virtual clock, and holds what came of it against the promise."""

from __future__ import annotations

import contextlib
import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final
from unittest import mock

import redis

from farm.errors import FarmError, JobNotFound, NotDurable, StoreUnavailable
from farm.job import JobRecord, JobState, queue_for
from farm.store.base import Notification, StoreLimits
from tests.chaos.checker import Violation, check
from tests.chaos.history import Bounds, Harm, History, Story
from tests.chaos.stories import states_in, story_of
from tests.support.jobs import a_job
from tests.virtual.fleet import (
    GRACE_S,
    NAMESPACE,
    NOTIFIER,
    RENEW_S,
    SWEEP_S,
    PlayedComfy,
    PlayedWorker,
    World,
)
from tests.virtual.loop import Loop, Process
from tests.virtual.plan import Durability, Fault, Plan, PlannedFault, PlannedJob
from tests.virtual.valkey import Trap, VirtualValkey
from worker.jobs.context import RenderContext
from worker.results.rendered import Rendered

CLASSES_GIB: Final = (24, 16)  # the larger first, as workers take them
_ROOT: Final = f"{{{NAMESPACE}}}:"
_LOOK_S: Final = 1.0
_LEAP_S, _BEFORE_S = 120.0, 30.0  # so long a wait is worth a leap, which ends so long before it is over
_CALM_S: Final = 3 * 3600.0  # for all to end; no wait of the farm is longer
_OUTAGE_AFTER_S: Final = GRACE_S + 2.0 + 2 * SWEEP_S  # until repair begins again


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What came of a plan."""

    plan: Plan
    history: History
    violations: tuple[Violation, ...]
    moves: int  # scripts that Valkey carried out
    seams: frozenset[tuple[str, bool]]  # at which a fault struck; False: before what they are named for
    virtual_s: float
    real_s: float


def play(plan: Plan, server: redis.Redis, folder: Path, *, calm_s: float = _CALM_S) -> Played:
    """Play it to its end; `calm_s` is how long everything may take to end afterwards."""
    began = time.monotonic()
    loop = Loop(plan.seed)
    valkey = VirtualValkey(loop, server)
    valkey.durability = plan.durability
    began_s = loop.now_s
    world = World(
        loop=loop,
        valkey=valkey,
        folder=folder,
        limits=StoreLimits(),
        queues=tuple(map(queue_for, CLASSES_GIB)),
        waits_for_file=plan.durability is Durability.WAITED_FOR,
    )
    with loop.in_charge(), mock.patch("worker.jobs.tries.render", _render):
        stage = _Stage(world, plan)
        try:
            history = stage.play(calm_s)
        finally:
            loop.close()
            valkey.close()
    return Played(
        plan=plan,
        history=history,
        violations=tuple(check(history)),
        moves=valkey.moves,
        seams=frozenset(valkey.sprung),
        virtual_s=loop.now_s - began_s,
        real_s=time.monotonic() - began,
    )


def shrink(plan: Plan, fails: Callable[[Plan], bool]) -> Plan:
    """A smaller plan that fails as well: parts of it are left out, halves first and single ones last."""
    for field in ("faults", "jobs"):
        share = max(1, len(getattr(plan, field)) // 2)
        while share:
            at = 0
            while at < len(getattr(plan, field)):
                parts = getattr(plan, field)
                smaller = replace(plan, **{field: parts[:at] + parts[at + share :]})
                if fails(smaller):
                    plan = smaller
                else:
                    at += share
            share //= 2
    return plan


def _render(context: RenderContext) -> Rendered:
    assert isinstance(context.comfy, PlayedComfy)
    return context.comfy.render(context)


class _Stage:
    def __init__(self, world: World, plan: Plan) -> None:
        self._world = world
        self._plan = plan
        self._loop = world.loop
        self._people = Process("people")
        self._store = world.store_of(self._people)
        self._accepted: dict[str, float] = {}  # id -> when `submit` returned
        self._unsafe: set[str] = set()  # those of which it said that a power cut may take them
        self._submissions: list[tuple[str, str]] = []
        self._canceled: dict[str, float] = {}
        self._workers: list[PlayedWorker] = []
        self._does: dict[Fault, Callable[[PlannedFault, PlayedWorker], None]] = {
            Fault.KILL: lambda _, worker: worker.kill(),
            Fault.KILL_AT_SEAM: lambda each, worker: self._trap(each, worker, worker.kill),
            Fault.FREEZE: lambda each, worker: worker.freeze(each.lasts_s),
            Fault.FREEZE_AT_SEAM: lambda each, worker: self._trap(
                each, worker, lambda: worker.freeze(each.lasts_s)
            ),
            Fault.TERMINATE: lambda _, worker: worker.terminate(),
            Fault.TERMINATE_AT_SEAM: lambda each, worker: self._trap(each, worker, worker.terminate),
            Fault.SILENCE: lambda each, worker: worker.cut_off(each.lasts_s),
            Fault.SILENCE_AT_SEAM: lambda each, worker: self._trap(
                each, worker, lambda: worker.cut_off(each.lasts_s)
            ),
            Fault.VALKEY_RESTART: lambda each, _: self._restart(each, lose_power=False),
            Fault.VALKEY_POWER: lambda each, _: self._restart(each, lose_power=True),
            Fault.DISK_STALLS: lambda each, _: self._stall(each),
            Fault.STORAGE_AWAY: lambda each, _: self._take_storage_away(each, None),
            Fault.CLOCK_WRONG: self._make_clock_wrong,
            Fault.COMFY_DIES: self._end_comfy,
            Fault.BROKEN_INSTALL: self._break_install,
            Fault.MESSAGES_GONE: lambda _each, _worker: self._forget_messages(),
            Fault.MESSAGES_TWICE: lambda _each, _worker: self._notify_all(),
            Fault.CANCEL: lambda _each, _worker: self._cancel(1),
            Fault.CANCEL_MANY: lambda _each, _worker: self._cancel(10),
            Fault.RETRY_ALL: lambda _each, _worker: self._retry_all(),
        }

    def play(self, calm_s: float) -> History:
        """Play the plan, let all end, and tell what was seen."""
        loop, plan = self._loop, self._plan
        self._workers = [PlayedWorker(self._world, number, CLASSES_GIB[0]) for number in range(plan.workers)]
        for number, job in enumerate(plan.jobs):
            loop.spawn(self._people, partial(self._submit, job, number), after_s=job.at_s)
        for fault in plan.faults:
            loop.spawn(self._people, partial(self._strike, fault), after_s=fault.at_s)
        loop.spawn(self._people, self._watch)
        self._let_pass()
        self._world.valkey.traps.clear()
        until_s = loop.now_s + calm_s
        while self._unended() and loop.now_s < until_s:
            loop.run(30.0)
        loop.run(60.0)  # what was given up meanwhile is cleared away
        return self._history()

    def _let_pass(self) -> None:
        """Play what is planned. While nobody has anything to do, time passes in leaps."""
        loop, plan, world = self._loop, self._plan, self._world
        began_s = loop.now_s
        happens_s = [*(job.at_s for job in plan.jobs), *(fault.at_s for fault in plan.faults)]
        moments = sorted(began_s + at_s for at_s in happens_s)
        while (left_s := began_s + plan.for_s - loop.now_s) > 0:
            at = bisect_left(moments, loop.now_s)
            next_s = moments[at] if at < len(moments) else began_s + plan.for_s
            if next_s - loop.now_s > _LEAP_S and self._is_calm():
                world.valkey.checkpoint()
                loop.leap(next_s - _BEFORE_S)
            loop.run(min(_BEFORE_S, left_s))

    def _is_calm(self) -> bool:
        world, now_s = self._world, self._loop.now_s
        return (
            not (world.valkey.is_down or world.valkey.is_stalled or self._unended())
            and all(harm.until_s < now_s for harm in world.harms)
            and all(worker.takes_jobs and not worker.drains for worker in self._workers)
        )

    def _submit(self, job: PlannedJob, number: int) -> None:
        """Without a key, a job whose answer was lost is submitted as another one."""
        loop = self._loop
        key = f"key {number}" if job.keyed else None
        for tries in range(1000):
            new = a_job(
                job_id=f"{number:06d}-{tries:04d}".ljust(32, "0"),
                queue=self._world.queues[job.queue],
                priority=job.priority,
                parameters={"3.seconds": job.seconds},
                idempotency_key=key,
            )
            try:
                (done,) = self._store.submit([new])
            except NotDurable as exc:
                self._accepted |= dict.fromkeys(exc.job_ids, loop.now_s)
                self._unsafe |= {*exc.job_ids}
                return
            except StoreUnavailable:
                loop.sleep(loop.dice.uniform(0.1, 2.0))
            else:
                self._accepted[done.job_id] = loop.now_s
                if key is not None:
                    self._submissions.append((key, done.job_id))
                return

    def _strike(self, fault: PlannedFault) -> None:
        with contextlib.suppress(FarmError, redis.RedisError):
            self._does[fault.kind](fault, self._workers[fault.target % len(self._workers)])

    # -- faults --------------------------------------------------------------------------------------

    def _trap(self, fault: PlannedFault, worker: PlayedWorker, spring: Callable[[], None]) -> None:
        self._world.valkey.traps.append(
            Trap(script=fault.seam, process=worker.process, answered=fault.answered, spring=spring)
        )

    def _restart(self, fault: PlannedFault, *, lose_power: bool) -> None:
        loop, world = self._loop, self._world
        away_s = fault.lasts_s / 4
        since_s = loop.now_s
        if lose_power:
            cut_s = world.valkey.lose_power(away_s)
            if cut_s < since_s:
                self._forget(cut_s, since_s, away_s)
        else:
            world.valkey.restart(away_s)
        world.outages.append((since_s, since_s + away_s + _OUTAGE_AFTER_S))
        for worker in self._workers:
            if worker.process.thaws_us > loop.now_us:
                world.harm("frozen meanwhile", "lost", lasts_s=away_s + _OUTAGE_AFTER_S, worker=worker.name)
        # Whoever claimed just then may never have heard of it.
        lost = Harm(
            kind=fault.kind,
            since_s=since_s,
            until_s=since_s + away_s,
            explains=frozenset({"lost"}),
            at_claim=True,
        )
        world.harms.append(lost)

    def _forget(self, cut_s: float, since_s: float, away_s: float) -> None:
        """What was done in the last moment counts no more: it may be done again."""
        self._accepted = {
            job_id: at_s
            for job_id, at_s in self._accepted.items()
            if at_s < cut_s
            or self._is_promised(job_id)
            or self._world.valkey.server.exists(f"{_ROOT}job:{job_id}")
        }
        self._submissions = [each for each in self._submissions if each[1] in self._accepted]
        self._canceled = {job_id: at_s for job_id, at_s in self._canceled.items() if at_s < cut_s}
        ends = frozenset({"lost", "failed", "released", "unpublished"})
        self._world.harms.append(Harm(kind="power", since_s=cut_s, until_s=since_s + away_s, explains=ends))

    def _is_promised(self, job_id: str) -> bool:
        """Whether no power cut may take that job."""
        return self._plan.durability is Durability.WAITED_FOR and job_id not in self._unsafe

    def _stall(self, fault: PlannedFault) -> None:
        """Whoever waits for the file waits in vain; under `always`, whoever asks for anything."""
        world = self._world
        world.valkey.stall(fault.lasts_s)
        if self._plan.durability is Durability.ALWAYS:
            now_s = self._loop.now_s
            world.outages.append((now_s, now_s + fault.lasts_s + _OUTAGE_AFTER_S))
            world.harm(fault.kind, "lost", lasts_s=fault.lasts_s)
        elif world.waits_for_file:
            # Commits that wait take the threads that publish: what comes then is put aside.
            world.harm(fault.kind, "unpublished", lasts_s=fault.lasts_s)

    def _take_storage_away(self, fault: PlannedFault, worker: PlayedWorker | None) -> None:
        name = worker.name if worker is not None else ""
        until_s = self._loop.now_s + 2 * fault.lasts_s
        away = self._world.storage_away_until_s
        away[name] = max(until_s, away.get(name, 0.0))
        self._world.harm(fault.kind, "unpublished", lasts_s=2 * fault.lasts_s, worker=name or None)

    def _make_clock_wrong(self, fault: PlannedFault, worker: PlayedWorker) -> None:
        """Hours ahead or behind; the storage refuses what is signed so."""
        self._take_storage_away(fault, worker)
        process = worker.process
        process.clock_wrong_by_s = 7200.0 if fault.answered else -7200.0
        self._loop.sleep(2 * fault.lasts_s)
        process.clock_wrong_by_s = 0.0

    def _end_comfy(self, fault: PlannedFault, worker: PlayedWorker) -> None:
        worker.comfy.dies = True
        self._world.harm(fault.kind, "failed", worker=worker.name)

    def _break_install(self, fault: PlannedFault, worker: PlayedWorker) -> None:
        """Until its process is started anew, or somebody mends it."""
        comfy = worker.comfy
        comfy.broken_install = True
        self._world.harm(fault.kind, "failed", lasts_s=2 * fault.lasts_s, worker=worker.name)
        self._loop.sleep(2 * fault.lasts_s)
        comfy.broken_install = False

    def _forget_messages(self) -> None:
        self._world.lose_messages()
        for queue in self._world.queues:
            for priority in range(10):
                self._world.valkey.ask(self._people, [("DEL", NOTIFIER.list_key(queue, priority))])

    def _notify_all(self) -> None:
        for job_id in list(self._accepted)[-50:]:
            with contextlib.suppress(JobNotFound):
                record = self._store.get(job_id)
                notification = Notification(
                    job_id=job_id,
                    queue=record.queue,
                    priority=record.spec.priority,
                    title=record.spec.title,
                    front=False,
                )
                self._store.notify([notification] * 2)

    def _cancel(self, most: int) -> None:
        ids = self._unended()
        for job_id in self._loop.dice.sample(ids, min(most, len(ids))):
            self._store.cancel(job_id)
            self._loop.spawn(self._people, partial(self._await_cancel, job_id))

    def _await_cancel(self, job_id: str) -> None:
        while True:
            with contextlib.suppress(StoreUnavailable):
                try:
                    state = self._store.get(job_id).state
                except JobNotFound:
                    return
                if state is JobState.CANCELED:
                    self._canceled.setdefault(job_id, self._loop.now_s)
                if state.final:
                    return
            self._loop.sleep(2.0)

    def _retry_all(self) -> None:
        for state in (JobState.FAILED,):
            for record in self._store.find(state=state, limit=20).jobs:
                self._store.retry(record.job_id)

    # -- what was seen -------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Note who takes jobs, and when nobody could repair anything."""
        looked_s = self._loop.now_s
        while True:
            self._loop.sleep(_LOOK_S)
            now_s = self._loop.now_s
            if not any(worker.repairs for worker in self._workers):
                self._world.outages.append((looked_s, now_s + _OUTAGE_AFTER_S))
            for worker in self._workers:
                if worker.takes_jobs:
                    spans = self._world.able.setdefault(worker.name, [])
                    if spans and spans[-1][1] == looked_s:
                        spans[-1] = (spans[-1][0], now_s)
                    else:
                        spans.append((now_s, now_s))
            looked_s = now_s

    def _unended(self) -> list[str]:
        return self._in(JobState.QUEUED, JobState.RUNNING)

    def _in(self, *states: JobState) -> list[str]:
        server: Any = self._world.valkey.server
        return sorted(
            name.decode() for state in states for name in server.zrange(f"{_ROOT}state:{state}", 0, -1)
        )

    def _history(self) -> History:
        world = self._world
        stories: dict[str, Story] = {}
        told: list[BaseException] = []

        def read() -> None:
            try:
                # Whoever was told nothing submits another one; the first may be there and run all the same.
                for job_id in dict.fromkeys([*self._accepted, *self._in(*JobState)]):
                    with contextlib.suppress(JobNotFound):
                        stories[job_id] = self._story(self._store.get(job_id))
            except Exception as exc:
                told.append(exc)

        reading = self._loop.spawn(self._people, read)
        while reading.is_alive():
            self._loop.run(1.0)
        if told:
            raise told[0]
        return History(
            accepted=tuple(self._accepted),
            submissions=tuple(self._submissions),
            stories=stories,
            objects=dict(world.objects),
            runs=tuple(world.runs),
            harms=tuple(world.harms),
            deaths=tuple(world.deaths),
            able={name: tuple(spans) for name, spans in world.able.items()},
            outages=tuple(world.outages),
            leftovers=self._leftovers(),
            bounds=Bounds(
                lease_s=world.limits.lease_s,
                repair_s=5 * SWEEP_S,
                slack_s=3.0,
                cancel_slack_s=RENEW_S + 1.0,
                reach_s=2.0,
                passed_over_s=2 * world.limits.notify_again_after_s + 15.0,
            ),
        )

    def _leftovers(self) -> dict[str, int]:
        server: Any = self._world.valkey.server
        held = {name: server.zcard(f"{_ROOT}{name}") for name in ("leases", "due", "deadlines")}
        for queue in self._world.queues:
            for priority in range(10):
                key = NOTIFIER.list_key(queue, priority)
                held[key] = server.llen(key)
        return held

    def _story(self, record: JobRecord) -> Story:
        job_id = record.job_id
        return story_of(
            record,
            states_in(self._store.events(job_id, limit=1000)),
            accepted_prefix=f"jobs/{job_id}/{record.token}/",
            cancel_confirmed_s=self._canceled.get(job_id),
        )
