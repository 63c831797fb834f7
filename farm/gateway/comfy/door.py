"""The calls of Comfy API v2."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from starlette.responses import JSONResponse, Response

from farm.asking.graphs import with_values
from farm.errors import InvalidJob
from farm.gateway.bodies import json_object, number_of, once_of
from farm.gateway.comfy import assets, shapes
from farm.gateway.comfy.files import Links
from farm.gateway.comfy.stream import frames
from farm.gateway.comfy.submitting import invalid_workflow, labels_of, read_submission
from farm.gateway.door import Call, Door, Visit
from farm.gateway.keys import Scope
from farm.gateway.refusals import Refusal
from farm.gateway.streams import EventStream
from farm.gateway.tenancy import CURSOR
from farm.job import JobRecord

_FILTER: Final = re.compile(r"metadata\[(.*)\]")
_MOST: Final = 100  # jobs of one page


async def submit(visit: Visit) -> Response:
    """Queue a job; 201 means that it is stored."""
    body = await json_object(visit.request)
    once = once_of(visit.request)
    submission = await read_submission(visit, body)
    try:
        job = await visit.tenancy.submit(submission.request, once=once)
    except InvalidJob as exc:
        raise invalid_workflow(exc) from exc
    if submission.assets:
        await visit.house.farm.call(visit.house.assets.use, submission.assets, job.job_id)
    return JSONResponse(await _whole(visit, job), 201)


async def page(visit: Visit) -> Response:
    """The caller's jobs, newest first."""
    query = visit.request.query_params
    pairs = {found[1]: value for key, value in query.multi_items() if (found := _FILTER.fullmatch(key))}
    labels = labels_of(pairs, code="invalid_metadata_filter")
    limit = number_of("limit", query.get("limit", "50"), least=1, most=_MOST)
    cursor = query.get("cursor")
    if cursor is not None and not CURSOR.fullmatch(cursor):
        raise Refusal(status=400, code="invalid_cursor", message="that cursor came from no list here")
    jobs = await visit.tenancy.page(labels=labels, limit=int(limit), cursor=cursor)
    told: dict[str, Any] = {"jobs": [shapes.summary_json(job) for job in jobs.jobs]}
    if jobs.next_cursor is not None:
        told["next_cursor"] = jobs.next_cursor
    return JSONResponse(told)


async def show(visit: Visit) -> Response:
    """A job as it is now."""
    return JSONResponse(await _whole(visit, await _job(visit)))


async def workflow(visit: Visit) -> Response:
    """The graph that the job runs."""
    spec = (await _job(visit)).spec
    return JSONResponse({"workflow": with_values(spec.graph, spec.parameters), "format": "api"})


async def cancel(visit: Visit) -> Response:
    """Ask for the job's end."""
    job = await visit.tenancy.cancel(visit.named("id"))
    return JSONResponse(await _whole(visit, job))


async def events(visit: Visit) -> Response:
    """The job's live events."""
    job = await _job(visit)
    return EventStream(frames(visit, job), visit.house.streams, visit.caller.tenant)


async def health(_visit: Visit) -> Response:
    """This gateway answers."""
    return JSONResponse({"status": "ok"})


async def _job(visit: Visit) -> JobRecord:
    return await visit.tenancy.get(visit.named("id"))


async def _whole(visit: Visit, job: JobRecord) -> dict[str, Any]:
    position = await visit.house.position(job)
    outputs = await Links(visit).outputs(job)
    return shapes.job_json(job, position=position, outputs=outputs, retention_s=visit.house.retention_s)


_CALLS: Final[Sequence[Call]] = (
    Call(method="GET", path="/health", handler=health, scope=None),
    Call(method="POST", path="/jobs", handler=submit, scope=Scope.SUBMIT),
    Call(method="GET", path="/jobs", handler=page, scope=Scope.READ),
    Call(method="GET", path="/jobs/{id}", handler=show, scope=Scope.READ),
    Call(method="GET", path="/jobs/{id}/workflow", handler=workflow, scope=Scope.READ),
    Call(method="GET", path="/jobs/{id}/events", handler=events, scope=Scope.READ),
    Call(method="POST", path="/jobs/{id}/cancel", handler=cancel, scope=Scope.SUBMIT),
    Call(method="POST", path="/assets", handler=assets.upload, scope=Scope.SUBMIT, most_bytes=None),
    Call(method="POST", path="/assets/from-hash", handler=assets.from_hash, scope=Scope.SUBMIT),
    Call(method="HEAD", path="/assets/by-hash/{hash}", handler=assets.by_hash, scope=Scope.SUBMIT),
    Call(method="GET", path="/assets/{id}", handler=assets.show, scope=Scope.READ),
    Call(method="GET", path="/assets/{id}/content", handler=assets.content, scope=Scope.READ),
    Call(method="DELETE", path="/assets/{id}", handler=assets.delete, scope=Scope.SUBMIT),
)

COMFY: Final = Door(
    name="Comfy API v2",
    prefix=shapes.PREFIX,
    calls=_CALLS,
    shape=shapes.error,
    unreadable=422,  # a 400 stands nowhere in the contract
)
