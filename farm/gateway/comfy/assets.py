"""The calls about assets: upload, dedup by content, give out, delete."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path, PurePosixPath
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Final, cast

from blake3 import blake3
from starlette.datastructures import UploadFile
from starlette.responses import JSONResponse, Response

from farm.errors import JobNotFound
from farm.gateway.bodies import form_of, json_object, once_of
from farm.gateway.comfy import files, shapes
from farm.gateway.comfy.shapes import OutputFile
from farm.gateway.door import Visit
from farm.gateway.refusals import Refusal, bad_request, used_up
from farm.storage.keys import UNKNOWN_MEDIA_TYPE, parse_s3_uri
from farm.store.redis.assets import Asset, StoredBlob

_HASH: Final = re.compile(r"blake3:([0-9a-f]{64})")
_MEDIA_TYPE: Final = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,80}")
_SUFFIX: Final = re.compile(r"\.[a-z0-9]{1,10}")
_LONGEST_PATH: Final = 500
_DAY_S: Final = 86400.0
_SHORTEST_S, _LONGEST_S = 60, 604_800
_PIECE_BYTES: Final = 1 << 20


async def upload(visit: Visit) -> Response:
    """Take one file, all of it before any of it is stored."""
    once = once_of(visit.request)
    async with form_of(visit.request) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise bad_request("the form has no file in its field 'file'")
        path = _path(form.get("file_path"))
        media_type = _media_type(form.get("content_type"))
        expected = form.get("expected_hash")
        ttl_s = _ttl_s(form.get("expires_in"), visit)
        size = file.size or 0
        digest = await visit.house.farm.call(_blake3_of, file.file)
        if expected is not None and expected != f"blake3:{digest}":
            raise Refusal(
                status=409, code="hash_mismatch", message="these are not the bytes of expected_hash"
            )
        # What was refused for its content has not used up its key.
        house = visit.house
        if once is not None and not await house.farm.call(house.book.use, visit.caller.tenant, once):
            raise used_up()
        known = await _known(visit, digest)
        blob = known or StoredBlob(
            blake3=digest,
            key=await visit.house.farm.call(_store, visit, file.file, size, _suffix(path)),
            size_bytes=size,
            media_type=media_type,
        )
    asset = await _keep(visit, blob, path, ttl_s)
    return await _answer(visit, asset, created_new=known is None)


async def from_hash(visit: Visit) -> Response:
    """Make an asset of bytes that the tenant has brought before."""
    body = await json_object(visit.request)
    blob = await _known(visit, _hash(body.get("hash")))
    if blob is None:
        raise _no_blob()
    path = _path(body.get("file_path", blob.key.rpartition("/")[2]))
    asset_before = await visit.house.farm.call(visit.house.assets.named, visit.caller.tenant, [path])
    asset = await _keep(visit, blob, path, _ttl_s(body.get("expires_in"), visit))
    same = asset_before[0] is not None and asset_before[0].asset_id == asset.asset_id
    return await _answer(visit, asset, created_new=False, status=200 if same else 201)


async def by_hash(visit: Visit) -> Response:
    """Whether an asset can be made of those bytes without sending them."""
    if await _known(visit, _hash(visit.named("hash"))) is None:
        raise _no_blob()
    return Response(status_code=200)


async def show(visit: Visit) -> Response:
    """What is known of an asset, with a fresh link."""
    found = await files.find(visit, visit.named("id"))
    url, until = await files.Links(visit).url(found)
    if isinstance(found, OutputFile):
        retention_s = visit.house.retention_s
        return JSONResponse(
            shapes.output_asset_json(found, url=url, url_expires_at=until, retention_s=retention_s)
        )
    return JSONResponse(shapes.asset_json(found, url=url, url_expires_at=until))


async def content(visit: Visit) -> Response:
    """Its bytes, or where they are."""
    found = await files.find(visit, visit.named("id"))
    return await files.content_response(visit, files.content_of(found))


async def delete(visit: Visit) -> Response:
    """Forget an asset that nothing depends on; its bytes are the janitor's."""
    found = await files.find(visit, visit.named("id"))
    if isinstance(found, OutputFile) or await _is_used(visit, found):
        raise Refusal(status=409, code="asset_in_use", message="something depends on this asset")
    if not await visit.house.farm.call(visit.house.assets.drop, found):
        raise Refusal(status=404, code="not_found", message="there is no such asset")
    return Response(status_code=204)


