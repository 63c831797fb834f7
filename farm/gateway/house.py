"""`House`: what all doors share: the farm, what is kept in Redis beside it, the guard, the settings."""

from __future__ import annotations

from dataclasses import dataclass

from farm.aio import AsyncFarm
from farm.gateway.gathered import Gathered
from farm.gateway.guard import Asking, Guard
from farm.gateway.keys import Caller
from farm.gateway.refusals import Refusal
from farm.gateway.streams import Streams
from farm.job import JobRecord, JobState
from farm.outside.dial import Dialer, dialer_of
from farm.settings.gateway import GatewaySettings
from farm.settings.outside import OutsideSettings
from farm.settings.redis import StoreSettings
from farm.settings.s3 import CleanSettings
from farm.store.redis.assets import AssetBook
from farm.store.redis.doors import DoorBook

_DAY_S = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """One for each process."""

    farm: AsyncFarm
    book: DoorBook
    assets: AssetBook
    settings: GatewaySettings
    guard: Guard
    streams: Streams
    admitted: Gathered[Asking, Caller | Refusal]
    records: Gathered[str, JobRecord]
    positions: Gathered[str, int]  # of those that wait in a queue
    dialer: Dialer  # judges addresses as the courier does
    retention_s: float  # of jobs that have ended
    input_days: float  # for which an input stays in S3 that no job names; 0: for ever

    async def position(self, job: JobRecord) -> int | None:
        """How many jobs come before it; None: it does not wait in a queue."""
        return await self.positions.of(job.job_id) if job.state is JobState.QUEUED else None

    async def close(self) -> None:
        """Give threads and connections back."""
        await self.farm.close()
        self.book.close()
        self.assets.close()


def make_house(
    farm: AsyncFarm, book: DoorBook, assets: AssetBook, settings: GatewaySettings, *, only_here: bool
) -> House:
    """The house over these parts.

    Args:
        only_here: the gateway listens on loopback alone.
    """
    guard = Guard(book, settings, only_here=only_here)
    return House(
        farm=farm,
        book=book,
        assets=assets,
        settings=settings,
        guard=guard,
        admitted=Gathered(lambda asked: farm.call(guard.admit, asked)),
        records=Gathered(lambda job_ids: farm.call(farm.store.get_many, job_ids)),
        streams=Streams(most=settings.streams, most_of_tenant=settings.tenant_streams),
        positions=Gathered(farm.queue_positions),
        dialer=dialer_of(OutsideSettings.read()),
        retention_s=StoreSettings.read().retention_days * _DAY_S,
        input_days=CleanSettings.read().input_days,
    )
