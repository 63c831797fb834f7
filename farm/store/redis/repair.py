"""The part of the Redis store that repairs what died, and notifies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from farm.job import LEAST_URGENT, MOST_URGENT, VRAM_CLASSES_GIB, queue_for
from farm.store.base import Notification, Swept
from farm.store.redis.keys import of_priority_queue
from farm.store.redis.link import RedisLink, front_notification, in_ms
from farm.store.redis.lua import Call
from farm.store.verdicts import PASSED_AT_ONCE

_PURGES: Final = 19  # rounds of one sweep, after its first: 4,000 jobs with the default batch


class RedisRepair(RedisLink):
    """Sweeps and notifications."""

    def sweep(self) -> Swept:
        """Repair what died, and notify. Two round trips when nothing is wrong."""
        limits, batch = self.limits, self.limits.sweep_batch
        lost, due, expired, purged, _, passed, priority_queues = self._run_many(
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
                self._purge_call(),
                self._call("sweep_events", batch, in_ms(limits.fold_after_s)),
                self._call(
                    "sweep_order",
                    PASSED_AT_ONCE,
                    in_ms(limits.pass_over_s),
                    in_ms(limits.notify_again_after_s),
                ),
                self._call("priority_queues"),
            ]
        )
        _, *missing = self._run_many(
            [
                self._messages_call(),
                *(
                    self._priority_queue_call(name.decode(), *known)
                    for name in priority_queues
                    if (known := of_priority_queue(name)) is not None
                ),
            ]
        )
        # A job that became due is missed in its priority queue as well; it is announced once.
        notifications = list(
            dict.fromkeys(
                notification for flat in (due, *missing) for notification in _notifications_of(flat)
            )
        )
        notifications += _notifications_elsewhere(passed)
        self.notify(notifications)
        return Swept(
            notifications=tuple(notifications),
            lost=tuple(job_id.decode() for job_id in lost),
            expired=tuple(job_id.decode() for job_id in expired),
            purged=purged + self._purge_on(purged),
        )

    def _purge_call(self) -> Call:
        return self._call("sweep_finished", self.limits.sweep_batch, in_ms(self.limits.retention_s))

    def _purge_on(self, purged: int) -> int:
        """Forget more, a batch for each round trip: a busy farm ends more jobs than one batch a sweep."""
        more, last = 0, purged
        for _ in range(_PURGES):
            if last < self.limits.sweep_batch:
                break
            (last,) = self._run_many([self._purge_call()])
            more += last
        return more

    def _messages_call(self) -> Call:
        lists = [
            self._notifier.list_key(queue_for(gib), priority)
            for gib in VRAM_CLASSES_GIB
            for priority in range(MOST_URGENT, LEAST_URGENT + 1)
        ]
        return Call(
            "sweep_messages", [self.keys.root, *lists], [self.limits.events_kept, self.limits.stale_batch]
        )

    def _priority_queue_call(self, name: str, queue: str, priority: int) -> Call:
        return self._call(
            "sweep_priority_queue",
            self.limits.sweep_batch,
            name,
            in_ms(self.limits.notify_again_after_s),
            self.limits.looked_at,
            notification_list=self._notifier.list_key(queue, priority),
        )

    def notify(self, notifications: Sequence[Notification]) -> None:
        # Backwards, since what is put at the front last is popped first.
        calls = [
            self._call(
                "notify",
                notification.job_id,
                self._message(notification),
                int(notification.front),
                notification_list=self._list_key(notification),
            )
            for notification in reversed(notifications)
        ]
        self._run_many(calls)


def _notifications_elsewhere(flat: Sequence[bytes]) -> list[Notification]:
    notifications, queues = (
        _notifications_of([part for at, part in enumerate(flat) if at % 3 != 2]),
        flat[2::3],
    )
    return [
        replace(notification, queue=queue.decode())
        for notification, queue in zip(notifications, queues, strict=True)
    ]


def _notifications_of(flat: Sequence[bytes]) -> list[Notification]:
    return [
        front_notification(job_id.decode(), head) for job_id, head in zip(flat[::2], flat[1::2], strict=True)
    ]
