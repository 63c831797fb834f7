"""From the body of a submit to a job: workflow, assets, labels, and what the farm takes besides."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from comfy.graphs.required import input_files
from comfy.ui.load import may_be_workflow
from farm.asking.request import JobOptions, JobRequest
from farm.errors import InvalidJob
from farm.gateway.bodies import object_of
from farm.gateway.comfy import files
from farm.gateway.comfy.shapes import OutputFile
from farm.gateway.door import Visit
from farm.gateway.refusals import Refusal, bad_request
from farm.store.redis.assets import Asset
from farm.store.webhooks import TENANT_LABEL

OWN: Final = "farm."  # begins keys of metadata that are meant for the farm
SETS: Final = "farm.set."  # … and those that set a parameter
MOST_PAIRS: Final = 16
_KNOWN: Final = frozenset({"workflow", "extra_data", "metadata"})
_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=:/@-]{0,63}")  # as `farm.job.Label`
_OPTIONS: Final = frozenset(JobOptions.__annotations__) - {"labels", "idempotency_key"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A job as a client asks for it."""

    request: JobRequest
    assets: tuple[Asset, ...]  # that it reads


async def read_submission(visit: Visit, body: Mapping[str, Any]) -> Submission:
    """Read the body of a submit, and find the assets that it names.

    Raises:
        Refusal: it is none, or names assets that are not there.
    """
    _check_fields(body)
    metadata = _metadata(body.get("metadata"))
    workflow = _workflow(body.get("workflow"), metadata)
    graph, references = _without_references(workflow)
    inputs, assets = await _found(visit, references)
    named, more = await _found_by_name(visit, graph, taken=inputs)
    template = metadata.pop(f"{OWN}template", None)
    request = JobRequest(
        None if template else graph,
        {key.removeprefix(SETS): _value(text) for key, text in metadata.items() if key.startswith(SETS)},
        template=template,
        inputs={**inputs, **named},
        options=_options(metadata),
    )
    return Submission(request=request, assets=(*assets, *more))


def labels_of(metadata: Mapping[str, str], *, code: str = "metadata_invalid") -> tuple[str, ...]:
    """The labels that stand for pairs of metadata.

    Raises:
        Refusal: a pair can be no label.
    """
    labels = tuple(f"{key}={value}" for key, value in metadata.items())
    for (key, _), label in zip(metadata.items(), labels, strict=True):
        if "=" in key or not _LABEL.fullmatch(label) or label.startswith(TENANT_LABEL):
            raise Refusal(
                status=422,
                code=code,
                message=f"metadata {key[:64]!r}: key and value are up to 63 characters together, of letters, "
                "digits and ._:/@- (a value may have = too), beginning with a letter or digit; "
                "'tenant' is the gateway's",
            )
    return labels


def invalid_workflow(exc: InvalidJob) -> Refusal:
    """A refused graph, with what is wrong with each node."""
    errors: dict[str, list[dict[str, str]]] = {}
    for problem in exc.problems:
        if problem.node_id is not None:
            told = {
                "field": problem.input_name or "",
                "reason": problem.kind or "invalid",
                "message": problem.message,
            }
            errors.setdefault(problem.node_id, []).append(told)
    details: dict[str, Any] = {"node_errors": errors}
    if others := [str(problem) for problem in exc.problems if problem.node_id is None]:
        details["problems"] = others
    return Refusal(status=422, code="invalid_workflow", message=str(exc), details=details)


def _check_fields(body: Mapping[str, Any]) -> None:
    if strange := sorted(set(body) - _KNOWN):
        raise bad_request(f"{', '.join(strange)[:200]}: no such field is taken")
    extra = object_of(body, "extra_data")
    if set(extra) - {"api_key_comfy_org"}:
        raise bad_request("extra_data is an object that may hold api_key_comfy_org alone")
    if extra:
        raise Refusal(
            status=422,
            code="partner_nodes_not_supported",
            message="this farm passes no key on to partner (API) nodes, for what a job holds is stored",
        )


def _workflow(said: Any, metadata: Mapping[str, str]) -> dict[str, Any]:
    if not isinstance(said, dict):
        raise bad_request("workflow is the graph, as an object in ComfyUI's API format")
    if may_be_workflow(said):
        raise Refusal(
            status=422,
            code="workflow_format_ui",
            message="this is a file of ComfyUI's editor: export it with 'Export (API)', or send it as "
            "it is to /farm/v1/jobs of this gateway",
        )
    if not said and f"{OWN}template" not in metadata:
        raise Refusal(status=422, code="invalid_workflow", message="the workflow has no nodes")
    return said


