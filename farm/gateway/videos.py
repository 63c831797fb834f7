"""``/v1/videos``: clips from a prompt, as code against that API asks for them, on the WAN templates.

Source: the `openai` package, 3.57.0 (`resources/videos.py`, `types/video.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from starlette.datastructures import UploadFile
from starlette.responses import JSONResponse, Response

from comfy.wan.templates import TEMPLATES
from farm.asking.building import InputSource
from farm.asking.request import JobOptions, JobRequest
from farm.errors import JobNotFound, NoResult
from farm.gateway.bodies import decoded, form_of, json_object, media_type_of, number_of
from farm.gateway.comfy.files import Content, content_response
from farm.gateway.door import Call, Door, Visit
from farm.gateway.keys import Scope
from farm.gateway.refusals import Refusal, bad_request, not_found
from farm.job import JobRecord, JobState

_LABEL: Final = "via=videos"
_FROM_TEXT, _FROM_PICTURE = "wan22-t2v-a14b", "wan22-i2v-a14b"
# What code that was written for others says when it means "the usual one".
_USUAL: Final = ("", "sora-2", "sora-2-pro")
_SIZE: Final = re.compile(r"(\d{1,9})x(\d{1,9})")
_PICTURE_BYTES: Final = 32 << 20
_MOST: Final = 100

# Our own extensions: name in a request -> parameter of the template.
_TEXTS: Final[Mapping[str, str]] = {"negative_prompt": "negative", "preset": "preset", "loras": "loras"}
# … -> least and most, and whether it is whole. A template says more exactly what it takes.
_NUMBERS: Final[Mapping[str, tuple[str, float, float, bool]]] = {
    "frames": ("frames", 1, 100_000, True),
    "fps": ("fps", 1, 1000, False),
    "seed": ("seed", 0, 2**64 - 1, True),
    "steps": ("steps", 1, 1000, True),
    "guidance_scale": ("cfg", 0, 1000, False),
    "flow_shift": ("shift", 0, 1000, False),
}
_SHORTEST_S, _LONGEST_S = 0.01, 3600.0
FIELDS: Final = frozenset({"prompt", "model", "seconds", "size", "input_reference", *_TEXTS, *_NUMBERS})

_STATUS: Final = {
    JobState.QUEUED: "queued",
    JobState.RUNNING: "in_progress",
    JobState.SUCCEEDED: "completed",
    JobState.FAILED: "failed",
    JobState.CANCELED: "failed",
    JobState.EXPIRED: "failed",
}
_TYPES: Final = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def error(refusal: Refusal) -> dict[str, Any]:
    """A refusal as that API words one."""
    usual = "server_error" if refusal.status >= 500 else "invalid_request_error"
    kind = _TYPES.get(refusal.status, usual)
    param = refusal.details.get("param")
    return {"error": {"message": refusal.message, "type": kind, "code": refusal.code, "param": param}}


async def create(visit: Visit) -> Response:
    """Queue a clip."""
    if media_type_of(visit.request) == "multipart/form-data":
        async with form_of(visit.request) as form:
            given: dict[str, Any] = dict(form.items())
            if isinstance(picture := form.get("input_reference"), UploadFile):
                given["input_reference"] = await _read(picture)
    else:
        given = await json_object(visit.request)
    job = await visit.tenancy.submit(request_of(given))
    return JSONResponse(video_json(job, visit.house.retention_s))


async def show(visit: Visit) -> Response:
    """A clip as it is now."""
    return JSONResponse(video_json(await _video(visit), visit.house.retention_s))


async def page(visit: Visit) -> Response:
    """The caller's clips, newest first."""
    query = visit.request.query_params
    limit = number_of("limit", query.get("limit", "20"), least=1, most=_MOST)
    if query.get("order", "desc") != "desc":
        raise bad_request("clips are listed newest first (order=desc)", param="order")
    after = query.get("after")
    until = (await visit.tenancy.get(after)).submitted_at if after else None
    found = await visit.tenancy.page(labels=(_LABEL,), limit=int(limit), until=until)
    told = [video_json(job, visit.house.retention_s) for job in found.jobs]
    return JSONResponse(
        {
            "object": "list",
            "data": told,
            "has_more": found.next_cursor is not None,
            "first_id": told[0]["id"] if told else None,
            "last_id": told[-1]["id"] if told else None,
        }
    )


async def content(visit: Visit) -> Response:
    """The clip itself, or a picture of it."""
    job = await _video(visit)
    if job.result is None:
        raise NoResult(job.job_id, job.state)
    main = job.result.main
    match visit.request.query_params.get("variant", "video"):
        case "video":
            found = Content(key=main.key, size_bytes=main.size_bytes, media_type=main.media_type)
        case "thumbnail" if main.poster_key is not None:
            stored = await visit.house.farm.call(visit.house.farm.storage.find, main.poster_key)
            if stored is None:
                raise not_found("picture of this clip")
            found = Content(key=main.poster_key, size_bytes=stored.size_bytes, media_type="image/jpeg")
        case _:
            raise not_found("such variant of this clip; there are video and thumbnail")
    return await content_response(visit, found)


async def delete(visit: Visit) -> Response:
    """Remove a clip that has ended; one that goes on is canceled, and can be deleted then."""
    job = await _video(visit)
    if not job.state.final:
        job = await visit.tenancy.cancel(job.job_id, reason="deleted")
    if not job.state.final:
        message = "it is being canceled; delete it when it has ended"
        raise Refusal(status=409, code="not_ended", message=message)
    await visit.house.farm.remove_many([job.job_id])
    return JSONResponse({"id": job.job_id, "object": "video.deleted", "deleted": True})


