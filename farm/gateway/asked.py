"""What a client of the farm's own door asks to be rendered: read, and nothing of it taken on trust."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final, cast

from comfy.rewrites.options import RewriteOptions
from comfy.wan.parameters import ParameterKind
from comfy.wan.templates import TEMPLATES, get_template
from farm.asking.request import JobOptions, JobRequest
from farm.asking.sources import public_source, scheme_of
from farm.gateway.bodies import json_object, object_of
from farm.gateway.comfy import files
from farm.gateway.door import Visit
from farm.gateway.refusals import bad_request
from farm.gateway.tenancy import check_reach
from farm.job import JobSpec
from farm.store.redis.assets import Asset
from farm.store.webhooks import TENANT_LABEL

_AGAIN: Final = "again"  # the id of a job of theirs: what a body does not say is as it has it
_PARTS: Final = frozenset({"graph", "template", "parameters", "inputs", "bind", _AGAIN})
_OPTIONS: Final = frozenset(JobOptions.__annotations__) - {"idempotency_key"}
FIELDS: Final = _PARTS | _OPTIONS  # of a job
_ASSET: Final = "asset:"  # begins an input that is an asset's id


async def asked(visit: Visit) -> tuple[JobRequest, list[Asset]]:
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
    before = None if _AGAIN not in body else (await visit.tenancy.get(str(body[_AGAIN]))).spec
    return request_of(body, brought=brought, before=before), used


def request_of(
    body: Mapping[str, Any], *, brought: Mapping[str, str] | None = None, before: JobSpec | None = None
) -> JobRequest:
    """The job that a body asks for.

    Args:
        brought: where the inputs lie that are assets.
        before: of the job that is to be rendered again, but for what the body says.

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
    if before is not None:
        request = _again(before, request)
    check_reach(request)
    return request


def _again(spec: JobSpec, request: JobRequest) -> JobRequest:
    """The same job, with what is asked of it now.

    Its title is made anew: that of the old one may tell its prompt.
    """
    if request.graph is not None or request.template is not None:
        raise bad_request(f"{_AGAIN} means the graph or template of that job: give no other one")
    template = spec.template if spec.template in TEMPLATES else None
    parameters, inputs = (spec.parameters, spec.inputs) if template is None else _of_template(spec, template)
    wanted = {**parameters, **request.parameters}
    return JobRequest(
        spec.graph if template is None else None,
        {name: value for name, value in wanted.items() if value is not None},
        template=template,
        inputs={**inputs, **request.inputs},
        bind=request.bind,
        options={**_options_of(spec), **request.options},
    )


def _of_template(spec: JobSpec, template: str) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """The parameters of a template's job, and apart from them its files, where they really lie."""
    pictures = [each.name for each in get_template(template).parameters if each.kind is ParameterKind.FILE]
    given = spec.template_parameters
    # Its parameters name a file without the secrets of its address, its inputs by the node that reads it.
    sources = {public_source(source): source for source in spec.inputs.values()}
    shown = {name: given[name] for name in pictures if given.get(name) is not None}
    named = {name: sources.get(each, each) for name, each in shown.items()}
    others = {path: each for path, each in spec.inputs.items() if each not in named.values()}
    return {name: each for name, each in given.items() if name not in pictures}, {**others, **named}


def _options_of(spec: JobSpec) -> JobOptions:
    rewriting = {
        each.name: value
        for each in fields(RewriteOptions)
        if (value := getattr(spec.rewrite_options, each.name)) != each.default
    }
    return cast(
        "JobOptions",
        {
            **rewriting,
            "labels": tuple(each for each in spec.labels if not each.startswith(TENANT_LABEL)),
            **{name: getattr(spec, name) for name in ("priority", "time_limit_s", "max_attempts", "accept")},
        },
    )
