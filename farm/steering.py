"""Orders about many jobs at once; `Farm` and `AsyncFarm` hand them out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from farm.arguments import check_argument
from farm.asking.selection import Selection, select_ids
from farm.errors import IllegalMove, InvalidArgument, InvalidJob, JobNotFound, Problem, StorageUnavailable
from farm.job import LEAST_URGENT, MOST_URGENT, JobState
from farm.limits import MOST_NAMED_JOBS
from farm.storage import Storage
from farm.store.roles import SubmitterStore
from farm.upkeep.cleaning import remove_files

log = logging.getLogger(__name__)

Wanted = Selection | Iterable[str]  # or their ids


def ids_of(store: SubmitterStore, wanted: Wanted) -> list[str]:
    """The ids of the jobs that are meant, in order.

    Raises:
        InvalidArgument: what was given for one is no id, or there are too many.
    """
    if isinstance(wanted, Selection):
        return list(select_ids(store, wanted))
    ids = list(islice(wanted, MOST_NAMED_JOBS + 1))  # an iterator could go on for ever, and give anything
    if len(ids) > MOST_NAMED_JOBS:
        raise InvalidArgument("jobs", f"are at most {MOST_NAMED_JOBS:,} ids; a Selection may mean more")
    check_argument("jobs", ids, Sequence[str])
    return ids


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
    """Remove records and files of jobs that have ended.

    Files that another job's result names stay until it does no more; so do all while the storage is away. The
    clean-up of the storage removes them then.
    """
    states = store.remove(job_ids)
    try:
        remove_files(store, storage, [job_id for job_id, state in states.items() if state.final])
    except StorageUnavailable as exc:
        log.warning(
            "Files of removed jobs are left to the clean-up",
            extra={"event": "files_left", "reason": str(exc)},
        )
    return states
