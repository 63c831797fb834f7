"""The farm's own door: what the other contracts have no words for, and what the page is made of."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from pydantic import TypeAdapter
from starlette.responses import JSONResponse, Response

import comfy.lint
from farm.asking.graphs import Knowledge
from farm.asking.prepare import built_for
from farm.asking.request import JobRequest
from farm.errors import NoResult, WorkerNotFound
from farm.fleet.planning import JobPlan
from farm.fleet.sites import site_nowhere
from farm.gateway.asked import asked
from farm.gateway.bodies import json_object, once_of
from farm.gateway.comfy.files import Content, content_response
from farm.gateway.door import Call, Door, Visit
from farm.gateway.forms import FORMS
from farm.gateway.health import error
from farm.gateway.hooks import HOOKS
from farm.gateway.keys import Scope
from farm.gateway.listing import LISTING
from farm.gateway.records import job_json
from farm.gateway.refusals import bad_request, not_found
from farm.job import EventKind, JobResult
from farm.store.base import Counts, Drain

_PLAN: Final = TypeAdapter(JobPlan)
_COUNTS: Final = TypeAdapter(Counts)
_MOST_EVENTS: Final = 500  # looked through for lines of the log
_OF_STEPS: Final = ("node_id", "step", "steps")
_OF_MANIFEST: Final = ("changes", "rewrites", "out_of_memory", "blocked")
# What a tenant is shown of a worker: nothing of others' jobs, and nothing of its machine but the card.
_OF_WORKERS: Final = (
    *("name", "gpu", "load_plan", "vram_gib", "state", "not_fetching", "emulated"),
    *("comfyui_version", "resources", "warm_models"),
)


async def submit(visit: Visit) -> Response:
    """Queue a job: a graph in either of ComfyUI's formats, or a template; options as `Farm.submit` has."""
    once = once_of(visit.request)
    request, used = await asked(visit)
    job = await visit.tenancy.submit(request, once=once)
    if used:
        await visit.house.farm.call(visit.house.assets.use, used, job.job_id)
    return JSONResponse(await job_json(visit, job), 201)


async def show(visit: Visit) -> Response:
    """All that is known of a job."""
    job = await visit.tenancy.get(visit.named("id"))
    return JSONResponse(await job_json(visit, job))


async def cancel(visit: Visit) -> Response:
    """Ask for a job's end."""
    job = await visit.tenancy.cancel(visit.named("id"))
    return JSONResponse(await job_json(visit, job))


async def retry(visit: Visit) -> Response:
    """Queue a job anew that ended badly."""
    job = await visit.tenancy.get(visit.named("id"))
    again = await visit.house.farm.retry(job.job_id)
    return JSONResponse(await job_json(visit, again.record))


async def plan(visit: Visit) -> Response:
    """What a job needs and how long it takes on each card of the fleet; queues nothing."""
    request, _ = await asked(visit)
    found = await visit.house.farm.plan(request)
    return JSONResponse(_PLAN.dump_python(found, mode="json"))


async def lint(visit: Visit) -> Response:
    """What is wrong, slow or without effect in a graph."""
    request, _ = await asked(visit)
    known = await visit.house.farm.node_definitions()
    return JSONResponse({"diagnostics": await visit.house.farm.call(_linted, request, lambda: known)})


async def manifest(visit: Visit) -> Response:
    """What was changed in a job's graph and why, as its manifest has it; nothing of the worker's machine."""
    key = (await _result(visit)).manifest_key
    stored = await visit.house.farm.call(visit.house.farm.storage.read_bytes, key)
    found = await asyncio.to_thread(json.loads, stored)
    return JSONResponse({name: found.get(name, []) for name in _OF_MANIFEST})


async def log(visit: Visit) -> Response:
    """What a job's newest events have: lines of ComfyUI's log, and when it was at which step."""
    job = await visit.tenancy.get(visit.named("id"))
    events = await visit.house.farm.recent_events(job.job_id, limit=_MOST_EVENTS)
    lines = [event.data.get("line", "") for event in events if event.kind is EventKind.LOG]
    steps = [
        {**{name: event.data.get(name) for name in _OF_STEPS}, "at": event.at.isoformat()}
        for event in events
        if event.kind is EventKind.PROGRESS and event.data.get("node_id") is not None
    ]
    return JSONResponse({"lines": lines, "steps": steps})


async def clip(visit: Visit) -> Response:
    """A job's main file, by a link or through the gateway."""
    main = (await _result(visit)).main
    content = Content(key=main.key, size_bytes=main.size_bytes, media_type=main.media_type)
    return await content_response(visit, content)


