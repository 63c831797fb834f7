"""The part of the Redis store that repairs what died, and rings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from farm.job import LEAST_URGENT, MOST_URGENT, VRAM_CLASSES_GIB, queue_for
from farm.store.base import Ring, Swept
from farm.store.redis.keys import of_lane
from farm.store.redis.link import (
    RedisLink,
    in_ms,
    ring_at_front,
)
from farm.store.redis.lua import Call
from farm.store.verdicts import PASSED_AT_ONCE


class RedisRepair(RedisLink):
    """Sweeps and rings."""

    def sweep(self) -> Swept:
        """Repair what died; rings by itself. Two round trips when nothing is wrong."""
        limits, batch = self.limits, self.limits.sweep_batch
        lost, due, expired, purged, passed, lanes = self._run_many(
            [
                self._call(
                    "sweep_leases",
                    batch,
                    f"{limits.lease_s:g}",
                    limits.max_lost_attempts,
                    limits.max_lost_publishing,
                ),
                self._call("sweep_due", batch),
                self._call("sweep_deadlines", batch),
                self._call("sweep_finished", batch, in_ms(limits.retention_s)),
                self._call(
                    "sweep_order",
                    PASSED_AT_ONCE,
                    in_ms(limits.pass_over_s),
                    in_ms(limits.ring_again_after_s),
                ),
                self._call("lanes"),
            ]
        )
        _, *missing = self._run_many(
            [self._messages_call(), *(self._lane_call(name.decode()) for name in lanes)]
        )
        # A job that became due is missed in its lane as well; it is rung once.
        rings = list(dict.fromkeys(ring for flat in (due, *missing) for ring in _rings(flat)))
        rings += _rings_elsewhere(passed)
        self.ring(rings)
        return Swept(
            rings=tuple(rings),
            lost=tuple(job_id.decode() for job_id in lost),
            expired=tuple(job_id.decode() for job_id in expired),
            purged=purged,
        )

    def _messages_call(self) -> Call:
        lists = [
            self._bell.list_key(queue_for(gib), priority)
            for gib in VRAM_CLASSES_GIB
            for priority in range(MOST_URGENT, LEAST_URGENT + 1)
        ]
        return Call(
            "sweep_messages", [self.keys.root, *lists], [self.limits.events_kept, self.limits.stale_batch]
        )

    def _lane_call(self, name: str) -> Call:
        return self._call(
            "sweep_lane",
            self.limits.sweep_batch,
            name,
            in_ms(self.limits.ring_again_after_s),
            bell_list=self._bell.list_key(*of_lane(name)),
        )

    def ring(self, rings: Sequence[Ring]) -> None:
        """Put the bell of each job into its queue (again)."""
        # Backwards, since what is put at the front last is popped first.
        calls = [
            self._call(
                "ring", ring.job_id, self._message(ring), int(ring.front), bell_list=self._list_key(ring)
            )
            for ring in reversed(rings)
        ]
        self._run_many(calls)


def _rings_elsewhere(flat: Sequence[bytes]) -> list[Ring]:
    rings, queues = _rings([part for at, part in enumerate(flat) if at % 3 != 2]), flat[2::3]
    return [replace(ring, queue=queue.decode()) for ring, queue in zip(rings, queues, strict=True)]


def _rings(flat: Sequence[bytes]) -> list[Ring]:
    return [ring_at_front(job_id.decode(), head) for job_id, head in zip(flat[::2], flat[1::2], strict=True)]
