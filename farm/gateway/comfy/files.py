"""Assets and outputs: which file an id means, and how its content is given out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from starlette.responses import RedirectResponse, Response, StreamingResponse

from farm.errors import JobNotFound
from farm.gateway.comfy import shapes
from farm.gateway.comfy.shapes import OutputFile
from farm.gateway.door import Visit
from farm.gateway.refusals import Refusal, not_found
from farm.job import JobRecord
from farm.store.redis.assets import Asset

_LINK_S: Final = 3600
_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")
_TOKEN: Final = 8  # characters of a claim's token in an output's id: a job that is rendered anew has others


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A file in S3, as it is given out."""

    key: str
    size_bytes: int
    media_type: str


def outputs_of(job: JobRecord) -> list[OutputFile]:
    """The outputs of a job, each with the id under which it is an asset."""
    token = (job.token or "reused")[:_TOKEN]
    return [
        OutputFile(asset_id=f"{job.job_id}-{token}-{number}", artifact=artifact, job=job)
        for number, artifact in enumerate(job.result.artifacts if job.result else ())
    ]


async def find(visit: Visit, asset_id: str) -> Asset | OutputFile:
    """What the caller has under that id.

    Raises:
        Refusal: nothing, or it is somebody else's.
    """
    asset = await visit.house.farm.call(visit.house.assets.get, asset_id)
    if asset is not None and asset.tenant == visit.caller.tenant:
        return asset
    output = await _find_output(visit, asset_id)
    if output is None:
        raise not_found("such asset")
    return output


async def _find_output(visit: Visit, asset_id: str) -> OutputFile | None:
    job_id = "-".join(asset_id.split("-")[:-2])
    try:
        job = await visit.tenancy.get(job_id)
    except JobNotFound:
        return None
    return next((each for each in outputs_of(job) if each.asset_id == asset_id), None)


def content_of(found: Asset | OutputFile) -> Content:
    """Where its content lies."""
    if isinstance(found, OutputFile):
        artifact = found.artifact
        return Content(key=artifact.key, size_bytes=artifact.size_bytes, media_type=artifact.media_type)
    blob = found.blob
    return Content(key=blob.key, size_bytes=blob.size_bytes, media_type=blob.media_type)


@dataclass(frozen=True, slots=True)
class Links:
    """Links to contents, for the answers to one request."""

    visit: Visit

    async def url(self, found: Asset | OutputFile) -> tuple[str, datetime]:
        """A link that a client can fetch the content with, and until when."""
        until = datetime.now(UTC) + timedelta(seconds=_LINK_S)
        if self.visit.house.settings.content == "bytes":
            asset_id = found.asset_id
            return f"{self.visit.request.base_url}api/v2/assets/{asset_id}/content", until
        return await signed(self.visit, content_of(found)), until

    async def outputs(self, job: JobRecord) -> list[dict[str, Any]]:
        """The outputs of a job."""
        told = []
        for output in outputs_of(job):
            url, until = await self.url(output)
            told.append(shapes.output_json(output, url=url, url_expires_at=until))
        return told


async def signed(visit: Visit, content: Content) -> str:
    """A presigned link; making one is arithmetic, and still too slow for the loop."""
    return await visit.house.farm.call(visit.house.farm.storage.url, content.key, expires_s=_LINK_S)


async def content_response(visit: Visit, content: Content) -> Response:
    """The content: by a link, or through the gateway, whole or the part that is asked for."""
    if visit.house.settings.content == "redirect":
        return RedirectResponse(await signed(visit, content), 302)
    start, length = _range_of(visit.request.headers.get("range", ""), content.size_bytes)
    pieces: Iterator[bytes] = await visit.house.farm.call(
        visit.house.farm.storage.stream, content.key, start=start, length=length
    )
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Length": str(length),
        # Somebody uploaded it: whatever it is, it is no page of ours.
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
    part = length != content.size_bytes
    if part:
        headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{content.size_bytes}"
    return StreamingResponse(pieces, 206 if part else 200, headers, content.media_type)


def _range_of(said: str, size: int) -> tuple[int, int]:
    """First byte and length of what is asked for; whatever is no single range means the whole.

    Raises:
        Refusal: it begins behind the end.

    Source: RFC 9110, section 14.
    """
    found = _RANGE.fullmatch(said.strip())
    if found is None or not any(found.groups()):
        return 0, size
    first, last = found[1], found[2]
    start = int(first) if first else max(size - int(last), 0)
    end = min(int(last), size - 1) if first and last else size - 1
    if start > end:
        raise Refusal(status=416, code="range_not_satisfiable", message=f"the content has {size} bytes")
    return start, end - start + 1
