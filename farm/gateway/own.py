"""The farm's own door: what the other contracts have no words for, and what the page is made of."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final, cast

from pydantic import TypeAdapter
from starlette.responses import JSONResponse, Response

import comfy.lint
from comfy.errors import GraphError
from comfy.wan.templates import TEMPLATES, Template, get_template
from farm.asking.graphs import Knowledge
from farm.asking.measure import check_measure
from farm.asking.prepare import as_problem, build
from farm.asking.request import JobOptions, JobRequest
from farm.asking.sources import public_source, scheme_of
from farm.errors import InvalidJob, NoResult, WorkerNotFound
from farm.fleet.planning import JobPlan
from farm.fleet.sites import site_nowhere
from farm.gateway.bodies import json_object, number_of, object_of
from farm.gateway.comfy import files
from farm.gateway.comfy.files import Links
from farm.gateway.door import Call, Door, Visit
from farm.gateway.health import error
from farm.gateway.hooks import HOOKS
from farm.gateway.keys import Scope
from farm.gateway.refusals import bad_request
from farm.gateway.tenancy import CURSOR, check_reach
from farm.job import EventKind, JobRecord, JobState
from farm.storage.downloads import seed_of
from farm.store.base import Counts, Drain
from farm.store.redis.assets import Asset
from farm.store.webhooks import TENANT_LABEL

_RECORD: Final = TypeAdapter(JobRecord)
_PLAN: Final = TypeAdapter(JobPlan)
_PARTS: Final = frozenset({"graph", "template", "parameters", "inputs", "bind"})
_OPTIONS: Final = frozenset(JobOptions.__annotations__) - {"idempotency_key"}
FIELDS: Final = _PARTS | _OPTIONS  # of a job
_COUNTS: Final = TypeAdapter(Counts)
_MOST: Final = 100
_MOST_EVENTS: Final = 500  # looked through for lines of the log
_ASSET: Final = "asset:"  # begins an input that is an asset's id
_OF_MANIFEST: Final = ("changes", "rewrites", "out_of_memory", "blocked")
_LISTED: Final = (
    *("job_id", "state", "submitted_at", "started_at", "finished_at"),
    *("worker", "progress", "error", "parked"),
)
# What a tenant is shown of a worker: nothing of others' jobs, and nothing of its machine but the card.
_OF_WORKERS: Final = (
    *("name", "gpu", "load_plan", "vram_gib", "state", "not_fetching", "emulated"),
    *("comfyui_version", "resources", "warm_models"),
)


async def submit(visit: Visit) -> Response:
    """Queue a job: a graph in either of ComfyUI's formats, or a template; options as `Farm.submit` has."""
    once = visit.request.headers.get("idempotency-key")
    request, used = await _asked(visit)
    job = await visit.tenancy.submit(request, once=once)
    if used:
        await visit.house.farm.call(visit.house.assets.use, used, job.job_id)
    return JSONResponse(await job_json(visit, job), 201)


async def page(visit: Visit) -> Response:
    """The caller's jobs, newest first, with what a list shows of each."""
    query = visit.request.query_params
    limit = number_of("limit", query.get("limit", "24"), least=1, most=_MOST)
    cursor, state = query.get("cursor"), query.get("state")
    if cursor is not None and not CURSOR.fullmatch(cursor):
        raise bad_request("that cursor came from no list here")
    if state is not None and state not in [each.value for each in JobState]:
        raise bad_request(f"state is one of {', '.join(JobState)}")
    found = await visit.tenancy.page(
        labels=tuple(query.getlist("label")),
        state=JobState(state) if state else None,
        since=_moment(query, "since"),
        until=_moment(query, "until"),
        where={"worker": query["worker"]} if query.get("worker") else {},
        limit=int(limit),
        cursor=cursor,
        search=query.get("search", ""),
    )
    jobs = [await listed_json(visit, job) for job in found.jobs]
    return JSONResponse({"jobs": jobs, "next_cursor": found.next_cursor})


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
    request, _ = await _asked(visit)
    found = await visit.house.farm.plan(request)
    return JSONResponse(_PLAN.dump_python(found, mode="json"))


async def lint(visit: Visit) -> Response:
    """What is wrong, slow or without effect in a graph."""
    request, _ = await _asked(visit)
    known = await visit.house.farm.node_definitions()
    return JSONResponse({"diagnostics": await visit.house.farm.call(_linted, request, lambda: known)})


