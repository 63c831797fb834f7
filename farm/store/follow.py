"""The events of a job as one stream, from where it was left to where it ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from farm.job import EventKind, JobEvent, JobState
from farm.store.roles import JobReader

BLOCK_S: Final = 1.0  # longest single wait for news
_LIMIT: Final = 1000


def follow(store: JobReader, job_id: str, after: str) -> Iterator[JobEvent]:
    """What happened and happens to a job, in order; ends when it has ended.

    Args:
        after: the `event_id` of the last event seen; "0" is from the beginning.

    Raises:
        JobNotFound: there is no such job (any more).
    """
    while True:
        # Asked before its events are, so that none comes behind the last look at them. And it is the record
        # that says it: a person may have sent the job round again after an event that ended it.
        final = store.get(job_id).state.final
        news = store.events(job_id, after=after, limit=_LIMIT, block_s=0.0 if final else BLOCK_S)
        yield from news
        if news:
            after = news[-1].event_id
        elif final:
            return


def past_events(store: JobReader, job_id: str, after: str = "0") -> Iterator[JobEvent]:
    """What has happened to a job by now.

    Raises:
        JobNotFound: there is no such job.
    """
    while news := store.events(job_id, after=after, limit=_LIMIT):
        yield from news
        after = news[-1].event_id


def ends(event: JobEvent) -> bool:
    """Whether the job had reached a final state with this event."""
    return event.kind is EventKind.STATE and JobState(event.data["state"]).final
