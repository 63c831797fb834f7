"""`House`: what all doors share: the farm, the book in Redis, the guard, the settings."""

from __future__ import annotations

from dataclasses import dataclass

from farm.aio import AsyncFarm
from farm.gateway.guard import Guard
from farm.settings import GatewaySettings
from farm.store.redis.doors import DoorBook


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """One for each process."""

    farm: AsyncFarm
    book: DoorBook
    settings: GatewaySettings
    guard: Guard

    async def close(self) -> None:
        """Give threads and connections back."""
        await self.farm.close()
        self.book.close()
