"""`RedisJobStore`: the truth about each job, in Redis. Every move is one script of `scripts/`."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Final

from farm.errors import FarmError, IdempotencyConflict, IllegalMove, NotDurable, StoreUnavailable
from farm.job import (
    SCHEMA_VERSION,
    ErrorKind,
    JobError,
    JobResult,
    JobState,
    Progress,
    spec_to_json,
    utc_from_ms,
)
from farm.settings.redis import RedisSettings, StoreSettings
from farm.store import codec
from farm.store.base import Claim, LeaseAnswer, NewEvent, NewJob, Notifier, Refused, StoreLimits, Submitted
from farm.store.redis.address import client_of
from farm.store.redis.fleet import RedisFleet
from farm.store.redis.keys import priority_queue
from farm.store.redis.link import front_notification, in_ms
from farm.store.redis.lua import Argument, Call
from farm.store.redis.reading import RedisReading
from farm.store.redis.repair import RedisRepair
from farm.store.redis.safety import Safety
from farm.store.redis.steering import RedisSteering
from farm.store.redis.trouble import where
from farm.store.redis.webhooks import RedisWebhooks
from farm.store.tally import spent_fields
from farm.store.verdicts import CLAIM_UNHEARD, LEFT_TO_OTHERS, NOTIFY_AGAIN_S

_WHATEVER_WAS_GRANTED: Final = 0  # in place of the attempt's number, to whoever has the token
_BATCH: Final = 1000  # jobs of one round trip; more would only make one reply wait for another


def _unreadable(exc: FarmError) -> JobError:
    return JobError(
        kind=ErrorKind.JOB,
        code="spec_unreadable",
        message=f"what is stored of this job cannot be read, so nobody can render it: {exc}; submit it again",
    )


def store_limits(settings: StoreSettings) -> StoreLimits:
    """The store's times and sizes as the settings have them."""
    return StoreLimits(
        lease_s=settings.lease_s,
        notify_again_after_s=settings.notify_again_after_s,
        avoid_s=settings.avoid_s,
        max_lost_attempts=settings.max_lost_attempts,
        max_lost_publishing=settings.max_lost_publishing,
        max_machine_failures=settings.max_machine_failures,
        retention_s=settings.retention_days * 86400.0,
        events_kept=settings.events_kept,
    )


def connect(settings: RedisSettings, limits: StoreLimits, notifier: Notifier) -> RedisJobStore:
    """A store at the Redis that the settings name; the first call opens a connection."""
    return RedisJobStore(
        client_of(settings),
        namespace=settings.namespace,
        limits=limits,
        notifier=notifier,
        safety=Safety(replicas=settings.replicas, fsync=settings.durable == "fsync"),
    )