async def _is_used(visit: Visit, asset: Asset) -> bool:
    farm = visit.house.farm
    for job_id in await farm.call(visit.house.assets.jobs_of, asset):
        with suppress(JobNotFound):
            if not (await farm.get(job_id)).state.final:
                return True
    return False


async def _answer(visit: Visit, asset: Asset, *, created_new: bool, status: int | None = None) -> Response:
    url, until = await files.Links(visit).url(asset)
    told = shapes.asset_json(asset, url=url, url_expires_at=until, created_new=created_new)
    return JSONResponse(told, status or (201 if created_new else 200))


async def _known(visit: Visit, digest: str) -> StoredBlob | None:
    """A content that the tenant has brought, if it still lies in S3 and will for a while."""
    house = visit.house
    blob = await house.farm.call(house.assets.blob, visit.caller.tenant, digest)
    if blob is None or await house.farm.call(house.farm.storage.find, blob.key) is None:
        return None
    return blob


async def _keep(visit: Visit, blob: StoredBlob, path: str, ttl_s: float) -> Asset:
    house = visit.house
    # Known only as long as an asset that is made of it at the last moment ends before the janitor comes.
    blob_ttl_s = max((house.input_days or 30.0) * _DAY_S - max(ttl_s, _LONGEST_S), _DAY_S)
    return await house.farm.call(
        house.assets.keep, visit.caller.tenant, blob, path, ttl_s=ttl_s, blob_ttl_s=blob_ttl_s
    )


def _store(visit: Visit, file: IO[bytes], size: int, suffix: str) -> str:
    """Put the file among the inputs; its key."""
    file.seek(0)
    if size <= _PIECE_BYTES:
        source: Path | bytes = file.read()
    else:
        # A file without a name: a gateway that is killed leaves nothing behind.
        spooled = cast("SpooledTemporaryFile[bytes]", file)
        spooled.rollover()
        source = Path(f"/dev/fd/{spooled.fileno()}")
    return parse_s3_uri(visit.house.farm.storage.upload_input(source, suffix=suffix))[1]


def _blake3_of(file: IO[bytes]) -> str:
    digest = blake3()
    file.seek(0)
    while piece := file.read(_PIECE_BYTES):
        digest.update(piece)
    return digest.hexdigest()


def _hash(said: Any) -> str:
    found = _HASH.fullmatch(said) if isinstance(said, str) else None
    if found is None:
        raise _no_blob()
    return found[1]


def _no_blob() -> Refusal:
    return Refusal(status=404, code="blob_not_found", message="there are no such bytes of yours; upload them")


def _path(said: Any) -> str:
    if not isinstance(said, str) or not said or len(said) > _LONGEST_PATH or not said.isprintable():
        raise bad_request(f"file_path has to be one line of 1 to {_LONGEST_PATH} characters")
    return said


def _media_type(said: Any) -> str:
    if not isinstance(said, str):
        raise bad_request("the form has no content_type")
    plain = said.partition(";")[0].strip().lower()
    return plain if _MEDIA_TYPE.fullmatch(plain) else UNKNOWN_MEDIA_TYPE


def _ttl_s(said: Any, visit: Visit) -> float:
    if said is None or said == "":
        return visit.house.settings.asset_days * _DAY_S
    try:
        seconds = int(said)
    except (TypeError, ValueError):
        seconds = 0
    if not _SHORTEST_S <= seconds <= _LONGEST_S:
        raise Refusal(
            status=422,
            code="invalid_request",
            message=f"expires_in is a number of seconds from {_SHORTEST_S} to {_LONGEST_S}",
        )
    return float(seconds)


def _suffix(path: str) -> str:
    suffix = PurePosixPath(path.replace("\\", "/")).suffix.lower()
    return suffix if _SUFFIX.fullmatch(suffix) else ""
