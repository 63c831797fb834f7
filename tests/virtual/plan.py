"""What happens in a play: jobs and faults, drawn from a seed, each of which can be left out."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Fault(StrEnum):
    """What can be done to a virtual farm."""

    KILL = "kill"
    KILL_AT_SEAM = "kill_at_seam"
    FREEZE = "freeze"  # for half a lease to five
    FREEZE_AT_SEAM = "freeze_at_seam"
    TERMINATE = "terminate"
    TERMINATE_AT_SEAM = "terminate_at_seam"
    SILENCE = "silence"  # between one worker and Valkey
    SILENCE_AT_SEAM = "silence_at_seam"
    VALKEY_RESTART = "valkey_restart"
    VALKEY_POWER = "valkey_power"  # what was not on the disk is gone
    DISK_STALLS = "disk_stalls"  # Valkey's file is synced no more; under `always` it answers nobody
    STORAGE_AWAY = "storage_away"
    CLOCK_WRONG = "clock_wrong"  # of one worker; the storage refuses what it signs
    COMFY_DIES = "comfy_dies"
    BROKEN_INSTALL = "broken_install"  # every run of one worker fails at a node
    MESSAGES_GONE = "messages_gone"
    MESSAGES_TWICE = "messages_twice"
    CANCEL = "cancel"
    CANCEL_MANY = "cancel_many"
    RETRY_ALL = "retry_all"  # a person tries again what failed or was canceled


class Durability(StrEnum):
    """What a power cut of Valkey takes."""

    ALWAYS = "always"  # nothing
    EVERYSEC = "everysec"  # the last second, whatever was answered
    WAITED_FOR = "waited_for"  # the same, but for what `FARM_DURABLE=fsync` waited for


# Each is a write after which, or before which, a process may end; the last three are no scripts.
SEAMS: Final = (
    "claim",
    "renew",
    "report",
    "succeed",
    "fail",
    "release",
    "put_on_hold",
    "keep_on_hold",
    "sweep_leases",
    "end_canceled",
    "render",
    "publish",
    "discard",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedJob:
    """A job that is submitted."""

    at_s: float  # since the beginning
    seconds: float  # that a run takes
    priority: int
    queue: int  # which of the queues
    keyed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFault:
    """A fault."""

    at_s: float
    kind: Fault
    target: int  # which worker, taken modulo what there is
    lasts_s: float
    seam: str
    answered: bool  # at a seam: after the write was carried out


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A play."""

    seed: int  # of everything that is not planned: ways of requests, jitter, tokens
    for_s: float
    workers: int
    durability: Durability
    jobs: tuple[PlannedJob, ...]
    faults: tuple[PlannedFault, ...]


def make_plan(
    seed: int,
    *,
    for_s: float,
    jobs: int,
    faults: int,
    workers: int = 3,
    kinds: tuple[Fault, ...] = tuple(Fault),
    spells: int = 1,
    every_s: float = 0.0,
) -> Plan:
    """A play in which a worker is busy for about half of the time.

    Args:
        for_s: of work and faults, all in all.
        spells: that it comes in, so that the farm has nothing to do in between.
        every_s: from the beginning of one to that of the next.
    """
    dice = random.Random(seed)  # must be repeatable
    mean_s = 0.5 * for_s * workers / jobs

    def moment() -> float:
        number, rest_s = divmod(dice.uniform(0.0, for_s), for_s / spells)
        return number * every_s + rest_s

    planned = [
        PlannedJob(
            at_s=moment(),
            seconds=dice.uniform(0.2, 1.8) * mean_s,
            priority=dice.choice((5, 5, 5, 2, 8)),
            queue=dice.choice((0, 0, 1)),
            keyed=dice.random() < 0.25,
        )
        for _ in range(jobs)
    ]
    return Plan(
        seed=seed,
        for_s=(spells - 1) * every_s + for_s / spells,
        workers=workers,
        durability=list(Durability)[seed % 3],
        jobs=tuple(sorted(planned, key=lambda job: job.at_s)),
        faults=tuple(
            sorted((_fault(dice, moment(), kinds) for _ in range(faults)), key=lambda each: each.at_s)
        ),
    )


def _fault(dice: random.Random, at_s: float, kinds: tuple[Fault, ...]) -> PlannedFault:
    return PlannedFault(
        at_s=at_s,
        kind=dice.choice(kinds),
        target=dice.randrange(100),
        lasts_s=5.0 * 2.0 ** dice.uniform(0.0, 4.5),  # 5 s to almost two minutes; most of them short
        seam=dice.choice(SEAMS),
        answered=dice.random() < 0.5,
    )
