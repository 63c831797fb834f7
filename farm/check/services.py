"""Checks of what the settings name: Redis, S3, the variables themselves."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

from farm.check.finding import Finding, bad, good, note
from farm.errors import (
    BucketNotFound,
    FarmError,
    SettingsError,
    StorageDenied,
    StoreMisconfigured,
    StoreUnavailable,
)
from farm.local.running import attach, why_silent
from farm.local.surroundings import settings_here
from farm.notifier import store_at
from farm.process.environment import is_loopback
from farm.redis_address import RedisAddress
from farm.settings.groups import known_variables, misspelt_variables, wrong_settings
from farm.settings.redis import RedisSettings
from farm.settings.s3 import S3Settings


def check_variables() -> list[Finding]:
    """Variables that nobody reads, and values that nobody can."""
    found = []
    for name in misspelt_variables():
        near = get_close_matches(name, known_variables(), n=1)
        remedy = f"did you mean {near[0]}?" if near else "see docs/configuration.md for those that exist"
        found.append(bad("settings", f"{name} is set, but nothing reads a variable of that name", remedy))
    remedy = "correct the variable; see docs/configuration.md"
    found += [bad("settings", what, remedy) for what in wrong_settings()]
    return found or [good("settings", "every FARM_ variable that is set is known and can be read")]


def _remedy(variable: str, folder: Path | None, *, answers: bool = False) -> str:
    """What to do where a service is of no use: `farm up` would be refused where a stack runs."""
    if attach(folder) is not None:
        if answers:
            return f"a stack runs here, and what is set is not its own: take out or correct {variable}"
        return f"a stack runs here: {why_silent(folder)}"
    return f"start a local stack with `farm up`, or set {variable}"


def check_redis(folder: Path | None = None) -> list[Finding]:
    """Whether it answers, is new enough, would keep jobs, and asks who one is."""
    try:
        settings = settings_here(RedisSettings, folder)
        store = store_at(settings)
        facts = store.ping()
    except SettingsError:
        return []  # told by `check_variables`
    except StoreUnavailable as exc:
        return [bad("Redis", str(exc), _remedy("FARM_REDIS_URL", folder))]
    what = f"{str(facts['server']).capitalize()} {facts['version']} answers at {facts['where']}"
    access = judge_access(settings.address)
    judged = [*judge_redis(facts), *judge_memory(facts), *judge_replicas(facts, settings.replicas)]
    return [good("Redis", what), *judged, access]


def judge_redis(facts: dict[str, Any]) -> list[Finding]:
    """Whether jobs are safe with that server."""
    from farm.store.redis.server import check_server, doubts

    try:
        warnings = check_server(facts)
    except StoreMisconfigured as exc:
        return [bad("Redis keeps jobs", exc.reason, "change its configuration, then start the workers again")]
    doubted = [note("Redis", text, "ask who runs it, or update it") for text in doubts(facts)]
    if warnings:
        return [*(bad("Redis keeps jobs", text, "change its configuration") for text in warnings), *doubted]
    if facts["append_only"] is None or facts["max_memory_policy"] is None:
        return doubted
    fsync = f" ({facts['append_fsync']})" if facts["append_fsync"] else ""  # CONFIG may be closed to us
    durable = f"durability: {facts['durability']} ({facts['durability'].loses})"
    what = f"append-only file on{fsync}, {facts['max_memory_policy']}; {durable}"
    return [good("Redis keeps jobs", what), *doubted]


def judge_memory(facts: dict[str, Any]) -> list[Finding]:
    """Whether it lost what it knew not long ago."""
    if facts["forgot_at"] is None:
        return []
    what = (
        f"it forgot everything, noticed {facts['forgot_at']:%Y-%m-%d %H:%M:%S} UTC: jobs of before are lost"
    )
    return [note("Redis's memory", what, "submit them again; see that its data outlives a restart")]


def judge_replicas(facts: dict[str, Any], wanted: int) -> list[Finding]:
    """Whether it has as many replicas as `submit` shall wait for."""
    there = facts["replicas"]
    if not wanted or there is None:
        return []
    what = f"{there} replicas follow it, FARM_REPLICAS asks for {wanted}"
    if there >= wanted:
        return [good("Redis replicas", what)]
    return [bad("Redis replicas", f"{what}: every submit would fail", "start more, or lower FARM_REPLICAS")]


def judge_access(address: RedisAddress) -> Finding:
    """Whether a stranger who reaches it could use it, or listen."""
    hosts = [host for host, _ in address.hosts]
    if all(map(is_loopback, hosts)):
        return good("Redis access", "reached within this machine only")
    if not address.credentials:
        return bad(
            "Redis access",
            f"{hosts[0]} takes whoever reaches it, without a password",
            "set `requirepass` or an ACL user, and name it in FARM_REDIS_URL",
        )
    if address.master:
        what = "jobs and the password travel in the clear"
        return note("Redis access", what, "there is no TLS to sentinels: keep them in a private network")
    if not address.tls:
        return note("Redis access", "jobs and the password travel in the clear", "use TLS: rediss://")
    if not address.is_verified:
        what = "its certificate is not checked (ssl_cert_reqs=none): a stranger between reads and writes"
        return note("Redis access", what, "name the authority that signed it with ?ssl_ca_certs=FILE")
    return good("Redis access", "password and TLS")


def check_s3(folder: Path | None = None) -> list[Finding]:
    """Whether an object can be stored, read back and deleted."""
    from farm.storage import S3Patience, S3Storage

    try:
        settings = settings_here(S3Settings, folder)
        storage = S3Storage(settings, patience=S3Patience(connect_s=3.0, silence_s=10.0, attempts=2))
    except SettingsError as exc:
        # What the environment alone gets wrong is told by `check_variables`; this may be the mixture.
        return [bad("S3", str(exc), "correct the variable; see docs/configuration.md")]
    try:
        storage.check()
    except (BucketNotFound, StorageDenied) as exc:
        return [bad("S3", str(exc), _remedy(exc.setting, folder, answers=True))]
    except FarmError as exc:
        return [bad("S3", str(exc), _remedy("FARM_S3_ENDPOINT_URL", folder))]
    finally:
        storage.close()
    return [good("S3", f"bucket {storage.bucket} at {storage.endpoint.name} can be written and read")]