async def poster(visit: Visit) -> Response:
    """A picture of a job's main file."""
    key = (await _result(visit)).main.poster_key
    if key is None:
        raise not_found("picture of that job")
    return Response(
        await visit.house.farm.call(visit.house.farm.storage.read_bytes, key), media_type="image/jpeg"
    )


async def entry(visit: Visit) -> Response:
    """Whether this farm lets nobody in without a key."""
    return JSONResponse({"needs_key": await visit.house.farm.call(visit.house.book.has_keys)})


async def drain(visit: Visit) -> Response:
    """Have a worker fetch nothing more, once its job has ended, or with ``now`` at once."""
    body = await json_object(visit.request, default={})
    if set(body) - {"now"} or not isinstance(body.get("now", False), bool):
        raise bad_request("send nothing, or an object with now, which is true or false")
    return await _ordered(visit, Drain.NOW if body.get("now") else Drain.FINISH)


async def undrain(visit: Visit) -> Response:
    """Let a worker fetch again."""
    return await _ordered(visit, None)


async def workers(visit: Visit) -> Response:
    """What the live workers say of themselves; of their jobs only to who may see them all."""
    found = [json.loads(status.to_json()) for status in await visit.house.farm.workers()]
    if not visit.caller.sees_all:
        found = [{name: worker[name] for name in _OF_WORKERS if name in worker} for worker in found]
    return JSONResponse({"workers": found, "may_steer": visit.caller.sees_all})


async def queues(visit: Visit) -> Response:
    """How many jobs are in each state, and wait in each queue: counts, for everybody."""
    return JSONResponse(_COUNTS.dump_python(await visit.house.farm.counts(), mode="json"))


async def why_waiting(visit: Visit) -> Response:
    """What a queued job waits for, in words."""
    job = await visit.tenancy.get(visit.named("id"))
    return JSONResponse({"reasons": await visit.house.farm.why_waiting(job.job_id)})


async def _result(visit: Visit) -> JobResult:
    job = await visit.tenancy.get(visit.named("id"))
    if job.result is None:
        raise NoResult(job.job_id, job.state)
    return job.result


async def _ordered(visit: Visit, order: Drain | None) -> Response:
    name, store = visit.named("name"), visit.house.farm.store
    there = [worker.name for worker in await visit.house.farm.workers()]
    if name not in there:
        raise WorkerNotFound(name, there)
    await visit.house.farm.call(store.set_drain, name, order)
    return JSONResponse({"worker": name, "drain": order})


def _linted(request: JobRequest, known: Knowledge) -> list[dict[str, Any]]:
    built = built_for(request, known)
    found = comfy.lint.lint(built.graph, site_nowhere(), left_out=built.left_out)
    return [asdict(diagnostic) for diagnostic in found]


_CALLS: Final[Sequence[Call]] = (
    Call(method="POST", path="/jobs", handler=submit, scope=Scope.SUBMIT),
    Call(method="GET", path="/jobs/{id}", handler=show, scope=Scope.READ),
    Call(method="GET", path="/jobs/{id}/manifest", handler=manifest, scope=Scope.READ),
    Call(method="GET", path="/entry", handler=entry, scope=None),
    Call(method="GET", path="/jobs/{id}/clip", handler=clip, scope=Scope.READ),
    Call(method="GET", path="/jobs/{id}/poster", handler=poster, scope=Scope.READ),
    Call(method="GET", path="/jobs/{id}/log", handler=log, scope=Scope.READ),
    Call(method="GET", path="/jobs/{id}/why_waiting", handler=why_waiting, scope=Scope.READ),
    Call(method="POST", path="/jobs/{id}/cancel", handler=cancel, scope=Scope.SUBMIT),
    Call(method="POST", path="/jobs/{id}/retry", handler=retry, scope=Scope.SUBMIT),
    Call(method="POST", path="/plan", handler=plan, scope=Scope.READ),
    Call(method="POST", path="/lint", handler=lint, scope=Scope.READ),
    Call(method="GET", path="/workers", handler=workers, scope=Scope.READ),
    Call(method="POST", path="/workers/{name}/drain", handler=drain, scope=Scope.ADMIN),
    Call(method="POST", path="/workers/{name}/resume", handler=undrain, scope=Scope.ADMIN),
    Call(method="GET", path="/queues", handler=queues, scope=Scope.READ),
    *LISTING,
    *FORMS,
    *HOOKS,
)

OWN: Final = Door(name="the farm's own", prefix="/farm/v1", calls=_CALLS, shape=error, strict=True)