async def manifest(visit: Visit) -> Response:
    """What was changed in a job's graph and why, as its manifest has it; nothing of the worker's machine."""
    job = await visit.tenancy.get(visit.named("id"))
    if job.result is None:
        raise NoResult(job.job_id, job.state)
    stored = await visit.house.farm.call(visit.house.farm.storage.read_bytes, job.result.manifest_key)
    found = await asyncio.to_thread(json.loads, stored)
    return JSONResponse({name: found.get(name, []) for name in _OF_MANIFEST})


async def log(visit: Visit) -> Response:
    """The lines of ComfyUI's log that a job's newest events have."""
    job = await visit.tenancy.get(visit.named("id"))
    events = await visit.house.farm.recent_events(job.job_id, limit=_MOST_EVENTS)
    lines = [event.data.get("line", "") for event in events if event.kind is EventKind.LOG]
    return JSONResponse({"lines": lines})


async def drain(visit: Visit) -> Response:
    """Have a worker fetch nothing more, once its job has ended, or with ``now`` at once."""
    body = await json_object(visit.request, default={})
    if set(body) - {"now"} or not isinstance(body.get("now", False), bool):
        raise bad_request("send nothing, or an object with now, which is true or false")
    return await _ordered(visit, Drain.NOW if body.get("now") else Drain.FINISH)


async def undrain(visit: Visit) -> Response:
    """Let a worker fetch again."""
    return await _ordered(visit, None)


async def templates(_visit: Visit) -> Response:
    """The built-in templates with their parameters."""
    return JSONResponse({"templates": [template_json(get_template(name)) for name in TEMPLATES]})


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


async def _ordered(visit: Visit, order: Drain | None) -> Response:
    name, store = visit.named("name"), visit.house.farm.store
    there = [worker.name for worker in await visit.house.farm.workers()]
    if name not in there:
        raise WorkerNotFound(name, there)
    await visit.house.farm.call(store.set_drain, name, order)
    return JSONResponse({"worker": name, "drain": order})


def _moment(query: Mapping[str, str], name: str) -> datetime | None:
    """A moment, or the beginning of a day; UTC unless it says otherwise."""
    if not (said := query.get(name)):
        return None
    try:
        found = datetime.fromisoformat(said)
    except ValueError:
        raise bad_request(f"{name} is a day or a moment as 2026-08-01T10:00:00Z") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


async def _asked(visit: Visit) -> tuple[JobRequest, list[Asset]]:
    """The job that a request asks for, and the caller's assets that it reads."""
    body = await json_object(visit.request)
    given = body.get("inputs")
    named = (
        {}
        if not isinstance(given, dict)
        else {
            name: each.removeprefix(_ASSET)
            for name, each in given.items()
            if isinstance(each, str) and each.startswith(_ASSET)
        }
    )
    found = {name: await files.find(visit, asset_id) for name, asset_id in named.items()}
    bucket = visit.house.farm.storage.bucket
    brought = {name: f"s3://{bucket}/{files.content_of(each).key}" for name, each in found.items()}
    used = [each for each in found.values() if isinstance(each, Asset)]
    return request_of(body, brought=brought), used


def request_of(body: Mapping[str, Any], *, brought: Mapping[str, str] | None = None) -> JobRequest:
    """The job that a body asks for.

    Args:
        brought: where the inputs lie that are assets.

    Raises:
        Refusal: a field is unknown.
    """
    if strange := sorted(set(body) - FIELDS):
        known = ", ".join(sorted(FIELDS))
        raise bad_request(f"there is no field {strange[0][:64]!r}; there are {known}")
    graph, inputs = body.get("graph"), object_of(body, "inputs")
    # Here a text would be the path of a file, on the gateway's own disk.
    if graph is not None and not isinstance(graph, dict):
        raise bad_request("graph is an object: a workflow in either of ComfyUI's formats")
    brought = brought or {}
    if not all(
        name in brought or (isinstance(each, str) and scheme_of(each) in ("https", "http"))
        for name, each in inputs.items()
    ):
        raise bad_request("inputs are names with addresses (https), or asset: and the id of an asset")
    request = JobRequest(
        graph,
        object_of(body, "parameters"),
        template=body.get("template"),
        inputs={**inputs, **brought},
        bind=object_of(body, "bind"),
        options=cast("JobOptions", {name: body[name] for name in _OPTIONS if name in body}),
    )
    check_reach(request)
    return request


