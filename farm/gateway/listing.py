"""Lists of jobs, and orders about many at once: those that are named, or all that a list would show."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from starlette.responses import JSONResponse, Response

from farm.errors import JobNotFound
from farm.gateway.bodies import json_object, number_of, object_of
from farm.gateway.door import Call, Visit
from farm.gateway.keys import Scope
from farm.gateway.records import listed_json
from farm.gateway.refusals import bad_request
from farm.gateway.tenancy import CURSOR, Filters
from farm.job import JobRecord, JobState
from farm.store.codec import moment_of

_MOST: Final = 100  # jobs of one page
_PART: Final = 500  # of an order about many
_BAD: Final = frozenset({JobState.FAILED, JobState.CANCELED, JobState.EXPIRED})
_WORDS: Final = ("state", "search", "worker", "since", "until")


async def page(visit: Visit) -> Response:
    """The caller's jobs, newest first, with what a list shows of each."""
    query = visit.request.query_params
    limit = number_of("limit", query.get("limit", "24"), least=1, most=_MOST)
    found = await visit.tenancy.page(
        **_filters(query, query.getlist("label")), limit=int(limit), cursor=_cursor(query.get("cursor"))
    )
    return JSONResponse({"jobs": await listed_json(visit, found.jobs), **_further(found.next_cursor)})


async def cancel_many(visit: Visit) -> Response:
    """Ask for the end of many jobs."""

    async def cancel(jobs: Sequence[JobRecord]) -> int:
        going_on = [job.job_id for job in jobs if not job.state.final]
        return len(await visit.house.farm.cancel_many(going_on))

    return await _ordered(visit, cancel)


async def retry_many(visit: Visit) -> Response:
    """Queue anew those of many jobs that ended badly."""

    async def retry(jobs: Sequence[JobRecord]) -> int:
        bad = [job.job_id for job in jobs if job.state in _BAD]
        return len([each async for each in visit.house.farm.retry_many(bad)])

    return await _ordered(visit, retry)


async def _ordered(visit: Visit, order: Callable[[Sequence[JobRecord]], Awaitable[int]]) -> Response:
    """Carry out an order, about so many jobs as one call can be about; the answer says where to go on."""
    body = await json_object(visit.request)
    cursor = None
    if set(body) == {"ids"}:
        jobs = await _named(visit, body["ids"])
    elif "where" in body and not set(body) - {"where", "all", "cursor"}:
        where = object_of(body, "where")
        filters = _filters_of_body(where)
        if not any(where.values()) and body.get("all") is not True:
            raise bad_request('that where holds for every job: send "all": true with it if all are meant')
        found = await visit.tenancy.page(**filters, limit=_PART, cursor=_cursor(body.get("cursor")))
        jobs, cursor = found.jobs, found.next_cursor
    else:
        raise bad_request("send ids, or where with what a list is asked for, and the cursor to go on at")
    return JSONResponse({"done": await order(jobs), "of": len(jobs), **_further(cursor)})


async def _named(visit: Visit, ids: Any) -> Sequence[JobRecord]:
    """Those of the jobs that are the caller's."""
    if not isinstance(ids, list) or len(ids) > _PART or not all(isinstance(each, str) for each in ids):
        raise bad_request(f"ids is a list of at most {_PART} ids of jobs")
    found = []
    for job_id in dict.fromkeys(ids):
        try:
            found.append(await visit.tenancy.get(job_id))
        except JobNotFound:
            continue
    return found


def _filters_of_body(where: Mapping[str, Any]) -> Filters:
    labels = where.get("labels", [])
    words = {name: value for name, value in where.items() if name != "labels"}
    texts = [*labels, *words.values()] if isinstance(labels, list) else [None]
    if set(words) - {*_WORDS} or not all(isinstance(each, str) for each in texts):
        raise bad_request(f"where has labels, a list, and {', '.join(_WORDS)}, all of them texts")
    return _filters(words, labels)


def _filters(said: Mapping[str, str], labels: Sequence[str]) -> Filters:
    state = said.get("state")
    if state is not None and state not in [each.value for each in JobState]:
        raise bad_request(f"state is one of {', '.join(JobState)}")
    return Filters(
        labels=tuple(labels),
        state=JobState(state) if state else None,
        since=_moment(said, "since"),
        until=_moment(said, "until"),
        where={"worker": said["worker"]} if said.get("worker") else {},
        search=said.get("search", ""),
    )


def _cursor(said: Any) -> str | None:
    if said is not None and not (isinstance(said, str) and CURSOR.fullmatch(said)):
        raise bad_request("that cursor came from no list here")
    return said


def _further(cursor: str | None) -> dict[str, str | None]:
    """Where the list goes on, and how far back it has looked: among many jobs few may be wanted."""
    looked_to = None if cursor is None else moment_of(cursor).isoformat()
    return {"next_cursor": cursor, "looked_back_to": looked_to}


def _moment(query: Mapping[str, str], name: str) -> datetime | None:
    """A moment, or the beginning of a day; UTC unless it says otherwise."""
    if not (said := query.get(name)):
        return None
    try:
        found = datetime.fromisoformat(said)
    except ValueError:
        raise bad_request(f"{name} is a day or a moment as 2026-08-01T10:00:00Z") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


LISTING: Final = (
    Call(
        method="GET",
        path="/jobs",
        handler=page,
        scope=Scope.READ,
        query=(*_WORDS, "label", "limit", "cursor"),
    ),
    Call(method="POST", path="/jobs/cancel", handler=cancel_many, scope=Scope.SUBMIT),
    Call(method="POST", path="/jobs/retry", handler=retry_many, scope=Scope.SUBMIT),
)