def _metadata(said: Any) -> dict[str, str]:
    if said is None:
        return {}
    if not isinstance(said, dict) or not all(isinstance(value, str) for value in said.values()):
        raise Refusal(
            status=422, code="metadata_invalid", message="metadata is an object whose values are texts"
        )
    if len(said) > MOST_PAIRS:
        raise Refusal(
            status=422,
            code="metadata_invalid",
            message=f"metadata has {len(said)} pairs, {MOST_PAIRS} is the most",
        )
    return dict(said)


def _options(metadata: Mapping[str, str]) -> JobOptions:
    """Labels, and the options among the keys of the farm's own."""
    own = {key: value for key, value in metadata.items() if key.startswith(OWN)}
    given = {key.removeprefix(OWN): _value(value) for key, value in own.items() if not key.startswith(SETS)}
    if strange := sorted(set(given) - _OPTIONS):
        raise Refusal(
            status=422,
            code="metadata_invalid",
            message=f"metadata {OWN}{strange[0][:64]}: there are {', '.join(sorted(_OPTIONS))}",
        )
    labels = labels_of({key: value for key, value in metadata.items() if key not in own})
    return cast("JobOptions", {**given, "labels": labels})  # checked as every job's are


def _value(text: str) -> Any:
    """A value as JSON where it is JSON, else the text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


Reference = tuple[str, str, str]  # node, input, id of the asset


def _without_references(workflow: Mapping[str, Any]) -> tuple[dict[str, Any], list[Reference]]:
    """The graph with a name in the place of each asset, and where they stood."""
    graph: dict[str, Any] = {}
    found: list[Reference] = []
    for node_id, node in workflow.items():
        inputs = node.get("inputs") if isinstance(node, dict) else None
        if not isinstance(inputs, dict):
            graph[node_id] = node  # refused with everything else that is wrong with the graph
            continue
        kept = dict(inputs)
        for name, value in inputs.items():
            if isinstance(value, dict) and value.get("__type") == "core/ASSET":
                asset_id = _id_in(value)
                found.append((node_id, name, asset_id))
                kept[name] = asset_id
        graph[node_id] = {**node, "inputs": kept}
    return graph, found


def _id_in(reference: Mapping[str, Any]) -> str:
    info = reference.get("info")
    asset_id = info.get("id") if isinstance(info, dict) else None
    if not isinstance(asset_id, str) or not asset_id:
        raise _missing("a core/ASSET without info.id")
    return asset_id


def _missing(what: str) -> Refusal:
    return Refusal(status=422, code="missing_asset", message=f"{what[:200]}: there is no such asset of yours")


async def _found(visit: Visit, references: list[Reference]) -> tuple[dict[str, str], list[Asset]]:
    inputs: dict[str, str] = {}
    assets: list[Asset] = []
    for node_id, name, asset_id in references:
        try:
            found = await files.find(visit, asset_id)
        except Refusal:
            raise _missing(f"node {node_id}, input {name}: asset {asset_id}") from None
        inputs[f"{node_id}.{name}"] = _address(visit, files.content_of(found).key)
        if not isinstance(found, OutputFile):
            assets.append(found)
    return inputs, assets


async def _found_by_name(
    visit: Visit, graph: Mapping[str, Any], *, taken: Mapping[str, str]
) -> tuple[dict[str, str], list[Asset]]:
    """The tenant's files that the graph names by the path that they were uploaded under."""
    wanted = {each: name for each, name in files_named(graph).items() if each not in taken}
    if not wanted:
        return {}, []
    house = visit.house
    found = await house.farm.call(house.assets.named, visit.caller.tenant, [*wanted.values()])
    pairs = [(each, asset) for each, asset in zip(wanted, found, strict=True) if asset is not None]
    inputs = {each: _address(visit, asset.blob.key) for each, asset in pairs}
    return inputs, [asset for _, asset in pairs]


def files_named(graph: Mapping[str, Any]) -> dict[str, str]:
    """ "node.input" -> name of each input file that a graph names; nothing of what is no graph."""
    try:
        return {f"{each.node_id}.{each.input_name}": each.name for each in input_files(graph)}
    except (AttributeError, TypeError, KeyError):
        return {}  # told with everything that is wrong with it


def _address(visit: Visit, key: str) -> str:
    return f"s3://{visit.house.farm.storage.bucket}/{key}"
