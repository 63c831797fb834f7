"""The part of the Redis store that keeps webhooks; scripts that end jobs write their messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from farm.errors import RecordUnreadable
from farm.job import utc_from_ms
from farm.store import codec
from farm.store.redis.link import RedisLink, in_ms
from farm.store.webhooks import Message, Webhook, end_from_json


class RedisWebhooks(RedisLink):
    """Endpoints, messages that wait for them, and dead letters."""

    def put_webhook(self, webhook: Webhook) -> None:
        fields = {
            "url": webhook.url,
            "tenant": webhook.tenant,
            "secret": webhook.secret,
            "created": codec.to_ms(webhook.created_at),
        }
        if webhook.old_secret is not None and webhook.old_until is not None:
            fields |= {"old_secret": webhook.old_secret, "old_until": codec.to_ms(webhook.old_until)}
        name = webhook.webhook_id
        flat = [part for pair in fields.items() for part in pair]
        enabled = [["SADD", self.keys.webhooks_of(webhook.tenant), name]] if webhook.disabled is None else []
        self._commands(
            [["HSET", self.keys.webhook(name), *flat], ["SADD", self.keys.webhooks, name], *enabled]
        )

    def webhooks(self) -> list[Webhook]:
        names = [name.decode() for name in self._command("SMEMBERS", self.keys.webhooks)]
        asked = [self._asks_for(name) for name in names]
        kept = iter(self._commands([command for each in asked for command in each]) if names else [])
        found = [
            _webhook(name, dict(fields), waiting=waiting, dead=dead)
            for name, fields, waiting, dead in zip(names, kept, kept, kept, strict=True)
            if fields
        ]
        return sorted(found, key=lambda webhook: (webhook.created_at, webhook.webhook_id))

    def _asks_for(self, name: str) -> list[list[Any]]:
        return [
            ["HGETALL", self.keys.webhook(name)],
            ["ZCARD", self.keys.outbox(name)],
            ["ZCARD", self.keys.dead(name)],
        ]

    def drop_webhook(self, webhook_id: str) -> bool:
        return bool(self._run("drop_webhook", webhook_id))

    def due_messages(self, *, most: int) -> dict[str, list[Message]]:
        found: dict[str, list[Message]] = {}
        flat = self._run("due_messages", most)
        for at in range(0, len(flat), 5):
            name, parts = flat[at].decode(), flat[at + 1 : at + 5]
            try:
                found.setdefault(name, []).append(_message(*parts))
            except RecordUnreadable as exc:
                self.bury(name, [parts[0].decode()], reason=str(exc))
        return found

    def heard(self, webhook_id: str, answer: str) -> None:
        self._run("hear_webhook", webhook_id, answer)

    def delivered(self, webhook_id: str, message_id: str) -> None:
        self._commands(
            [
                ["ZREM", self.keys.outbox(webhook_id), message_id],
                ["DEL", self.keys.message(webhook_id, message_id)],
            ]
        )

    def postpone(self, webhook_id: str, message_id: str, *, in_s: float, reason: str) -> None:
        self._run("postpone_message", webhook_id, message_id, in_ms(in_s), reason)

    def bury(self, webhook_id: str, message_ids: Sequence[str], *, reason: str) -> None:
        self._run("bury_messages", webhook_id, reason, "", *message_ids)

    def disable_webhook(self, webhook_id: str, *, reason: str) -> None:
        self._run("bury_messages", webhook_id, reason, "1")

    def dead_letters(self, webhook_id: str, *, limit: int = 100) -> list[Message]:
        ids = self._command("ZREVRANGE", self.keys.dead(webhook_id), 0, limit - 1)
        kept = (
            self._commands(
                [
                    ["HMGET", self.keys.message(webhook_id, name.decode()), "end", "tries", "reason"]
                    for name in ids
                ]
            )
            if ids
            else []
        )
        return [_message(name, *fields) for name, fields in zip(ids, kept, strict=True) if fields[0]]

    def resend(self, webhook_id: str, message_ids: Sequence[str] = ()) -> int:
        return int(self._run("resend_messages", webhook_id, *message_ids))


def _webhook(name: str, fields: dict[bytes, bytes], *, waiting: int, dead: int) -> Webhook:
    text = {key.decode(): value.decode() for key, value in fields.items()}
    until, heard_at = text.get("old_until"), text.get("heard_at")
    return Webhook(
        webhook_id=name,
        url=text["url"],
        tenant=text["tenant"],
        secret=text["secret"],
        created_at=utc_from_ms(int(text["created"])),
        old_secret=text.get("old_secret"),
        old_until=utc_from_ms(int(until)) if until else None,
        disabled=text.get("disabled"),
        heard=text.get("heard", ""),
        heard_at=utc_from_ms(int(heard_at)) if heard_at else None,
        waiting=waiting,
        dead=dead,
    )


def _message(name: bytes, end: bytes, tries: bytes | None, reason: bytes | None) -> Message:
    return Message(
        message_id=name.decode(),
        end=end_from_json(end),
        tries=int(tries or 0),
        reason=(reason or b"").decode(),
    )
