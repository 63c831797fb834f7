"""Where Redis is, and how long jobs and leases last in it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from farm.redis_address import RedisAddress
from farm.settings.environment import FromEnvironment, variable


class RedisSettings(FromEnvironment):
    """Where jobs are kept and announced."""

    url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"),
        validation_alias=variable("FARM_REDIS_URL"),
        description="Redis or Valkey >= 6.2: `redis://[user:password@]host:port/db`; `rediss://` for TLS, "
        "with `?ssl_ca_certs=FILE` (and `ssl_certfile`, `ssl_keyfile`) for certificates of your own, "
        "`?ssl_cert_reqs=none` for one that nobody can check; behind Sentinel "
        "`sentinel://[user:password@]host:port,host:port/db?master=NAME`, with `&sentinel_user=` and "
        "`&sentinel_password=` if the sentinels ask for them (no TLS there).",
    )
    namespace: str = Field(
        "farm",
        pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$",
        description="Prefix of every key; several farms may share one Redis.",
    )
    timeout_s: float = Field(
        5.0,
        gt=0,
        validation_alias=variable("FARM_REDIS_TIMEOUT_S"),
        description="Seconds to wait for an answer of Redis before it counts as unreachable.",
    )

    replicas: int = Field(
        0,
        ge=0,
        description="Replicas that must have a new job before `submit` returns; 0: a fail-over may lose the "
        "jobs of its last moments.",
    )
    durable: Literal["server", "fsync"] = Field(
        "server",
        description="When a submit and a result count: as soon as Redis says so (`server`; what a crash "
        "takes then is up to its `appendfsync`), or when its file is on the disk (`fsync`, once for a "
        "batch: one to two seconds under `everysec`, nothing more under `always`).",
    )

    @property
    def address(self) -> RedisAddress:
        """Where it is, read.

        Raises:
            ValueError: it is no address that all parts of the farm can use.
        """
        try:
            return RedisAddress.parse(self.url.get_secret_value())
        except ValueError as exc:
            raise ValueError(f"FARM_REDIS_URL: {exc}") from None

    @model_validator(mode="after")
    def _has_an_address(self) -> Self:
        _ = self.address
        return self


class StoreSettings(FromEnvironment):
    """How long leases, retries and finished jobs last."""

    lease_s: float = Field(
        15.0,
        gt=0,
        description="Seconds after which a worker that was not heard of loses its job.",
    )
    renew_s: float = Field(
        3.0,
        gt=0,
        description="Seconds between two renewals of a lease; well under FARM_LEASE_S.",
    )
    sweep_s: float = Field(
        1.0,
        gt=0,
        description="Seconds between two sweeps of the steward.",
    )
    notify_again_after_s: float = Field(
        30.0,
        gt=0,
        validation_alias=variable("FARM_NOTIFY_AGAIN_AFTER_S", "FARM_RING_AGAIN_AFTER_S"),
        description="Seconds after which a queued job whose message is missing is announced again.",
    )
    avoid_s: float = Field(
        20.0,
        ge=0,
        description="Seconds for which a failed job is kept from the worker that failed it.",
    )
    max_lost_attempts: int = Field(
        3,
        ge=1,
        description="A job that lost this many workers is failed as poison.",
    )
    max_lost_publishing: int = Field(
        5,
        ge=1,
        description="The same for workers that were lost while they only published its files; counted apart.",
    )
    max_machine_failures: int = Field(
        5,
        ge=1,
        description="A job that failed so often for the reasons of a machine is failed as poison.",
    )
    retention_days: float = Field(
        7.0,
        gt=0,
        description="Days for which finished jobs are kept in Redis; their files in S3 stay.",
    )
    events_kept: int = Field(
        1000,
        ge=10,
        description="Events kept per job, about.",
    )

    @property
    def grace_s(self) -> float:
        """Seconds for which a steward leaves leases alone after an outage: all can be renewed meanwhile."""
        return self.renew_s + 1.0