async def listed_json(visit: Visit, job: JobRecord) -> dict[str, Any]:
    """A job in a list, with links to its clip and its picture."""
    told = record_json(job)
    spec = job.spec
    poster, clip = await _links(visit, job)
    return {
        **{name: told[name] for name in _LISTED},
        "title": spec.title,
        "priority": spec.priority,
        "labels": told["spec"]["labels"],
        "template": spec.template,
        "seed": seed_of(spec),
        "video": _video_facts(told),
        "poster_url": poster,
        "clip_url": clip,
    }


async def job_json(visit: Visit, job: JobRecord) -> dict[str, Any]:
    """All that is known of a job, with links to its files."""
    poster, clip = await _links(visit, job)
    position = await visit.house.positions.of(job)
    return {
        **record_json(job),
        "queue_position": position,
        "outputs": await Links(visit).outputs(job),
        "poster_url": poster,
        "clip_url": clip,
    }


def record_json(job: JobRecord) -> dict[str, Any]:
    """A record without what is the farm's alone, and addresses of inputs without their secrets."""
    value: dict[str, Any] = _RECORD.dump_python(job, mode="json")
    spec = value["spec"]
    spec["inputs"] = {input_path: public_source(source) for input_path, source in spec["inputs"].items()}
    spec["labels"] = [label for label in spec["labels"] if not label.startswith(TENANT_LABEL)]
    spec.pop("idempotency_key", None)
    value.pop("token", None)
    return value


def _video_facts(told: Mapping[str, Any]) -> Any:
    artifacts = (told["result"] or {}).get("artifacts", ())
    return next((each["video"] for each in artifacts if each["video"]), None)


async def _links(visit: Visit, job: JobRecord) -> tuple[str | None, str | None]:
    """Links to a picture of the main file, and to the file itself."""
    if job.result is None:
        return None, None
    storage, call = visit.house.farm.storage, visit.house.farm.call
    main = job.result.main
    poster = await call(storage.url, main.poster_key) if main.poster_key else None
    return poster, await call(storage.url, main.key)


def _linted(request: JobRequest, known: Knowledge) -> list[dict[str, Any]]:
    check_measure(request)
    try:
        built = build(request, known)
    except GraphError as exc:
        raise InvalidJob([as_problem(problem) for problem in exc.problems]) from exc
    found = comfy.lint.lint(built.graph, site_nowhere(), left_out=built.left_out)
    return [asdict(diagnostic) for diagnostic in found]


def template_json(template: Template) -> dict[str, Any]:
    """A template as a form needs it."""
    parameters = [
        {
            "name": each.name,
            "type": each.kind.value,
            "help": each.help,
            "takes": each.takes,
            "unit": each.unit,
            "required": each.required,
            "default": each.default,
            "choices": list(each.choices),
        }
        for each in template.parameters
    ]
    return {"name": template.name, "title": template.title, "parameters": parameters}


_CALLS: Final[Sequence[Call]] = (
    Call(method="POST", path="/jobs", handler=submit, scope=Scope.SUBMIT),
    Call(
        method="GET",
        path="/jobs",
        handler=page,
        scope=Scope.READ,
        query=("state", "label", "search", "worker", "since", "until", "limit", "cursor"),
    ),
    Call(method="GET", path="/jobs/{id}", handler=show, scope=Scope.READ),
    Call(method="GET", path="/jobs/{id}/manifest", handler=manifest, scope=Scope.READ),
    Call(method="GET", path="/jobs/{id}/log", handler=log, scope=Scope.READ),
    Call(method="GET", path="/jobs/{id}/why_waiting", handler=why_waiting, scope=Scope.READ),
    Call(method="POST", path="/jobs/{id}/cancel", handler=cancel, scope=Scope.SUBMIT),
    Call(method="POST", path="/jobs/{id}/retry", handler=retry, scope=Scope.SUBMIT),
    Call(method="POST", path="/plan", handler=plan, scope=Scope.READ),
    Call(method="POST", path="/lint", handler=lint, scope=Scope.READ),
    Call(method="GET", path="/templates", handler=templates, scope=Scope.READ),
    Call(method="GET", path="/workers", handler=workers, scope=Scope.READ),
    Call(method="POST", path="/workers/{name}/drain", handler=drain, scope=Scope.ADMIN),
    Call(method="POST", path="/workers/{name}/resume", handler=undrain, scope=Scope.ADMIN),
    Call(method="GET", path="/queues", handler=queues, scope=Scope.READ),
    *HOOKS,
)

OWN: Final = Door(name="the farm's own", prefix="/farm/v1", calls=_CALLS, shape=error, strict=True)
