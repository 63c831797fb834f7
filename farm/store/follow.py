"""The events of many jobs as one stream, from where each was left to where each ends."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Final

from farm.job import EventKind, JobEvent, JobState
from farm.store.roles import JobReader

BLOCK_S: Final = 1.0  # longest single wait for news
LOOK_AGAIN_S: Final = 10.0  # a job whose last event went unseen (it was purged, say) is found out by then
_LIMIT: Final = 1000


def follow(store: JobReader, after: Mapping[str, str]) -> Iterator[JobEvent]:
    """What happened and happens to these jobs, each in order; ends when all have ended.

    Args:
        after: job id -> the `event_id` of the last event seen; "0" is from the beginning.

    Raises:
        JobNotFound: there is no such job (any more).
    """
    read_until = dict(after)
    for job_id in after:
        # One by one, because a job that nobody claimed yet has no stream to read from.
        while news := store.events(job_id, after=read_until[job_id], limit=_LIMIT):
            yield from news
            read_until[job_id] = news[-1].event_id
        if store.get(job_id).state.final:
            yield from _rest(store, job_id, read_until.pop(job_id))
    looked_at = time.monotonic()
    while read_until:
        for job_id, news in store.news(read_until, limit=_LIMIT, block_s=BLOCK_S).items():
            yield from news
            read_until[job_id] = news[-1].event_id
            # A person may have sent it round again since: the record decides.
            if ends(news[-1]) and store.get(job_id).state.final:
                yield from _rest(store, job_id, read_until.pop(job_id))
        if time.monotonic() - looked_at >= LOOK_AGAIN_S:
            for job_id in [job_id for job_id in read_until if store.get(job_id).state.final]:
                yield from _rest(store, job_id, read_until.pop(job_id))
            looked_at = time.monotonic()


def ends(event: JobEvent) -> bool:
    """Whether the job had reached a final state with this event."""
    return event.kind is EventKind.STATE and JobState(event.data["state"]).final


def _rest(store: JobReader, job_id: str, after: str) -> Iterator[JobEvent]:
    """What came between the last look and the end."""
    while news := store.events(job_id, after=after, limit=_LIMIT):
        yield from news
        after = news[-1].event_id
