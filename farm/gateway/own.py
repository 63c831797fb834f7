"""The farm's own door: what the other contracts have no words for, and what the page is made of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
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
from farm.errors import InvalidJob
from farm.fleet.planning import JobPlan
from farm.fleet.sites import site_nowhere
from farm.gateway.bodies import json_object, number_of
from farm.gateway.comfy.files import Links
from farm.gateway.door import Call, Door, Visit
from farm.gateway.health import error
from farm.gateway.hooks import HOOKS
from farm.gateway.keys import Scope
from farm.gateway.refusals import bad_request
from farm.gateway.tenancy import CURSOR, check_reach
from farm.job import JobRecord, JobState
from farm.storage.downloads import seed_of
from farm.store.base import Counts
from farm.store.webhooks import TENANT_LABEL

_RECORD: Final = TypeAdapter(JobRecord)
_PLAN: Final = TypeAdapter(JobPlan)
_PARTS: Final = frozenset({"graph", "template", "parameters", "inputs", "bind"})
_OPTIONS: Final = frozenset(JobOptions.__annotations__) - {"idempotency_key"}
FIELDS: Final = _PARTS | _OPTIONS  # of a job
_COUNTS: Final = TypeAdapter(Counts)
_MOST: Final = 100
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
    request = request_of(await json_object(visit.request))
    job = await visit.tenancy.submit(request, once=once)
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
    found = await visit.house.farm.plan(request_of(await json_object(visit.request)))
    return JSONResponse(_PLAN.dump_python(found, mode="json"))


async def lint(visit: Visit) -> Response:
    """What is wrong, slow or without effect in a graph."""
    request = request_of(await json_object(visit.request))
    known = await visit.house.farm.node_definitions()
    return JSONResponse({"diagnostics": await visit.house.farm.call(_linted, request, lambda: known)})


async def templates(_visit: Visit) -> Response:
    """The built-in templates with their parameters."""
    return JSONResponse({"templates": [template_json(get_template(name)) for name in TEMPLATES]})


async def workers(visit: Visit) -> Response:
    """What the live workers say of themselves; of their jobs only to who may see them all."""
    found = [json.loads(status.to_json()) for status in await visit.house.farm.workers()]
    if not visit.caller.sees_all:
        found = [{name: worker[name] for name in _OF_WORKERS if name in worker} for worker in found]
    return JSONResponse({"workers": found})


async def queues(visit: Visit) -> Response:
    """How many jobs are in each state, and wait in each queue: counts, for everybody."""
    return JSONResponse(_COUNTS.dump_python(await visit.house.farm.counts(), mode="json"))


async def why_waiting(visit: Visit) -> Response:
    """What a queued job waits for, in words."""
    job = await visit.tenancy.get(visit.named("id"))
    return JSONResponse({"reasons": await visit.house.farm.why_waiting(job.job_id)})


def request_of(body: Mapping[str, Any]) -> JobRequest:
    """The job that a body asks for.

    Raises:
        Refusal: a field is unknown.
    """
    if strange := sorted(set(body) - FIELDS):
        known = ", ".join(sorted(FIELDS))
        raise bad_request(f"there is no field {strange[0][:64]!r}; there are {known}")
    graph, inputs = body.get("graph"), body.get("inputs") or {}
    # Here a text would be the path of a file, on the gateway's own disk.
    if graph is not None and not isinstance(graph, dict):
        raise bad_request("graph is an object: a workflow in either of ComfyUI's formats")
    if not isinstance(inputs, dict) or not all(
        isinstance(each, str) and scheme_of(each) in ("https", "http") for each in inputs.values()
    ):
        raise bad_request("inputs are names with addresses (https)")
    request = JobRequest(
        graph,
        body.get("parameters") or {},
        template=body.get("template"),
        inputs=inputs,
        bind=body.get("bind") or {},
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
    Call(method="GET", path="/jobs", handler=page, scope=Scope.READ),
    Call(method="GET", path="/jobs/{id}", handler=show, scope=Scope.READ),
    Call(method="GET", path="/jobs/{id}/why_waiting", handler=why_waiting, scope=Scope.READ),
    Call(method="POST", path="/jobs/{id}/cancel", handler=cancel, scope=Scope.SUBMIT),
    Call(method="POST", path="/jobs/{id}/retry", handler=retry, scope=Scope.SUBMIT),
    Call(method="POST", path="/plan", handler=plan, scope=Scope.READ),
    Call(method="POST", path="/lint", handler=lint, scope=Scope.READ),
    Call(method="GET", path="/templates", handler=templates, scope=Scope.READ),
    Call(method="GET", path="/workers", handler=workers, scope=Scope.READ),
    Call(method="GET", path="/queues", handler=queues, scope=Scope.READ),
    *HOOKS,
)

OWN: Final = Door(name="the farm's own", prefix="/farm/v1", calls=_CALLS, shape=error)
