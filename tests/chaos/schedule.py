"""What goes wrong when: made from a seed, so that a schedule can be played again."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """What can be done to the farm."""

    WORKER_KILL = "worker_kill"
    WORKER_FREEZE = "worker_freeze"  # longer than its lease, then it goes on
    WORKER_NAP = "worker_nap"  # shorter than its lease
    WORKER_DRAIN = "worker_drain"
    COMFY_KILL = "comfy_kill"
    COMFY_FREEZE = "comfy_freeze"
    VALKEY_KILL = "valkey_kill"
    VALKEY_FREEZE = "valkey_freeze"
    S3_KILL = "s3_kill"
    S3_FREEZE = "s3_freeze"
    REDIS_CUT = "redis_cut"  # all connections of one worker are reset
    REDIS_BLACKHOLE = "redis_blackhole"  # nothing arrives between one worker and Valkey
    REDIS_SLOW = "redis_slow"
    PRODUCER_CUT = "producer_cut"
    S3_CUT = "s3_cut"
    S3_BLACKHOLE = "s3_blackhole"
    CLIENT_KILL = "client_kill"  # Valkey ends every connection
    IDLE_FREEZE = "idle_freeze"  # workers freeze, jobs are sent, one worker dies: the hole of BRPOP
    BELLS_TWICE = "bells_twice"
    BELLS_GONE = "bells_gone"
    GARBAGE = "garbage"
    CANCEL = "cancel"
    POISON = "poison"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One fault."""

    at_s: float  # since the schedule began
    kind: Fault
    target: int  # which of several; taken modulo what there is


def make_schedule(
    seed: int, *, faults: int, over_s: float, kinds: tuple[Fault, ...] = tuple(Fault)
) -> list[Planned]:
    """So many faults, in order; with enough of them each kind comes up about as often as any other."""
    dice = random.Random(seed)  # must be repeatable
    drawn: list[Fault] = []
    while len(drawn) < faults:
        drawn += dice.sample(kinds, len(kinds))
    times = sorted(dice.uniform(0.0, over_s) for _ in range(faults))
    return [
        Planned(at_s=at_s, kind=kind, target=dice.randrange(1000))
        for at_s, kind in zip(times, drawn[:faults], strict=True)
    ]
