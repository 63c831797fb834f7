"""`Tenancy`: the farm as one caller sees it: their jobs, and of others nothing. Every door works on it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final, TypedDict, cast

from comfy.wan.parameters import ParameterKind
from comfy.wan.templates import TEMPLATES, get_template
from farm.asking.measure import check_kinds
from farm.asking.request import JobOptions, JobRequest
from farm.asking.selection import Selection
from farm.asking.sources import scheme_of
from farm.errors import (
    FarmError,
    InvalidJob,
    JobNotFound,
    NotDurable,
    Problem,
    StorageUnavailable,
    StoreUnavailable,
)
from farm.gateway.house import House
from farm.gateway.keys import Caller
from farm.gateway.refusals import Refusal, used_up
from farm.job import JobRecord, JobState, is_job_id
from farm.store.base import Page
from farm.store.codec import cursor_behind
from farm.store.redis.doors import Entry, Place
from farm.store.webhooks import TENANT_LABEL

# `s3` for what doors themselves have stored; none of them takes such an address from a client.
_SCHEMES: Final = ("https", "http", "s3")
CURSOR: Final = re.compile(r"[0-9]{1,20}")  # of a page; what a client sends is held against it
_LOOK: Final = 100  # jobs that are looked through at a time for those that pass a filter
_LOOKING_S: Final = 1.0  # for one page, which ends short then
_FULL_S: Final = 10  # after so long some job may have ended


class Filters(TypedDict, total=False):
    """Which jobs a list is of, as `Tenancy.page` takes it."""

    labels: Sequence[str]
    state: JobState | None
    since: datetime | None  # submitted then or later
    until: datetime | None  # submitted before
    search: str  # words, as `Selection` has them
    where: Mapping[str, str] | None  # values by name, as `Selection` has them


@dataclass(frozen=True, slots=True)
class Tenancy:
    """One caller's view, for one request."""

    house: House
    caller: Caller

    async def get(self, job_id: str) -> JobRecord:
        """A job of theirs.

        Raises:
            JobNotFound: there is none, or it is somebody else's.
        """
        if not is_job_id(job_id):
            raise JobNotFound(job_id[:64])
        record = await self.house.records.of(job_id)
        if record is None:
            record = (await self.house.farm.get(job_id)).record  # says what became of it
        if not self.caller.sees(record):
            raise JobNotFound(job_id)
        return record

    async def page(
        self,
        *,
        labels: Sequence[str] = (),
        state: JobState | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        search: str = "",
        where: Mapping[str, str] | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Their jobs for which all of that holds, newest first; a page may be short and not be the last.

        Args:
            since, until: submitted then or later, and before then.
            search, where: words, and values by name, as `Selection` has them.
        """
        wanted = Selection(search=search, where=where or {})
        own = self.caller.label if not self.caller.sees_all else None
        label = next(iter(labels), own)
        # What is asked of the store alone needs not be looked through.
        whole = wanted == Selection() and {*labels} | {own} <= {label, None}
        found: list[JobRecord] = []
        until_s = time.monotonic() + _LOOKING_S
        while True:
            left = limit - len(found)
            page = await self.house.farm.page(
                label=label,
                state=state,
                since=since,
                until=until,
                limit=left if whole else max(left, _LOOK),
                cursor=cursor,
                hints=wanted.hints,
            )
            passing = [
                job
                for job in page.jobs
                if self.caller.sees(job) and {*labels} <= {*job.spec.labels} and wanted.holds(job)
            ]
            found += passing[:left]
            cursor = cursor_behind(found[-1]) if len(passing) > left else page.next_cursor
            if cursor is None or len(found) == limit or time.monotonic() > until_s:
                break
        return Page(jobs=tuple(found), next_cursor=cursor)

    async def submit(self, request: JobRequest, *, once: str | None = None) -> JobRecord:
        """Queue a job of theirs.

        Args:
            once: a key that is good for one job.

        Raises:
            Refusal: the queue is full, or the key was used.
            InvalidJob: it cannot run as it is.
            StoreUnavailable, StorageUnavailable: a part of the farm is away.
        """
        check_reach(request)
        labelled = self._labelled(request)
        place = await self._enter(once)
        try:
            record = (await self.house.farm.submit_one(labelled)).record
        except NotDurable as exc:
            record = (await self.house.farm.get(exc.job_ids[0])).record
        except (StoreUnavailable, StorageUnavailable):
            raise  # whether there is a job now nobody knows: its key stays used
        except FarmError:
            await self.house.farm.call(self.house.book.leave, place)
            raise
        await self.house.farm.call(self.house.book.settle, place, record.job_id)
        return record

    async def cancel(self, job_id: str, *, reason: str = "") -> JobRecord:
        """Ask for the end of a job of theirs; it, as it is then."""
        await self.get(job_id)
        await self.house.farm.cancel(job_id, reason=reason)
        return await self.get(job_id)

    def _labelled(self, request: JobRequest) -> JobRequest:
        labels = request.options.get("labels", ())
        if any(label.startswith(TENANT_LABEL) for label in labels):
            message = f"{TENANT_LABEL!r} begins labels that the gateway gives"
            raise InvalidJob([Problem(field="labels", message=message)])
        own = () if self.caller.label is None else (self.caller.label,)
        return replace(request, options=cast("JobOptions", {**request.options, "labels": (*labels, *own)}))

    async def _enter(self, once: str | None) -> Place:
        house = self.house
        place = await house.farm.call(
            house.book.enter,
            self.caller.tenant,
            most_open=house.settings.open_jobs,
            most_waiting=house.settings.waiting_jobs,
            once=once,
        )
        match place.entry:
            case Entry.IN:
                return place
            case Entry.USED:
                raise used_up()
            case Entry.FULL:
                message = f"{place.open_jobs:,} jobs of yours wait or run, the most that may at a time"
            case Entry.FARM_FULL:
                message = "the farm takes no more jobs for now"
        raise Refusal(
            status=429,
            code="queue_full",
            message=f"{message}; {place.waiting:,} jobs wait in the farm",
            details={"open_jobs": place.open_jobs, "waiting_jobs": place.waiting},
            retry_after_s=_FULL_S,
        )


def check_reach(request: JobRequest) -> None:
    """Refuse what would be read on the gateway's own disk: to the farm a plain text may be a path.

    Raises:
        InvalidJob: names each such file, or what is of another kind.
    """
    check_kinds(request)
    if request.template is not None and request.template not in TEMPLATES:
        known = ", ".join(TEMPLATES)
        message = f"there is no template {str(request.template)[:64]!r}; there are {known}"
        raise InvalidJob([Problem(field="template", message=message)])
    files = [] if request.template is None else get_template(request.template).parameters
    names = [
        each.name for each in files if each.kind is ParameterKind.FILE and each.name in request.parameters
    ]
    problems = [Problem(field=name, message="is a file: give it among the inputs") for name in names]
    problems += [
        Problem(field=f"input {name}", message="is no address (https)")
        for name, source in request.inputs.items()
        if not isinstance(source, bytes) and scheme_of(str(source)) not in _SCHEMES
    ]
    if isinstance(request.graph, str | Path):
        problems.append(Problem(field="graph", message="is an object, and no path"))
    if problems:
        raise InvalidJob(problems)
