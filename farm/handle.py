"""What `Farm` hands out: one job and what can be done with it, and the files it made."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, Self

from farm.arguments import EventId, checks_arguments
from farm.errors import NoResult
from farm.job import Artifact, JobEvent, JobRecord, JobResult, JobState
from farm.storage import Storage
from farm.storage.base import ProgressHook
from farm.storage.downloads import DEFAULT_NAME, Extra, download_all
from farm.store.follow import past_events
from farm.store.roles import JobReader, SubmitterStore


@checks_arguments
@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The files of a succeeded job."""

    job: JobRecord
    facts: JobResult  # its result
    storage: Storage
    _store: JobReader = field(repr=False)  # its events are there

    @property
    def main(self) -> Artifact:
        """The clip: the first video, or the first file when there is none."""
        return self.facts.main

    def url(self, artifact: Artifact | None = None, *, expires_s: int | None = None) -> str:
        """A link to a file (default: the clip) that works without credentials, for a while."""
        return self.storage.url((artifact or self.main).key, expires_s=expires_s)

    def download(
        self,
        folder: str | Path = ".",
        *,
        name: str = DEFAULT_NAME,
        extras: Collection[Extra | str] = (),
        progress: ProgressHook | None = None,
    ) -> list[Path]:
        """Every file of the job, put into `folder`, checked against its sha256; returns the paths.

        Files of several jobs may go into one folder: nothing is overwritten, what is there is not fetched
        again, and what broke off is gone on with.

        Args:
            name: of the files, without their ending; `farm.storage.downloads.download_all` has its fields.
            extras: what else: "poster", "manifest", "previews"; their paths come last.
            progress: told the bytes of files as they come.

        Raises:
            SettingsError: `name` has a field that this job does not, or there is no such extra.
            StorageUnavailable: S3 does not give it; what had come stays.
        """
        return download_all(
            self.job,
            self.storage,
            Path(folder),
            name=name,
            extras=extras,
            events=lambda: past_events(self._store, self.job.job_id),
            progress=progress or (lambda _: None),
        )


class FarmOfJobs(Protocol):
    """What a job asks of the farm that gave it out; `farm.Farm` is one."""

    @property
    def store(self) -> SubmitterStore:
        """The truth about jobs."""

    @property
    def storage(self) -> Storage:
        """Where files are."""

    def wait(self, job_id: str, *, timeout_s: float | None = None) -> Job:
        """As `Farm.wait`."""

    def events(self, job_id: str, *, after: str = "0", live: bool = True) -> Iterator[JobEvent]:
        """As `Farm.events`."""

    def cancel(self, job_id: str, *, reason: str = "") -> JobState:
        """As `Farm.cancel`."""

    def retry(self, job_id: str) -> Job:
        """As `Farm.retry`."""


@checks_arguments
class Job:
    """One job, as it was when last asked for, and what can be done with it."""

    __slots__ = ("_farm", "_record", "job_id")

    def __init__(self, farm: FarmOfJobs, job_id: str, record: JobRecord | None = None) -> None:
        self._farm = farm
        self._record = record
        self.job_id: Final = job_id  # what `Farm.get` takes

    def __repr__(self) -> str:
        return f"<Job {self.job_id}{f' {self._record.state}' if self._record else ''}>"

    @property
    def record(self) -> JobRecord:
        """All that the store knew of it when last asked; the first use asks."""
        if self._record is None:
            self._record = self._farm.store.get(self.job_id)
        return self._record

    @property
    def state(self) -> JobState:
        """The state at the last look; `refresh` looks again."""
        return self.record.state

    def refresh(self) -> Self:
        """Look again; returns itself."""
        self._record = self._farm.store.get(self.job_id)
        return self

    def wait(self, timeout_s: float | None = None) -> Self:
        """Wait until it succeeded; returns itself.

        Raises:
            JobFailed: it ended failed, canceled or expired.
            WaitTimeout: it still goes on; waiting longer is all that is needed.
        """
        self._record = self._farm.wait(self.job_id, timeout_s=timeout_s).record
        return self

    def events(self, *, after: EventId = "0", live: bool = True) -> Iterator[JobEvent]:
        """As `Farm.events`."""
        return self._farm.events(self.job_id, after=after, live=live)

    def cancel(self, *, reason: str = "") -> JobState:
        """As `Farm.cancel`."""
        return self._farm.cancel(self.job_id, reason=reason)

    def retry(self) -> Self:
        """As `Farm.retry`; returns itself."""
        self._record = self._farm.retry(self.job_id).record
        return self

    def result(self) -> Result:
        """Its files.

        Raises:
            NoResult: it has not succeeded (yet).
        """
        record = self.record if self.record.result else self.refresh().record
        return result_of(record, self._farm.storage, self._farm.store)


def result_of(record: JobRecord, storage: Storage, store: JobReader) -> Result:
    """The files of a job.

    Raises:
        NoResult: it has none.
    """
    if record.result is None:
        raise NoResult(record.job_id, record.state)
    return Result(job=record, facts=record.result, storage=storage, _store=store)
