"""Removes from the storage what nobody needs any more, and nothing else.

What is removed: files of jobs that were removed while the storage was away. What is removed, once it is old
enough: files of attempts whose job names another result, or none; inputs that
no job names; uploads that were never completed. What is never removed: files of the attempt that runs, the
result that a job names, and whatever has a manifest but no record: a succeeded job leaves Redis before its
result leaves the storage, and a Redis that lost its data knows no job at all. Results go only when a
retention for them is set.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from farm.asking.selection import Selection, select
from farm.errors import FarmError, JobNotFound, StoreUnavailable
from farm.job import JobRecord, JobState
from farm.settings.s3 import CleanSettings
from farm.storage import ListedObject, Storage
from farm.store.roles import CleanerStore, ViewerStore

log = logging.getLogger(__name__)

_MANIFEST: Final = "/manifest.json"  # stored last: an attempt that has it had stored everything


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanLimits:
    """How old things must be. Zero days mean never."""

    orphans_s: float = 86400.0  # since the upload; far longer than any attempt publishes
    inputs_days: float = 30.0  # since the last upload
    results_days: float = 0.0


def limits_of(settings: CleanSettings) -> CleanLimits:
    """What the settings say. An input in use is stored anew when it is a day old: so never before two."""
    return CleanLimits(
        orphans_s=settings.orphan_hours * 3600.0,
        inputs_days=max(settings.input_days, 2.0) if settings.input_days else 0.0,
        results_days=settings.result_days,
    )


@dataclass(slots=True, kw_only=True)
class Cleaned:
    """What a pass removed, or would remove."""

    removed: int = 0  # jobs that somebody removed, and whose files were left
    attempts: int = 0  # whose files nobody names
    results: int = 0  # of succeeded jobs, past their retention
    inputs: int = 0
    uploads: int = 0  # that were never completed
    size_bytes: int = 0  # of attempts, results and inputs


@dataclass(slots=True, kw_only=True)
class _Attempt:
    """What lies under one attempt's prefix."""

    job_id: str
    token: str  # of its claim; of an older farm's: its number
    objects: list[ListedObject] = field(default_factory=list)

    @property
    def newest(self) -> datetime:
        return max(each.modified_at for each in self.objects)

    @property
    def has_manifest(self) -> bool:
        return any(each.key.endswith(_MANIFEST) for each in self.objects)


