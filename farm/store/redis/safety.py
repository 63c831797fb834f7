"""How safely the server keeps what it said yes to, and waiting until that is as safe as the settings ask."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import redis

# A server under `everysec` begins to sync its file a second after the last time at the latest, if anything
# was written since; it looks ten times a second whether that is due.
_SYNC_BEGINS_S: Final = 1.2
_LOOKS_APART_S: Final = 0.2
_LOOK_S: Final = 0.05
_PATIENCE_S: Final = 10.0


class Durability(StrEnum):
    """What a crash of the server, or of its machine, takes away of what it has accepted."""

    loses: str

    NONE = "none", "every restart of Redis loses all jobs"
    SECONDS = "seconds", "a crash loses what was accepted in about the last two seconds"
    SYNCHRONOUS = "synchronous", "what was accepted outlives a power cut"
    UNKNOWN = "unknown", "it does not tell how it writes its file"

    def __new__(cls, value: str, loses: str) -> Durability:
        """A class, and what it means for a person."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.loses = loses
        return member


def durability(facts: Mapping[str, Any], *, fsync: bool) -> Durability:
    """The class of a server by its facts; `fsync`: writes that count wait for its file."""
    if facts.get("append_only") is False:
        return Durability.NONE
    if fsync or facts.get("append_fsync") == "always":
        return Durability.SYNCHRONOUS
    # With `no`, the kernel writes when it likes, mostly within half a minute: `check_server` warns of that.
    return Durability.UNKNOWN if facts.get("append_fsync") is None else Durability.SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Safety:
    """What a write waits for that must not be lost, beyond the server's yes."""

    replicas: int = 0  # that have it
    fsync: bool = False  # the server's file is on the disk

    def commands(self, root: str, timeout_s: float) -> list[list[Any]]:
        """What goes behind the write on the same connection to wait for replicas.

        `WAIT` counts what this connection wrote. A job that is there already writes nothing, so a write of
        its own comes first: whatever was written before it, by whomever, is there when that one is.
        """
        wait = ["WAIT", self.replicas, round(timeout_s * 1000)]
        return [["SET", f"{root}barrier", 1], wait] if self.replicas else []

    def lacks(self, answers: Sequence[Any]) -> str | None:
        """From the answers to `commands`, what did not come in time; None: nothing."""
        if not answers or answers[-1] >= self.replicas:
            return None
        return (
            f"not replicated: only {answers[-1]} of {self.replicas} replicas have it (FARM_REPLICAS), and a "
            "fail-over now would lose it"
        )


NOTHING_MORE: Final = Safety()


def append_fsync(client: redis.Redis) -> str | None:
    """When the server syncs its file: `always`, `everysec` or `no`.

    Raises:
        ResponseError: it may not be asked.
    """
    execute: Callable[..., Any] = client.execute_command
    told = execute("CONFIG GET", "appendfsync")
    values = (value.decode() if isinstance(value, bytes) else str(value) for value in told.values())
    return next(values, None)


def await_file(ask: Callable[[], Mapping[str, Any]]) -> str | None:
    """Wait until the server's file, with all that was written before the call, is on the disk.

    By what `INFO persistence` tells, which `ask` brings: the write has left the server's buffer, a sync must
    have begun since then, and none is under way. Not by `WAITAOF`: Valkey (to 9.1 at least) and Redis 7.4.0
    answer it before the file is synced, as `tests/integration/farm/test_durability.py` shows.

    Returns:
        Why it may not be on the disk; None: it is.

    Source: `flushAppendOnlyFile` in Valkey's aof.c; redis/redis pull request 13793.
    """
    until = time.monotonic() + _PATIENCE_S
    written = quiet = 0.0  # since when
    while time.monotonic() < until:
        facts = ask()
        now = time.monotonic()
        if not facts.get("aof_enabled"):
            return "its append-only file is off"
        if facts.get("aof_last_write_status") != "ok":
            return "it could not write its append-only file lately"
        if not written:
            written = 0.0 if facts.get("aof_buffer_length") else now
        elif now < written + _SYNC_BEGINS_S or facts.get("aof_pending_bio_fsync"):
            quiet = 0.0
        elif quiet and now >= quiet + _LOOKS_APART_S:
            return None
        else:
            quiet = quiet or now
        time.sleep(_LOOK_S)
    return f"its file was still being written after {_PATIENCE_S:g} s"
