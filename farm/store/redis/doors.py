"""`DoorBook`: what the gateway keeps in Redis beside the jobs: API keys, open jobs of tenants, used keys.

No job depends on it. It is Redis alone: a gateway has no form of its own for tests.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from farm.settings.redis import RedisSettings
from farm.store.redis.address import client_of
from farm.store.redis.link import RedisCommands

_BURST_S: Final = 4.0  # worth of requests that may come at once
_ONCE_S: Final = 86400.0  # as the Comfy API has it


class Entry(StrEnum):
    """What became of a job that wanted in."""

    IN = "in"
    USED = "used"  # its idempotency key was used before
    FULL = "full"  # the tenant has as many open jobs as it may
    FARM_FULL = "farm_full"  # the farm has


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place that was kept for one job, or why there was none."""

    entry: Entry
    ticket: str
    tenant: str
    once: str  # name of its idempotency key; "" for none
    open_jobs: int  # of the tenant, this one included
    waiting: int  # jobs in the whole farm


class DoorBook(RedisCommands):
    """Thread-safe. Every method may raise `StoreUnavailable`."""

    def __init__(self, settings: RedisSettings) -> None:
        """The first call opens a connection."""
        super().__init__(client_of(settings), namespace=settings.namespace)

    def ping(self) -> None:
        """See that Redis answers."""
        self._command("PING")

    # -- API keys ----------------------------------------------------------------------------------

    def put_key(self, key_id: str, fields: Mapping[str, str]) -> None:
        """Keep an API key, or change what is known of it."""
        flat = [part for pair in fields.items() for part in pair]
        self._commands([["HSET", self.keys.api_key(key_id), *flat], ["SADD", self.keys.api_keys, key_id]])

    def key(self, key_id: str) -> dict[str, str]:
        """What is known of an API key; empty when there is none of that id."""
        return self.keys_of([key_id])[0]

    def keys_of(self, key_ids: Sequence[str]) -> list[dict[str, str]]:
        """As `key`, of each."""
        asked = [["HGETALL", self.keys.api_key(each)] for each in key_ids]
        return [_text_map(found) for found in self._commands(asked)] if asked else []

    def key_ids(self) -> list[str]:
        """The ids of all API keys that were ever made."""
        return sorted(each.decode() for each in self._command("SMEMBERS", self.keys.api_keys))

    def has_keys(self) -> bool:
        """Whether an API key was ever made."""
        return bool(self._command("EXISTS", self.keys.api_keys))

    def keys_used(self) -> dict[str, str]:
        """When each key was last used, in ms since the epoch."""
        return _text_map(self._command("HGETALL", self.keys.api_keys_used))

    def admit(self, key_ids: Sequence[str], *, per_s: float) -> list[float]:
        """Count one request of each key; 0 lets it in, else the seconds that it has to wait."""
        times = (round(1_000_000 / per_s), round(_BURST_S * 1_000_000))
        calls = [self._call("admit", key_id, *times) for key_id in key_ids]
        return [int(wait_us) / 1_000_000 for wait_us in self._run_many(calls)] if calls else []

    # -- jobs on their way in ----------------------------------------------------------------------

    def enter(self, tenant: str, *, most_open: int, most_waiting: int, once: str | None = None) -> Place:
        """Keep a place for one more job of a tenant, and use up its idempotency key.

        A place that is neither `settle`d nor `leave`d is free again after a minute.
        """
        ticket = f"t{secrets.token_hex(12)}"
        name = "" if once is None else _once_name(tenant, once)
        word, open_jobs, waiting = self._run(
            "enter", tenant, ticket, most_open, most_waiting, name, round(_ONCE_S * 1000)
        )
        return Place(
            entry=Entry(word.decode()),
            ticket=ticket,
            tenant=tenant,
            once=name,
            open_jobs=int(open_jobs),
            waiting=int(waiting),
        )

    def use(self, tenant: str, once: str) -> bool:
        """Use up an idempotency key for what takes no place; whether it was good."""
        name = self.keys.once(_once_name(tenant, once))
        return bool(self._command("SET", name, "", "NX", "PX", round(_ONCE_S * 1000)))

    def settle(self, place: Place, job_id: str) -> None:
        """The job is stored: it takes the place."""
        name = self.keys.open_jobs(place.tenant)
        moment = self._command("ZSCORE", name, place.ticket) or b"0"
        self._commands([["ZADD", name, moment, job_id], ["ZREM", name, place.ticket]])

    def leave(self, place: Place) -> None:
        """No job came of it, for certain: the place and the idempotency key are free again."""
        commands: list[list[Any]] = [["ZREM", self.keys.open_jobs(place.tenant), place.ticket]]
        if place.once:
            commands.append(["DEL", self.keys.once(place.once)])
        self._commands(commands)


def _once_name(tenant: str, once: str) -> str:
    return hashlib.sha256(f"{tenant}\n{once}".encode()).hexdigest()[:32]


def _text_map(found: Mapping[bytes, bytes] | list[bytes]) -> dict[str, str]:
    pairs = found.items() if isinstance(found, Mapping) else zip(found[::2], found[1::2], strict=True)
    return {name.decode(): value.decode() for name, value in pairs}