class Cleaner:
    """One pass at a time; a second one beside it does no harm."""

    def __init__(self, store: CleanerStore, storage: Storage, limits: CleanLimits) -> None:
        self._store = store
        self._storage = storage
        self._limits = limits

    def clean(self, *, dry_run: bool = False) -> Cleaned:
        """Remove what is due; with `dry_run` only count it.

        Raises:
            StoreUnavailable: Redis is away: nothing is judged without it.
            StorageUnavailable: the storage does not answer, or does not let us delete.
        """
        facts = self._store.ping()
        now, removed = facts["now"], self._store.removed()
        cleaned = Cleaned(
            removed=len(removed) if dry_run else remove_files(self._store, self._storage, removed)
        )
        self._clean_attempts(now, cleaned, dry_run=dry_run)
        # A Redis that forgot its jobs cannot tell which inputs they need.
        if self._limits.inputs_days and not facts.get("forgot_at"):
            self._clean_inputs(now, cleaned, dry_run=dry_run)
        if not dry_run:
            before = now - timedelta(seconds=self._limits.orphans_s)
            for prefix in self._storage.keys.prefixes:
                cleaned.uploads += self._storage.abort_uploads(prefix, before=before)
        return cleaned

    # -- attempts ----------------------------------------------------------------------------------

    def _clean_attempts(self, now: datetime, cleaned: Cleaned, *, dry_run: bool) -> None:
        before = now - timedelta(seconds=self._limits.orphans_s)
        late = now - timedelta(days=self._limits.results_days) if self._limits.results_days else None
        lent = lent_attempts(self._store, self._storage) if late is not None else set()
        # The keys come in order, so all of a job's are together.
        for job_id, attempts in itertools.groupby(self._attempts(), key=lambda each: each.job_id):
            old = [each for each in attempts if each.newest < before]
            if not old:
                continue
            try:
                record = self._record(job_id)
            except FarmError as exc:
                if isinstance(exc, StoreUnavailable):
                    raise
                continue  # a newer farm's job: its own business
            for each in old:
                if _is_orphan(each, record):
                    cleaned.attempts += 1
                elif late is not None and _is_over(each, record, late) and (job_id, each.token) not in lent:
                    cleaned.results += 1
                else:
                    continue
                self._delete(each.objects, cleaned, dry_run=dry_run)

    def _attempts(self) -> Iterator[_Attempt]:
        """Each attempt that has stored anything; of jobs in order."""
        layout = self._storage.keys
        present: _Attempt | None = None
        for found in self._storage.list(layout.jobs_prefix):
            named = layout.attempt_of(found.key)
            if named is None:
                continue  # not ours
            if present is None or (present.job_id, present.token) != named:
                if present is not None:
                    yield present
                present = _Attempt(job_id=named[0], token=named[1])
            present.objects.append(found)
        if present is not None:
            yield present

    def _record(self, job_id: str) -> JobRecord | None:
        try:
            return self._store.get(job_id)
        except JobNotFound:
            return None

    # -- inputs ------------------------------------------------------------------------------------

    def _clean_inputs(self, now: datetime, cleaned: Cleaned, *, dry_run: bool) -> None:
        before = now - timedelta(days=self._limits.inputs_days)
        listed = self._storage.list(self._storage.keys.inputs_prefix)
        old = {found.key: found for found in listed if found.modified_at < before}
        if not old:
            return
        # Every job counts, also one that has ended: a person may have it run again.
        for record in select(self._store, Selection()):
            for source in record.spec.inputs.values():
                old.pop(source.partition("#")[0].removeprefix(f"s3://{self._storage.bucket}/"), None)
        cleaned.inputs += len(old)
        self._delete(list(old.values()), cleaned, dry_run=dry_run)

    def _delete(self, objects: list[ListedObject], cleaned: Cleaned, *, dry_run: bool) -> None:
        cleaned.size_bytes += sum(each.size_bytes for each in objects)
        for each in objects if not dry_run else ():
            self._storage.delete(each.key)
            log.info("Removed from the storage", extra={"event": "cleaned", "key": each.key})


def _is_orphan(attempt: _Attempt, record: JobRecord | None) -> bool:
    """Whether no result is, or ever can be, made of these files."""
    if record is None:
        return not attempt.has_manifest
    if record.state is JobState.RUNNING:
        # By number, a worker of an older farm may be at it.
        return attempt.token not in (record.token, str(record.attempt))
    if record.state is JobState.SUCCEEDED and record.result is not None:
        return f"/{record.job_id}/{attempt.token}/" not in f"/{record.result.manifest_key}"
    return True


def _is_over(attempt: _Attempt, record: JobRecord | None, late: datetime) -> bool:
    finished = attempt.newest if record is None else record.finished_at
    return finished is not None and finished < late and attempt.newest < late


def remove_files(store: CleanerStore, storage: Storage, job_ids: Sequence[str]) -> int:
    """Remove all files of jobs whose records are gone; of how many it did. Those that another job's result
    names stay.

    Raises:
        StorageUnavailable: what is left is still in `CleanerStore.removed`.
    """
    lent = {job_id for job_id, _ in lent_attempts(store, storage)} if job_ids else set()
    gone = [job_id for job_id in job_ids if job_id not in lent]
    for job_id in gone:
        storage.delete_prefix(storage.keys.job_prefix(job_id))
        store.files_are_gone(job_id)
    return len(gone)


def lent_attempts(store: ViewerStore, storage: Storage) -> set[tuple[str, str]]:
    """Job id and token of attempts whose files are the result of another job too."""
    records = select(store, Selection(state=JobState.SUCCEEDED))
    named = ((record.job_id, _named(storage, record)) for record in records)
    return {attempt for job_id, attempt in named if attempt is not None and attempt[0] != job_id}


def _named(storage: Storage, record: JobRecord) -> tuple[str, str] | None:
    return storage.keys.attempt_of(record.result.manifest_key) if record.result is not None else None
