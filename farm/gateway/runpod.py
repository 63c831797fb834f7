"""The shape of RunPod's endpoints, with worker-comfyui's input and output: whoever left one changes a URL.

Source: the `runpod` package 1.12 (`endpoint/runner.py`) and worker-comfyui's `README.md` and `handler.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any, Final

from starlette.responses import JSONResponse, Response

from farm.asking.building import InputSource
from farm.asking.request import JobOptions, JobRequest
from farm.asking.selection import Selection
from farm.errors import JobFailed, JobNotFound, WaitTimeout
from farm.gateway.bodies import decoded, json_object, number_of, object_of
from farm.gateway.comfy.files import content_of, outputs_of, signed
from farm.gateway.comfy.shapes import ms
from farm.gateway.comfy.submitting import files_named
from farm.gateway.door import Call, Door, Visit
from farm.gateway.keys import Scope
from farm.gateway.refusals import Refusal, bad_request
from farm.job import LEAST_URGENT, JobRecord, JobState

_ENDPOINT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,40}")
_RUN_BYTES, _RUNSYNC_BYTES = 10 << 20, 20 << 20  # as there
_LONGEST_WAIT_S: Final = 300.0
_MOST_MS: Final = 7 * 86_400_000  # as RunPod has it
_USUAL_WAIT_S: Final = 90.0
_STATUS: Final = {
    JobState.QUEUED: "IN_QUEUE",
    JobState.RUNNING: "IN_PROGRESS",
    JobState.SUCCEEDED: "COMPLETED",
    JobState.FAILED: "FAILED",
    JobState.CANCELED: "CANCELLED",
    JobState.EXPIRED: "TIMED_OUT",
}


def error(refusal: Refusal) -> dict[str, Any]:
    """A refusal in that shape."""
    told: dict[str, Any] = {"error": refusal.message, "code": refusal.code}
    return {**told, "details": dict(refusal.details)} if refusal.details else told


async def run(visit: Visit) -> Response:
    """Queue a job."""
    job, unused = await _submit(visit)
    return JSONResponse({"id": job.job_id, "status": _STATUS[job.state], **_warnings(unused)})


async def runsync(visit: Visit) -> Response:
    """Queue a job and wait, for 90 s unless ``?wait`` (ms) says otherwise; then it goes on by itself."""
    said = visit.request.query_params.get("wait")
    wait_s = _USUAL_WAIT_S if said is None else number_of("wait", said, least=0, most=_MOST_MS) / 1000
    job, unused = await _submit(visit)
    with suppress(WaitTimeout, JobFailed):  # how it stands is told either way
        await visit.house.farm.wait(job.job_id, timeout_s=min(wait_s, _LONGEST_WAIT_S))
    return await _told(visit, await visit.tenancy.get(job.job_id), unused)


async def status(visit: Visit) -> Response:
    """A job as it is now."""
    return await _told(visit, await _job(visit))


async def stream(visit: Visit) -> Response:
    """How a job stands; worker-comfyui streams nothing, its output comes as a whole by `status`."""
    return JSONResponse({"status": _STATUS[(await _job(visit)).state], "stream": []})


async def cancel(visit: Visit) -> Response:
    """Ask for a job's end."""
    job = await _job(visit)
    return await _told(visit, await visit.tenancy.cancel(job.job_id))


async def retry(visit: Visit) -> Response:
    """Queue a job anew that ended badly."""
    job = await _job(visit)
    again = (await visit.house.farm.retry(job.job_id)).record
    return JSONResponse({"id": again.job_id, "status": _STATUS[again.state]})


async def purge(visit: Visit) -> Response:
    """Cancel the caller's jobs of this endpoint that wait."""
    wanted = Selection(state=JobState.QUEUED, label=_label(visit))
    mine = [job.job_id async for job in visit.house.farm.select(wanted) if _is_mine(visit, job.record)]
    await visit.house.farm.cancel_many(mine, reason="the queue was purged")
    return JSONResponse({"removed": len(mine), "status": "completed"})


async def health(visit: Visit) -> Response:
    """Counts of the farm: its jobs and its workers."""
    counts, workers = await visit.house.farm.counts(), await visit.house.farm.workers()
    of, busy = counts.by_state, sum(bool(worker.jobs) for worker in workers)
    starting = sum(worker.is_starting for worker in workers)
    unhealthy = sum(worker.quarantine is not None for worker in workers)
    return JSONResponse(
        {
            "jobs": {
                "completed": of.get(JobState.SUCCEEDED, 0),
                "failed": of.get(JobState.FAILED, 0),
                "inProgress": of.get(JobState.RUNNING, 0),
                "inQueue": of.get(JobState.QUEUED, 0),
                "retried": 0,
            },
            "workers": {
                "idle": max(len(workers) - busy - starting - unhealthy, 0),
                "running": busy,
                "initializing": starting,
                "unhealthy": unhealthy,
                "throttled": 0,
            },
        }
    )


async def _submit(visit: Visit) -> tuple[JobRecord, Sequence[str]]:
    """The job, and the names of pictures that nothing in it reads."""
    body = await json_object(visit.request)
    if body.get("webhook") is not None:
        raise bad_request("webhook is not taken with a job; name it once, by POST /farm/v1/webhooks")
    request, unused = request_of(body, _label(visit))
    return await visit.tenancy.submit(request), unused


