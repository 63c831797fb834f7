"""Jobs as the farm's own door and its page tell of them: whole, and in a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import TypeAdapter

from farm.asking.graphs import roles_of
from farm.asking.sources import public_source
from farm.gateway.comfy.files import Links
from farm.gateway.door import Visit
from farm.job import JobRecord
from farm.reports import told_with_report
from farm.storage.downloads import file_name, seed_of
from farm.store.webhooks import TENANT_LABEL

_RECORD: Final = TypeAdapter(JobRecord)
_LISTED: Final = (
    *("job_id", "state", "submitted_at", "started_at", "finished_at"),
    *("worker", "progress", "error", "parked"),
)


async def listed_json(visit: Visit, jobs: Sequence[JobRecord]) -> list[dict[str, Any]]:
    """Jobs in a list, with links to their clips and pictures."""
    # Signing links and reading graphs is arithmetic, and still too slow for the loop.
    return await visit.house.farm.call(lambda: [_listed_json(visit, job) for job in jobs])


def _listed_json(visit: Visit, job: JobRecord) -> dict[str, Any]:
    told = record_json(job)
    spec = job.spec
    return {
        **{name: told[name] for name in _LISTED},
        "title": spec.title,
        "prompt": prompt_of(job),
        "priority": spec.priority,
        "labels": told["spec"]["labels"],
        "template": spec.template,
        "seed": seed_of(spec),
        "video": _video_facts(told),
        **_links(visit, job),
    }


def prompt_of(job: JobRecord) -> str | None:
    """What the clip is to show, if the job says it."""
    said = job.spec.template_parameters.get("prompt")
    # A job's graph never changes, so its id stands for it.
    found = [said] if said else [each.value for each in roles_of(job.spec.graph, job.job_id).of("prompt")]
    return next((each for each in found if isinstance(each, str)), None)


async def job_json(visit: Visit, job: JobRecord) -> dict[str, Any]:
    """All that is known of a job, with links to its files."""
    position = await visit.house.position(job)
    outputs = await Links(visit).outputs(job)
    return {
        **record_json(await visit.house.farm.call(told_with_report, job)),
        "queue_position": position,
        "outputs": await visit.house.farm.call(_with_names, visit, job, outputs),
        **await visit.house.farm.call(_links, visit, job),
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


def _links(visit: Visit, job: JobRecord) -> dict[str, str | None]:
    """Links to a picture of the main file, and to the file itself."""
    if job.result is None:
        return {"poster_url": None, "clip_url": None}
    main = job.result.main
    keys = {"poster": main.poster_key, "clip": main.key}
    if visit.house.settings.content == "bytes":
        own = f"{visit.request.base_url}farm/v1/jobs/{job.job_id}"
        return {f"{name}_url": f"{own}/{name}" if key else None for name, key in keys.items()}
    storage = visit.house.farm.storage
    return {f"{name}_url": storage.url(key) if key else None for name, key in keys.items()}


def _with_names(visit: Visit, job: JobRecord, outputs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The outputs with names that tell them from others, and links under which a browser saves them so."""
    artifacts = job.result.artifacts if job.result is not None else ()
    told = []
    for number, (artifact, output) in enumerate(zip(artifacts, outputs, strict=True), start=1):
        name = file_name(job, artifact, number)
        url = output["url"]
        if visit.house.settings.content != "bytes":
            url = visit.house.farm.storage.url(artifact.key, download_name=name)
        told.append({**output, "download_name": name, "download_url": url})
    return told
