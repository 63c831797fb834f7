"""Lets parked jobs go when a worker that fits has come."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from datetime import datetime
from typing import Final

from farm.errors import InvalidJob
from farm.fleet.preflight import Preflight
from farm.job import JobSpec
from farm.store.roles import StewardStore

log = logging.getLogger(__name__)

_AT_ONCE: Final = 200  # parked jobs looked at in one turn


class Placer:
    """Looks at parked jobs, a few in each turn; at all of them again only when the fleet has changed."""

    def __init__(self, store: StewardStore) -> None:
        self._store = store
        self._preflight = Preflight(store)
        self._fleet: Hashable = None
        self._after: datetime | None = None

    def turn(self) -> int:
        """Do what is due; how many jobs were let go.

        Raises:
            StoreUnavailable: nothing can be read or moved.
        """
        if not self._store.parked(limit=1):
            return 0
        fleet = self._preflight.fleet_name()
        if fleet != self._fleet:
            self._fleet, self._after = fleet, None
        page = self._store.parked(after=self._after, limit=_AT_ONCE)
        if not page:
            return 0
        ready = [record.job_id for record in page if self._fits(record.spec)]
        count = self._store.unpark(ready, reason="a worker that fits has come") if ready else 0
        self._after = page[-1].submitted_at
        if count:
            log.info("Parked jobs are announced", extra={"event": "unparked", "jobs": count})
        return count

    def _fits(self, spec: JobSpec) -> bool:
        try:
            return self._preflight.check(spec) > 0
        except InvalidJob:
            return False