def request_of(given: Mapping[str, Any]) -> JobRequest:
    """The job that a request asks for.

    Raises:
        Refusal: a field is unknown, or none that can be read.
    """
    if strange := sorted(set(given) - FIELDS):
        raise bad_request(
            f"there is no field {strange[0][:64]!r}; docs/gateway.md has them", param=strange[0]
        )
    prompt = given.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise bad_request("a prompt is needed", param="prompt")
    picture = _picture(given.get("input_reference"))
    parameters: dict[str, Any] = {"prompt": prompt, "snap": True, **_size(given.get("size"))}
    for name in _TEXTS.keys() & given.keys():
        if not isinstance(given[name], str):
            raise bad_request(f"{name} is a text", param=name)
        parameters[_TEXTS[name]] = given[name]
    for name, (parameter, least, most, whole) in _NUMBERS.items():
        if name in given:
            parameters[parameter] = number_of(name, given[name], least=least, most=most, whole=whole)
    if "seconds" in given:
        seconds = number_of("seconds", given["seconds"], least=_SHORTEST_S, most=_LONGEST_S, whole=False)
        parameters.setdefault("frames", round(seconds * parameters.get("fps", 16.0)) + 1)
    return JobRequest(
        None,
        parameters,
        template=_template(str(given.get("model") or ""), with_picture=picture is not None),
        inputs={} if picture is None else {"image": picture},
        options=JobOptions(labels=[_LABEL]),
    )


def video_json(job: JobRecord, retention_s: float) -> dict[str, Any]:
    """A clip in that API's form."""
    asked = job.spec.template_parameters
    video = result_video(job)
    width, height = (video.width, video.height) if video else (asked.get("width"), asked.get("height"))
    frames, fps = asked.get("frames"), asked.get("fps")
    seconds = video.duration_s if video else (frames - 1) / fps if frames and fps else 0.0
    failed = _STATUS[job.state] == "failed"
    code = job.error.code if job.error is not None and job.state is JobState.FAILED else job.state.value
    expires = job.finished_at + timedelta(seconds=retention_s) if job.finished_at else None
    return {
        "id": job.job_id,
        "object": "video",
        "model": job.spec.template or "",
        "status": _STATUS[job.state],
        "progress": 100 if job.state is JobState.SUCCEEDED else _percent(job),
        "created_at": _unix(job.submitted_at),
        "completed_at": _unix(job.finished_at),
        "expires_at": _unix(expires),
        "prompt": asked.get("prompt"),
        "seconds": f"{seconds:g}",
        "size": f"{width}x{height}",
        "seed": asked.get("seed"),
        "remixed_from_video_id": None,
        "error": {"code": code, "message": job.reason or ""} if failed else None,
    }


def result_video(job: JobRecord) -> Any:
    """What was read in the clip; None while there is none."""
    artifacts = job.result.artifacts if job.result else ()
    return next((each.video for each in artifacts if each.video is not None), None)


async def _video(visit: Visit) -> JobRecord:
    job = await visit.tenancy.get(visit.named("id"))
    if _LABEL not in job.spec.labels:
        raise JobNotFound(job.job_id)  # a job of another door is none of this one's clips
    return job


async def _read(picture: UploadFile) -> bytes:
    if (picture.size or 0) > _PICTURE_BYTES:
        raise bad_request(
            f"input_reference is larger than {_PICTURE_BYTES >> 20} MiB", param="input_reference"
        )
    return await picture.read()


def _picture(said: Any) -> InputSource | None:
    if said is None or isinstance(said, bytes):
        return said
    url = said.get("image_url") if isinstance(said, dict) else said
    if not isinstance(url, str):
        raise bad_request("input_reference is a file, or an object with image_url", param="input_reference")
    if not url.startswith("data:"):
        if not url.startswith(("https://", "http://")):
            raise bad_request("image_url is an address (https) or a data: URL", param="input_reference")
        return url
    try:
        return decoded(url)
    except ValueError:
        raise bad_request("image_url is no data: URL in base64", param="input_reference") from None


def _size(said: Any) -> dict[str, int]:
    if said is None:
        return {}
    found = _SIZE.fullmatch(said) if isinstance(said, str) else None
    if found is None:
        raise bad_request("size is width x height, as 832x480", param="size")
    return {"width": int(found[1]), "height": int(found[2])}


def _template(model: str, *, with_picture: bool) -> str:
    if model in _USUAL:
        return _FROM_PICTURE if with_picture else _FROM_TEXT
    if model not in TEMPLATES:
        raise bad_request(
            f"there is no model {model[:64]!r}; there are {', '.join(TEMPLATES)}", param="model"
        )
    return model


def _percent(job: JobRecord) -> int:
    return int(100 * job.progress.fraction) if job.progress else 0


def _unix(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())


VIDEOS: Final = Door(
    name="videos",
    prefix="/v1",
    calls=(
        Call(method="POST", path="/videos", handler=create, scope=Scope.SUBMIT, most_bytes=None),
        Call(method="GET", path="/videos", handler=page, scope=Scope.READ),
        Call(method="GET", path="/videos/{id}", handler=show, scope=Scope.READ),
        Call(method="GET", path="/videos/{id}/content", handler=content, scope=Scope.READ),
        Call(method="DELETE", path="/videos/{id}", handler=delete, scope=Scope.SUBMIT),
    ),
    shape=error,
)
