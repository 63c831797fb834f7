"""The page at ``/``: files for a browser as they are, without a build step and without another host."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final
from urllib.parse import urlsplit

from starlette.responses import Response

from farm.gateway.door import Call, Door, Visit
from farm.gateway.health import error
from farm.gateway.refusals import not_found

_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    content: bytes
    media_type: str
    tag: str  # another one whenever the content is


async def index(visit: Visit) -> Response:
    """The page itself, with what a browser may do for it."""
    storage = visit.house.farm.storage
    link = await visit.house.farm.call(storage.url, storage.keys.scratch_key("x"))
    return _answer(visit, "index.html", {"Content-Security-Policy": _policy(link)})


async def part(visit: Visit) -> Response:
    """A file that the page is made of."""
    return _answer(visit, visit.named("name"), {})


def _answer(visit: Visit, name: str, headers: dict[str, str]) -> Response:
    found = _files().get(name)
    if found is None:
        raise not_found("such file")
    headers = {**headers, "ETag": found.tag, "Cache-Control": "no-cache"}
    if visit.request.headers.get("if-none-match") == found.tag:
        return Response(status_code=304, headers=headers)
    return Response(found.content, 200, headers, found.media_type)


def _policy(link: str) -> str:
    """Nothing but our own files, and pictures and clips from the storage that links lead to."""
    parts = urlsplit(link)
    storage = f"{parts.scheme}://{parts.netloc}"
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; "
        f"img-src 'self' data: blob: {storage}; media-src 'self' blob: {storage}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )


@cache
def _files() -> dict[str, _File]:
    found = {}
    for each in resources.files(__name__).iterdir():
        kind = _TYPES.get(each.name.rpartition(".")[2])
        if kind is not None:
            content = each.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
            found[each.name] = _File(content=content, media_type=kind, tag=tag)
    return found


PAGE: Final = Door(
    name="the page",
    prefix="",
    calls=(
        Call(method="GET", path="/", handler=index, scope=None),
        Call(method="GET", path="/page/{name}", handler=part, scope=None),
    ),
    shape=error,
)
