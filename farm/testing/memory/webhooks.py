"""The part of the store in memory that keeps webhooks and their messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from farm.job import JobState, utc_from_ms
from farm.store.codec import to_ms
from farm.store.verdicts import TOO_MANY_WAIT
from farm.store.webhooks import MOST_KEPT, JobEnd, Message, Webhook, tenant_of
from farm.testing.memory.state import Kept, MemoryState


@dataclass(slots=True)
class _Waiting:
    message: Message
    due: float


class MemoryWebhooks(MemoryState):
    """Endpoints, messages that wait for them, and dead letters."""

    def lose_everything(self) -> None:
        """Lose everything."""
        super().lose_everything()
        self._webhooks: dict[str, Webhook] = {}
        self._outbox: dict[str, dict[str, _Waiting]] = {}
        self._dead: dict[str, dict[str, Message]] = {}

    def put_webhook(self, webhook: Webhook) -> None:
        with self._lock:
            self._webhooks[webhook.webhook_id] = webhook

    def webhooks(self) -> list[Webhook]:
        with self._lock:
            found = sorted(self._webhooks.values(), key=lambda each: (each.created_at, each.webhook_id))
            return [
                replace(
                    each,
                    waiting=len(self._outbox.get(each.webhook_id, ())),
                    dead=len(self._dead.get(each.webhook_id, ())),
                )
                for each in found
            ]

    def drop_webhook(self, webhook_id: str) -> bool:
        with self._lock:
            self._outbox.pop(webhook_id, None)
            self._dead.pop(webhook_id, None)
            return self._webhooks.pop(webhook_id, None) is not None

    def due_messages(self, *, most: int) -> dict[str, list[Message]]:
        with self._lock:
            now = self._clock()
            due = {
                name: [
                    each.message
                    for each in sorted(box.values(), key=lambda each: each.due)
                    if each.due <= now
                ][:most]
                for name, box in self._outbox.items()
            }
            return {name: messages for name, messages in due.items() if messages}

    def heard(self, webhook_id: str, answer: str) -> None:
        with self._lock:
            if webhook := self._webhooks.get(webhook_id):
                at = utc_from_ms(round(self._clock() * 1000))
                self._webhooks[webhook_id] = replace(webhook, heard=answer, heard_at=at)

    def delivered(self, webhook_id: str, message_id: str) -> None:
        with self._lock:
            self._outbox.get(webhook_id, {}).pop(message_id, None)

    def postpone(self, webhook_id: str, message_id: str, *, in_s: float, reason: str) -> None:
        with self._lock:
            if waiting := self._outbox.get(webhook_id, {}).get(message_id):
                tries = waiting.message.tries + 1
                waiting.message = replace(waiting.message, tries=tries, reason=reason)
                waiting.due = self._clock() + in_s

    def bury(self, webhook_id: str, message_ids: Sequence[str], *, reason: str) -> None:
        with self._lock:
            box, dead = self._outbox.get(webhook_id, {}), self._dead.setdefault(webhook_id, {})
            for message_id in message_ids:
                if waiting := box.pop(message_id, None):
                    dead[message_id] = replace(waiting.message, reason=reason)
            for oldest in list(islice(dead, max(len(dead) - MOST_KEPT, 0))):
                del dead[oldest]

    def disable_webhook(self, webhook_id: str, *, reason: str) -> None:
        with self._lock:
            if webhook_id in self._webhooks:
                self._webhooks[webhook_id] = replace(self._webhooks[webhook_id], disabled=reason)
                self.bury(webhook_id, list(self._outbox.get(webhook_id, {})), reason=reason)

    def dead_letters(self, webhook_id: str, *, limit: int = 100) -> list[Message]:
        with self._lock:
            return list(reversed(self._dead.get(webhook_id, {}).values()))[:limit]

    def resend(self, webhook_id: str, message_ids: Sequence[str] = ()) -> int:
        with self._lock:
            if webhook_id not in self._webhooks:
                return 0
            self._webhooks[webhook_id] = replace(self._webhooks[webhook_id], disabled=None)
            dead = self._dead.get(webhook_id, {})
            again = [dead.pop(each) for each in message_ids or list(dead) if each in dead]
            box = self._outbox.setdefault(webhook_id, {})
            for message in again:
                box[message.message_id] = _Waiting(replace(message, tries=0), self._clock())
            return len(again)

    def _finish(self, kept: Kept, state: JobState, **told: Any) -> None:
        super()._finish(kept, state, **told)
        asked = kept.record.cancel_reason if state is JobState.CANCELED else None
        self._put_in_outbox(kept, "" if state is JobState.FAILED else asked or told.get("reason") or "")

    def _put_in_outbox(self, kept: Kept, reason: str) -> None:
        record, spec = kept.record, kept.record.spec
        if record.finished_at is None:
            return
        failed = record.error if record.state is JobState.FAILED else None
        end = JobEnd(
            job_id=record.job_id,
            state=record.state,
            submitted_ms=to_ms(record.submitted_at),
            ended_ms=to_ms(record.finished_at),
            attempt=record.attempt,
            worker=record.worker or "",
            title=spec.title,
            labels=spec.labels,
            reason=reason,
            error=None
            if failed is None
            else {"kind": failed.kind, "code": failed.code, "message": failed.message},
        )
        for name, webhook in self._webhooks.items():
            if webhook.disabled is None and webhook.tenant in ("", tenant_of(spec.labels)):
                message = Message(message_id=f"msg_{record.job_id}_{kept.events[-1].event_id}", end=end)
                box = self._outbox.setdefault(name, {})
                box[message.message_id] = _Waiting(message, self._clock())
                if len(box) > MOST_KEPT:
                    self.bury(name, [next(iter(box))], reason=TOO_MANY_WAIT)
