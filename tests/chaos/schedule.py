"""What goes wrong when: made from a seed, so that a schedule can be played again."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Fault(StrEnum):
    """What can be done to the farm."""

    WORKER_KILL = "worker_kill"
    WORKER_NAP = "worker_nap"  # frozen for half a lease
    WORKER_FREEZE = "worker_freeze"  # for two leases
    WORKER_SLEEP = "worker_sleep"  # for ten
    WORKER_DRAIN = "worker_drain"  # SIGTERM
    WORKER_QUIT = "worker_quit"  # SIGTERM twice, SIGTERM and SIGKILL, SIGQUIT, SIGINT
    WORKER_TREE = "worker_tree"  # SIGTERM to the worker and all its children at once, as systemd does
    WORKER_START = "worker_start"  # killed, and again while it starts
    STEWARD_KILL = "steward_kill"  # the worker that repairs right now
    COMFY_KILL = "comfy_kill"
    COMFY_NAP = "comfy_nap"  # frozen for half a lease
    COMFY_FREEZE = "comfy_freeze"  # until somebody notices
    COMFY_FORGETS = "comfy_forgets"  # its history and its queue
    COMFY_BROKEN = "comfy_broken"  # an install in which a node raises ImportError, run after run
    VALKEY_KILL = "valkey_kill"
    VALKEY_POWER = "valkey_power"  # its machine is switched off: what was not synced is gone
    VALKEY_AWAY = "valkey_away"  # for longer than a lease
    VALKEY_FREEZE = "valkey_freeze"
    VALKEY_FULL = "valkey_full"  # takes no writes under noeviction
    S3_KILL = "s3_kill"
    S3_FREEZE = "s3_freeze"
    S3_AWAY = "s3_away"  # for as long as the campaign says: minutes
    REDIS_CUT = "redis_cut"  # all connections of one worker are reset
    REDIS_BLACKHOLE = "redis_blackhole"  # nothing arrives between one worker and Valkey
    REDIS_MUTE = "redis_mute"  # what a worker asks is done, and it never hears of it
    REDIS_SLOW = "redis_slow"
    PRODUCER_CUT = "producer_cut"
    S3_CUT = "s3_cut"
    S3_BLACKHOLE = "s3_blackhole"
    S3_SLOW = "s3_slow"
    CLIENT_KILL = "client_kill"  # Valkey ends every connection
    CLIENT_STORM = "client_storm"  # ten times a second
    SILENCE = "silence"  # nothing passes between one worker and all servers, for 5 s to half a minute
    CABLE = "cable"  # one worker's network is gone, without a word
    IDLE_FREEZE = "idle_freeze"  # workers freeze, a job is sent, one worker dies: the hole of BRPOP
    NOTIFICATIONS_TWICE = "notifications_twice"
    NOTIFICATIONS_GONE = "notifications_gone"
    GARBAGE = "garbage"
    SAME_KEY = "same_key"  # one idempotency key, from many threads at once
    CANCEL = "cancel"
    CANCEL_MANY = "cancel_many"  # all that wait and run, but for one
    POISON = "poison"
    CLOCK = "clock"  # a worker's clock jumps by an hour, and back
    CARD_LOST = "card_lost"  # NVML: "GPU is lost"
    DISK_FULL = "disk_full"


# These hit the worker of one place; all others can hit every job.
AT_ONE_PLACE: Final = frozenset(
    {fault for fault in Fault if fault.name.startswith(("WORKER_", "COMFY_", "REDIS_", "S3_"))}
    - {Fault.S3_KILL, Fault.S3_FREEZE, Fault.S3_AWAY}
    | {Fault.CABLE, Fault.SILENCE, Fault.CLOCK, Fault.CARD_LOST, Fault.DISK_FULL}
)


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
