"""What every part of the Redis store needs: the client, the names of keys, and how a script is run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import redis
from redis.exceptions import ResponseError

from farm.store import codec
from farm.store.base import Notification, Notifier, StoreLimits
from farm.store.redis.keys import Keys
from farm.store.redis.lua import Argument, Call, run, run_many
from farm.store.redis.safety import NOTHING_MORE, Safety, append_fsync, await_file
from farm.store.redis.trouble import translated


class RedisCommands:
    """Commands and scripts at one Redis, for one farm."""

    _events_kept = 0  # for scripts that tell a job's events

    def __init__(self, client: redis.Redis, *, namespace: str) -> None:
        """Take a client that does not decode responses, and what the keys begin with (`Keys`)."""
        self.keys = Keys(namespace)
        self._client = client

    def close(self) -> None:
        self._client.close()
        self._client.connection_pool.disconnect()

    def _command(self, *command: Any) -> Any:
        """The answer to one plain command."""
        execute: Callable[..., Any] = self._client.execute_command
        with translated(self._client):
            return execute(*command)

    def _commands(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """The answers to plain commands, in one round trip."""
        with translated(self._client), self._client.pipeline(transaction=False) as pipe:
            execute: Callable[..., Any] = pipe.execute_command
            for command in commands:
                execute(*command)
            return list(pipe.execute())

    def _call(self, script: str, *args: Argument, notification_list: str | None = None) -> Call:
        keys = [self.keys.root] if notification_list is None else [self.keys.root, notification_list]
        return Call(script, keys, [self._events_kept, *args])

    def _run(self, script: str, *args: Argument, notification_list: str | None = None) -> Any:
        with translated(self._client):
            return run(self._client, self._call(script, *args, notification_list=notification_list))

    def _run_many(self, calls: Sequence[Call]) -> list[Any]:
        """The answers of all calls, in one round trip.

        Raises:
            StoreUnavailable: no answer.
        """
        with translated(self._client):
            return run_many(self._client, calls)


class RedisLink(RedisCommands):
    """Base of the parts of `RedisJobStore`.

    Args:
        notifier: makes the messages that announce waiting jobs.
        safety: what a new job waits for before it counts as stored, and a result for the disk.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        namespace: str,
        limits: StoreLimits,
        notifier: Notifier,
        safety: Safety = NOTHING_MORE,
    ) -> None:
        super().__init__(client, namespace=namespace)
        self.limits = limits
        self._events_kept = limits.events_kept
        self._safety = safety
        self._notifier = notifier

    def _run_safely(self, calls: Sequence[Call], safety: Safety) -> tuple[list[Any], str | None]:
        """The answers of all calls, in one round trip, and what keeps them from being as safe as asked.

        Raises:
            StoreUnavailable: no answer; the calls may have been carried out.
        """
        behind = safety.commands(self.keys.root, 0.8 * _timeout_s(self._client))
        with translated(self._client):
            answers = run_many(self._client, calls, then=behind)
            lack = safety.lacks(answers[len(calls) :])
            if lack is None and safety.fsync and not self._syncs_always():
                why = await_file(lambda: self._client.info("persistence"))
                lack = why and f"not on the disk (FARM_DURABLE): {why}"
        return answers[: len(calls)], lack

    def _syncs_always(self) -> bool:
        """Whether the server's yes means the disk."""
        with contextlib.suppress(ResponseError):  # hosted servers have no CONFIG
            return append_fsync(self._client) == "always"
        return False

    def _notification_of(self, job_id: str) -> Notification | None:
        """How to announce a job at the front; None when there is no such job."""
        head = self._command("HGET", self.keys.job(job_id), "head")
        return None if head is None else front_notification(job_id, head)

    def _message(self, notification: Notification) -> bytes:
        return self._notifier.message(
            notification.job_id,
            queue=notification.queue,
            priority=notification.priority,
            title=notification.title,
        )

    def _list_key(self, notification: Notification) -> str:
        return self._notifier.list_key(notification.queue, notification.priority)


def _timeout_s(client: redis.Redis) -> float:
    return float(client.connection_pool.connection_kwargs.get("socket_timeout") or 5.0)


def in_ms(seconds: float) -> int:
    """As the scripts take it."""
    return round(seconds * 1000)


def front_notification(job_id: str, head_json: bytes) -> Notification:
    """A notification that lets a job that has waited already go first, from its `head` field."""
    head = codec.head_from_json(head_json)
    return Notification(job_id=job_id, queue=head.queue, priority=head.priority, title=head.title, front=True)
