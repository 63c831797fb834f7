"""How long a job waited before it was claimed, and how much of that because somebody had paused it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from farm.errors import FarmError
from farm.job import EventKind, JobEvent
from farm.store.base import Claim
from farm.store.roles import JobReader

log = logging.getLogger(__name__)

_LEAST_S: Final = 5.0  # whoever waited for less was not paused, or for no time that counts
_MOST_EVENTS: Final = 1000


def waited(claim: Claim, store: JobReader) -> dict[str, float]:
    """Seconds as `comfy.doctor.times.JobTimes` names them: "queue", and "paused" where it was."""
    whole = (claim.claimed_at - claim.submitted_at).total_seconds()
    if whole < _LEAST_S:
        return {"queue": whole}
    try:
        paused = paused_s(store.events(claim.job_id, limit=_MOST_EVENTS), until=claim.claimed_at)
    except FarmError as exc:
        log.info("What a job waited for is not known", extra={"event": "waiting_unknown", "reason": str(exc)})
        return {"queue": whole}
    return {"queue": whole - paused, "paused": paused} if paused else {"queue": whole}


def paused_s(events: Iterable[JobEvent], *, until: datetime) -> float:
    """Between each "paused" and what came next, whether it was resumed, canceled or claimed."""
    total, since = 0.0, None
    for event in events:
        if event.kind is not EventKind.STATE:
            continue
        if since is not None:
            total += (min(event.at, until) - since).total_seconds()
        if event.at > until:
            break
        since = event.at if event.data.get("reason") == "paused" else None
    return total