class RedisJobStore(RedisReading, RedisSteering, RedisRepair, RedisFleet, RedisWebhooks):
    """The form of `JobStore`, which has the promises of each method, for many processes. Thread-safe."""

    # -- moves of a producer ---------------------------------------------------------------------

    def submit(self, jobs: Sequence[NewJob]) -> list[Submitted]:
        # Without an answer (`StoreUnavailable`) the jobs may be stored all the same.
        done: list[Submitted] = []
        conflict: IdempotencyConflict | None = None
        for start in range(0, len(jobs), _BATCH):
            batch = jobs[start : start + _BATCH]
            epoch = self._epoch_call(self._seen_epoch)
            calls = [epoch, *map(self._submit_call, batch)]
            (word, *answers), lack = self._run_safely(calls, self._safety)
            self._note_epoch(word)
            for job, (answer, job_id) in zip(batch, answers, strict=True):
                if answer == b"conflict":
                    conflict = conflict or IdempotencyConflict(
                        job.spec.idempotency_key or "", job_id.decode()
                    )
                done.append(
                    Submitted(
                        job_id=job_id.decode(),
                        created=answer in (b"created", b"reused"),
                        reused=answer == b"reused",
                    )
                )
            if lack is not None:
                raise NotDurable(where(self._client), lack, [each.job_id for each in done[start:]])
        if conflict is not None:
            raise conflict
        return done

    def _submit_call(self, job: NewJob) -> Call:
        spec, priority = job.spec, job.spec.priority
        key = spec.idempotency_key
        return self._call(
            "submit",
            job.job_id,
            codec.head_to_json(job),
            codec.pack_spec(spec_to_json(spec)),
            self._notifier.message(job.job_id, queue=job.queue, priority=priority, title=spec.title),
            priority_queue(job.queue, priority),
            "" if spec.deadline is None else codec.to_ms(spec.deadline),
            "" if key is None else codec.idempotency_name(key),
            "" if key is None else " ".join(codec.spec_digests(spec)),
            job.parked or "",
            job.reuses or "",
            *dict.fromkeys(spec.labels),
            notification_list=self._notifier.list_key(job.queue, priority),
        )

    def cancel(self, job_id: str, *, reason: str = "") -> JobState:
        if state := self.cancel_many([job_id], reason=reason).get(job_id):
            return state
        raise self._missing(job_id)

    def unpark(self, job_ids: Sequence[str], *, reason: str) -> int:
        notifications = [
            notification for job_id in job_ids if (notification := self._notification_of(job_id)) is not None
        ]
        calls = [
            self._call(
                "unpark",
                notification.job_id,
                self._message(notification),
                reason,
                notification_list=self._list_key(notification),
            )
            for notification in reversed(notifications)
        ]
        return sum(self._run_many(calls))

    def retry(self, job_id: str) -> JobState:
        notification = self._notification_of(job_id)
        if notification is None:
            raise self._missing(job_id)
        word, *state = self._run(
            "retry", job_id, self._message(notification), notification_list=self._list_key(notification)
        )
        if word == b"unknown":
            raise self._missing(job_id)
        if word == b"refused":
            raise IllegalMove(job_id, state[0].decode(), "queued again")
        return JobState.QUEUED

    # -- moves of a worker -----------------------------------------------------------------------

    def claim(self, job_id: str, *, worker: str, priority: int | None = None) -> Claim | Refused:
        self._give_back_unheard()
        # The token also lets a claim whose answer was lost be repeated by the connection's own retry.
        token = uuid.uuid4().hex
        try:
            word, *granted = self._run(
                "claim",
                job_id,
                worker,
                token,
                in_ms(self.limits.lease_s),
                SCHEMA_VERSION,
                in_ms(min(NOTIFY_AGAIN_S, self.limits.avoid_s)),
                in_ms(LEFT_TO_OTHERS * self.limits.avoid_s),
                in_ms(self.limits.notify_again_after_s),
                "" if priority is None else priority,
            )
        except StoreUnavailable:
            self._unheard[token] = job_id
            raise
        if word != b"granted":
            return Refused(word.decode())
        attempt, at, claimed, lease, packed, now_at = granted
        try:
            spec = codec.unpack_spec(packed or b"")
        except FarmError as exc:
            # Nobody else could read it either: it would be claimed again whenever a lease runs out.
            self.fail(job_id, int(attempt), _unreadable(exc), retry_in_s=None, token=token)
            return Refused.UNREADABLE
        return Claim(
            job_id=job_id,
            attempt=int(attempt),
            token=token,
            spec=codec.with_priority(spec, int(now_at)),
            submitted_at=codec.from_order(at),
            claimed_at=utc_from_ms(int(claimed)),
            lease_until=utc_from_ms(int(lease)),
        )

    @cached_property
    def _unheard(self) -> dict[str, str]:
        """Claims that nobody answered, perhaps granted all the same: their tokens, and the jobs."""
        return {}

    def _give_back_unheard(self) -> None:
        """Its worker lives and works on none of them: nobody waits for a lease, no worker counts as lost."""
        for token, job_id in list(self._unheard.items()):
            self.release(job_id, _WHATEVER_WAS_GRANTED, reason=CLAIM_UNHEARD, token=token)
            self._unheard.pop(token, None)

    def renew(self, job_id: str, attempt: int, *, token: str = "") -> LeaseAnswer:
        return LeaseAnswer(self._run("renew", job_id, attempt, in_ms(self.limits.lease_s), token).decode())

    def report(
        self,
        job_id: str,
        attempt: int,
        events: Sequence[NewEvent],
        *,
        progress: Progress | None = None,
        token: str = "",
    ) -> LeaseAnswer:
        kept = b"" if progress is None else codec.PROGRESS.dump_json(progress)
        flat: list[Argument] = []
        for event in events:
            flat += [event.kind.value, json.dumps(event.data, separators=(",", ":"), ensure_ascii=False)]
        return LeaseAnswer(self._run("report", job_id, attempt, kept, token, *flat).decode())

    def succeed(self, job_id: str, attempt: int, result: JobResult, *, token: str = "") -> LeaseAnswer:
        tally = [part for added in spent_fields(result) for part in added]
        call = self._call("succeed", job_id, attempt, codec.RESULT.dump_json(result), token, *tally)
        # A fail-over may lose a result all the same: the job is rendered again then. A wait for replicas that
        # are away would hold up every worker; the disk comes within a second.
        (answer,), lack = self._run_safely([call], replace(self._safety, replicas=0))
        if lack is not None:
            raise NotDurable(where(self._client), lack, [job_id])
        return LeaseAnswer(answer.decode())

    def fail(
        self,
        job_id: str,
        attempt: int,
        error: JobError,
        *,
        retry_in_s: float | None,
        queue: str | None = None,
        doubt: str = "",
        report: Mapping[str, Any] | None = None,
        token: str = "",
    ) -> JobState | LeaseAnswer:
        head = self._command("HGET", self.keys.job(job_id), "head")
        if head is None:
            return LeaseAnswer.LOST
        if queue is not None:
            head = codec.head_with_queue(head, queue)
        notification = front_notification(job_id, head)
        word = self._run(
            "fail",
            job_id,
            attempt,
            codec.ERROR.dump_json(error),
            error.kind.value,
            "" if retry_in_s is None else in_ms(retry_in_s),
            in_ms(self.limits.avoid_s),
            self._message(notification),
            error.message,
            self.limits.max_machine_failures,
            b"" if queue is None else head,
            token,
            self.limits.max_unsuitable,
            doubt,
            "" if report is None else json.dumps(report, separators=(",", ":")),
            notification_list=self._list_key(notification),
        ).decode()
        return LeaseAnswer.LOST if word == LeaseAnswer.LOST else JobState(word)

    def release(self, job_id: str, attempt: int, *, reason: str, token: str = "") -> LeaseAnswer:
        notification = self._notification_of(job_id)
        if notification is None:
            return LeaseAnswer.LOST
        answer = self._run(
            "release",
            job_id,
            attempt,
            reason,
            self._message(notification),
            token,
            notification_list=self._list_key(notification),
        )
        return LeaseAnswer(answer.decode())

    def put_on_hold(
        self, job_id: str, attempt: int, error: JobError, *, hold_s: float, token: str = ""
    ) -> JobState | LeaseAnswer:
        word = self._run(
            "put_on_hold", job_id, attempt, codec.ERROR.dump_json(error), error.message, in_ms(hold_s), token
        ).decode()
        return LeaseAnswer.LOST if word == LeaseAnswer.LOST else JobState(word)

    def keep_on_hold(self, job_id: str, worker: str, *, hold_s: float) -> bool:
        return bool(self._run("keep_on_hold", job_id, worker, in_ms(hold_s)))

    def end_canceled(self, job_id: str, attempt: int, *, token: str = "") -> LeaseAnswer:
        return LeaseAnswer(self._run("end_canceled", job_id, attempt, token).decode())
