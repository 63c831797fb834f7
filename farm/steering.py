"""Orders about many jobs at once; `Farm` and `AsyncFarm` hand them out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from farm.asking.selection import Selection, select_ids
from farm.errors import IllegalMove, InvalidJob, JobNotFound, Problem
from farm.job import LEAST_URGENT, MOST_URGENT, JobRecord, JobState
from farm.storage import Storage
from farm.store.roles import SubmitterStore
from farm.upkeep.cleaning import lent_attempts

Wanted = Selection | Iterable[str]  # or their ids


def ids_of(store: SubmitterStore, wanted: Wanted) -> list[str]:
    """The ids of the jobs that are meant, in order."""
    return list(select_ids(store, wanted) if isinstance(wanted, Selection) else wanted)


def prioritize(store: SubmitterStore, job_ids: Sequence[str], priority: int) -> dict[str, JobState]:
    """Move queued jobs to another priority.

    Raises:
        InvalidJob: it is none.
    """
    if not MOST_URGENT <= priority <= LEAST_URGENT:
        message = f"is {priority}; {MOST_URGENT} is the most urgent, {LEAST_URGENT} the least"
        raise InvalidJob([Problem(field="priority", message=message)])
    return store.prioritize(job_ids, priority)


def retry_each(store: SubmitterStore, job_ids: Iterable[str]) -> Iterator[str]:
    """Queue anew those jobs that ended badly; the ids of those that were, as it goes on."""
    for job_id in job_ids:
        try:
            store.retry(job_id)
        except (IllegalMove, JobNotFound):  # somebody else was quicker, or its retention has passed
            continue
        yield job_id


def remove(store: SubmitterStore, storage: Storage, job_ids: Sequence[str]) -> dict[str, JobState]:
    """Remove records and files of jobs that have ended; files that another job's result names stay."""
    records = [record for job_id in job_ids if (record := _record(store, job_id)) is not None]
    states = store.remove([record.job_id for record in records])
    # Only a job that asked for it can have lent its files.
    lent = lent_attempts(store, storage) if any(record.spec.reuse for record in records) else set()
    keep = {job_id for job_id, _ in lent}
    for job_id, state in states.items():
        if state.final and job_id not in keep:
            storage.delete_prefix(storage.keys.job_prefix(job_id))
    return states


def _record(store: SubmitterStore, job_id: str) -> JobRecord | None:
    try:
        return store.get(job_id)
    except JobNotFound:
        return None