def request_of(body: Mapping[str, Any], label: str) -> tuple[JobRequest, Sequence[str]]:
    """The job that a body asks for, and the names of pictures that nothing in its graph is.

    Raises:
        Refusal: it is none of worker-comfyui's.
    """
    given = body.get("input")
    if not isinstance(given, dict) or not isinstance(given.get("workflow"), dict):
        raise bad_request("the body has to be an object with input.workflow, a graph in ComfyUI's API format")
    if given.get("comfy_org_api_key") is not None:
        raise bad_request("comfy_org_api_key is not taken: what a job holds is stored, and a key must not be")
    graph = given["workflow"]
    pictures = _pictures([] if given.get("images") is None else given["images"])
    named = {each: name for each, name in _names_in(graph).items() if name in pictures}
    inputs = {each: pictures[name] for each, name in named.items()}
    request = JobRequest(graph, inputs=inputs, options=_options(object_of(body, "policy"), label))
    return request, sorted(pictures.keys() - named.values())


def _names_in(graph: Mapping[str, Any]) -> dict[str, str]:
    """ "node.input" -> name of each file that a graph may read.

    worker-comfyui puts pictures where every node finds them, so one that we do not know may read one too;
    what has no ending is rather a prefix or a mode that happens to be called alike.
    """
    inputs = {
        node_id: node["inputs"]
        for node_id, node in graph.items()
        if isinstance(node, dict) and isinstance(node.get("inputs"), dict)
    }
    texts = {
        f"{node_id}.{name}": text
        for node_id, values in inputs.items()
        for name, text in values.items()
        if isinstance(text, str) and PurePosixPath(text).suffix
    }
    return texts | files_named(graph)


def _warnings(unused: Sequence[str]) -> dict[str, Any]:
    """What a client is told that gets a job all the same, as it does there."""
    if not unused:
        return {}
    return {"warnings": [f"nothing in the workflow reads the image {name[:100]!r}" for name in unused]}


def _pictures(said: Any) -> dict[str, InputSource]:
    found: dict[str, InputSource] = {}
    for each in said if isinstance(said, list) else [said]:
        name, picture = (each.get("name"), each.get("image")) if isinstance(each, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(picture, str):
            raise bad_request("input.images is a list of objects with name and image")
        if picture.startswith(("https://", "http://")):
            found[name] = picture
            continue
        try:
            found[name] = decoded(picture)
        except ValueError:
            raise bad_request(f"image {name[:100]!r} is neither base64 nor an address") from None
    return found


def _options(policy: Mapping[str, Any], label: str) -> JobOptions:
    options = JobOptions(labels=[label])
    limit_ms, ttl_ms = (
        0 if policy.get(name) is None else number_of(name, policy[name], least=0, most=_MOST_MS)
        for name in ("executionTimeout", "ttl")
    )
    if limit_ms:
        options["time_limit_s"] = limit_ms / 1000
    if ttl_ms:
        options["deadline"] = datetime.now(UTC) + timedelta(milliseconds=ttl_ms)
    low = policy.get("lowPriority")
    if not isinstance(low, bool | None):
        raise bad_request("lowPriority is true or false", param="lowPriority")
    if low:
        options["priority"] = LEAST_URGENT
    return options


async def _told(visit: Visit, job: JobRecord, unused: Sequence[str] = ()) -> Response:
    now = datetime.now(UTC)
    started = job.started_at
    told: dict[str, Any] = {"id": job.job_id, "status": _STATUS[job.state], **_warnings(unused)}
    if started is not None:
        told["delayTime"] = ms(started - job.submitted_at)
        told["executionTime"] = ms((job.finished_at or now) - started)
        told["workerId"] = job.worker
    if job.result is not None:
        told["output"] = await _output(visit, job)
    if job.state.final and job.reason:
        told["error"] = job.reason
    return JSONResponse(told)


async def _output(visit: Visit, job: JobRecord) -> dict[str, Any]:
    images = [
        {
            "filename": output.name,
            "type": "s3_url",
            "data": await signed(visit, content_of(output)),
        }
        for output in outputs_of(job)
    ]
    return {"images": images}


async def _job(visit: Visit) -> JobRecord:
    job = await visit.tenancy.get(visit.named("id"))
    if not _is_mine(visit, job):
        raise JobNotFound(job.job_id)
    return job


def _is_mine(visit: Visit, job: JobRecord) -> bool:
    own = visit.caller.sees_all or visit.caller.sees(job)
    return own and _label(visit) in job.spec.labels


def _label(visit: Visit) -> str:
    """The label of an endpoint's jobs: an endpoint is whatever name a client calls it by."""
    endpoint = visit.named("endpoint")
    if not _ENDPOINT.fullmatch(endpoint):
        raise bad_request("an endpoint's name has up to 41 letters, digits and ._-")
    return f"endpoint={endpoint}"


RUNPOD: Final = Door(
    name="RunPod's shape",
    prefix="/v2",
    calls=(
        Call(method="POST", path="/{endpoint}/run", handler=run, scope=Scope.SUBMIT, most_bytes=_RUN_BYTES),
        Call(
            method="POST",
            path="/{endpoint}/runsync",
            handler=runsync,
            scope=Scope.SUBMIT,
            most_bytes=_RUNSYNC_BYTES,
        ),
        Call(method="GET", path="/{endpoint}/status/{id}", handler=status, scope=Scope.READ),
        Call(method="GET", path="/{endpoint}/stream/{id}", handler=stream, scope=Scope.READ),
        Call(method="POST", path="/{endpoint}/cancel/{id}", handler=cancel, scope=Scope.SUBMIT),
        Call(method="POST", path="/{endpoint}/retry/{id}", handler=retry, scope=Scope.SUBMIT),
        Call(method="POST", path="/{endpoint}/purge-queue", handler=purge, scope=Scope.SUBMIT),
        Call(method="GET", path="/{endpoint}/health", handler=health, scope=Scope.READ),
    ),
    shape=error,
)
