"""What kind of server this is, and whether jobs are safe with it."""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Callable
from typing import Any, Final

import redis
from redis.exceptions import ResponseError

from farm.errors import StoreMisconfigured
from farm.job import utc_from_ms
from farm.store.redis.epoch import forgot_at
from farm.store.redis.keys import Keys
from farm.store.redis.safety import append_fsync, durability
from farm.store.redis.trouble import translated, where

OLDEST_VERSION: Final = (6, 2)  # exclusive ranges of streams; kombu's own floor
# The first release of each line without a known way to run code in the server, as of November 2026. A line
# that is not named gets no more fixes, or is newer than all of them.
# Source: Redis: the record of CVE-2026-81934 at cve.org (before a login, by TLS); it comes after
# CVE-2026-23479, -25243, -23631 and -66373. Valkey: its release notes of 21 July and 31 August 2026
# (CVE-2026-56684, CVE-2026-63639; GHSA-fq2f-crmw-q97r before a login in 9.1).
_SAFE: Final[dict[str, dict[tuple[int, int], int]]] = {
    "redis": {(6, 2): 24, (7, 2): 16, (7, 4): 11, (8, 2): 9, (8, 4): 6, (8, 6): 6, (8, 8): 2, (8, 10): 1},
    "valkey": {(7, 2): 14, (8, 0): 10, (8, 1): 9, (9, 0): 5, (9, 1): 2},
}
MEMORY_ALARM: Final = 0.6  # of maxmemory: a full server destroys messages that workers pop


def read_facts(client: redis.Redis, keys: Keys, *, fsync: bool) -> dict[str, Any]:
    """Facts of the server, as `check_server` judges them; makes the epoch at first use.

    Raises:
        StoreUnavailable: no answer, or access denied.
    """
    execute: Callable[..., Any] = client.execute_command
    with translated(client):
        seconds, micros = execute("TIME")
        execute("SET", keys.epoch, uuid.uuid4().hex, "NX")
        epoch, forgot = execute("MGET", keys.epoch, keys.forgot)
        info = _allowed(lambda: execute("INFO")) or {}
        mode = _allowed(lambda: append_fsync(client))
    facts = {
        "where": where(client),
        "server": "valkey" if "valkey_version" in info else "redis",
        "version": info.get("valkey_version") or info.get("redis_version"),
        "speaks": info.get("redis_version"),  # the Redis version it is compatible with
        "now": utc_from_ms(int(seconds) * 1000 + int(micros) // 1000),
        "epoch": epoch.decode() if epoch else None,
        "forgot_at": forgot_at(forgot),  # when it was noticed that it lost everything, if it did lately
        "uptime_s": info.get("uptime_in_seconds"),
        "role": info.get("role"),
        "replicas": info.get("connected_slaves"),
        "cluster": bool(info.get("cluster_enabled", 0)),
        "append_only": None if "aof_enabled" not in info else bool(info["aof_enabled"]),
        "append_fsync": mode,
        "append_ok": info.get("aof_last_write_status", "ok") == "ok",
        "max_memory_bytes": info.get("maxmemory"),
        "max_memory_policy": info.get("maxmemory_policy"),
        "used_memory_bytes": info.get("used_memory"),
        "waits_for_file": fsync,  # FARM_DURABLE
    }
    return {**facts, "durability": durability(facts, fsync=fsync)}


def check_server(facts: dict[str, Any]) -> list[str]:
    """Warnings for a person; empty when all is well.

    Raises:
        StoreMisconfigured: jobs would be lost here, or nothing would work.
    """
    for problem in _refusals(facts):
        raise StoreMisconfigured(str(facts.get("where", "?")), problem)
    return list(_warnings(facts))


def doubts(facts: dict[str, Any]) -> list[str]:
    """What cannot be told for certain from here, for a person: what it does not show, and its version."""
    return list(filter(None, (_unseen(facts), _known_hole(facts))))


def _known_hole(facts: dict[str, Any]) -> str | None:
    server, version = str(facts.get("server")), str(facts.get("version") or "")
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    lines = _SAFE.get(server)
    if found is None or lines is None:
        return None
    major, minor, patch = map(int, found.groups())
    line = (major, minor)
    if patch >= lines.get(line, 0 if line > max(lines) else 1 << 30):
        return None
    first = ", ".join(f"{a}.{b}.{c}" for (a, b), c in lines.items())
    return (
        f"{server} {version} has known holes by which a client runs code in it; mended in {first} (your "
        "system, or who hosts it, may have mended it under the old number)"
    )


def _unseen(facts: dict[str, Any]) -> str | None:
    names = {
        "max_memory_policy": "eviction",
        "append_only": "persistence",
        "append_fsync": "how often it writes to its disk",
        "version": "version",
    }
    missing = [words for name, words in names.items() if facts.get(name) is None]
    if not missing:
        return None
    return f"it does not tell this user its {', '.join(missing)} (INFO, CONFIG GET): not checked"


def _refusals(facts: dict[str, Any]) -> list[str]:
    found = []
    policy = facts.get("max_memory_policy")
    if policy not in (None, "noeviction"):
        found.append(
            f"its maxmemory-policy is {policy}: when memory is short it would delete queued jobs; "
            "set it to noeviction (`CONFIG SET maxmemory-policy noeviction`, and in its configuration)"
        )
    speaks = facts.get("speaks")
    if speaks and tuple(map(int, re.findall(r"\d+", str(speaks))[:2])) < OLDEST_VERSION:
        found.append(f"it is version {speaks}; Redis 6.2 or Valkey is the oldest that works")
    if facts.get("waits_for_file") and facts.get("append_only") is False:
        found.append("its append-only file is off, and FARM_DURABLE=fsync waits for it")
    if facts.get("waits_for_file") and facts.get("append_fsync") == "no":
        found.append(
            "its appendfsync is no, and FARM_DURABLE=fsync waits for its file: set everysec or always"
        )
    if facts.get("cluster"):
        found.append("it is a cluster, which Celery cannot use as a broker; use a single server")
    if facts.get("role") in ("slave", "replica"):
        found.append("it is a replica; name the primary")
    return found


def _warnings(facts: dict[str, Any]) -> list[str]:
    found = []
    if facts.get("append_only") is False:
        found.append("its append-only file is off: a crash of Redis loses jobs (set `appendonly yes`)")
    elif facts.get("append_fsync") == "no":
        found.append("its appendfsync is no: a power cut loses up to half a minute (set everysec or always)")
    if not facts.get("append_ok", True):
        found.append("it could not write its append-only file lately: look at its disk")
    limit, used = facts.get("max_memory_bytes"), facts.get("used_memory_bytes")
    if limit and used and used > MEMORY_ALARM * limit:
        found.append(f"{used / limit:.0%} of its maxmemory are used: full, it takes no jobs")
    return found


def _allowed(ask: Callable[[], Any]) -> Any:
    with contextlib.suppress(ResponseError):  # not allowed, or taken away: hosted servers have no CONFIG
        return ask()
    return None
