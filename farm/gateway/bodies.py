"""Request bodies: never more than they may be, never slower than they may be, never half taken."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, Final

from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.types import Message, Receive

from comfy.graphs.faults import kind_in_json
from comfy.wan.parameters import read_number
from farm.gateway.refusals import Refusal, bad_request

_SLOWEST_BYTES_PER_S: Final = 1 << 10
_SEVERAL: Final = frozenset({"label"})  # words of a query of which each holds
_LONGEST_ONCE: Final = 255
_DRAINED_BYTES: Final = 64 << 20
_DRAINED_S: Final = 2.0
_MOST_FIELDS: Final = 40
_FIELD_BYTES: Final = 64 << 10
_IN_THREAD_BYTES: Final = 64 << 10  # reading more JSON than that would hold up everybody else


def measured(receive: Receive, *, most_bytes: int, idle_s: float) -> Receive:
    """The same body, which ends in a `Refusal` where it grows too large, stops coming or comes too slowly."""
    taken = 0
    waited_s = 0.0

    async def take() -> Message:
        nonlocal taken, waited_s
        began = time.monotonic()
        # What came bought time, so that bytes one by one do not hold a connection for days.
        left_s = idle_s + taken / _SLOWEST_BYTES_PER_S - waited_s
        try:
            async with asyncio.timeout(min(idle_s, left_s)):
                message = await receive()
        except TimeoutError:
            slow = f"no byte of the body came for {idle_s:g} s"
            if left_s < idle_s:
                slow = f"the body comes more slowly than {_SLOWEST_BYTES_PER_S >> 10} KiB/s"
            raise Refusal(status=408, code="request_timeout", message=slow) from None
        waited_s += time.monotonic() - began
        taken += len(message.get("body", b""))
        if taken > most_bytes:
            raise too_large(most_bytes)
        return message

    return take


async def drained(receive: Receive) -> None:
    """Take and drop what is left of a body that is refused, as far as that is soon done.

    A client that still sends sees its connection break otherwise, and never reads why.
    """
    left = _DRAINED_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAINED_S):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body"):
                    return


def too_large(most_bytes: int) -> Refusal:
    """A body that is larger than it may be."""
    most = f"{most_bytes / 2**20:g} MiB"
    return Refusal(
        status=413,
        code="payload_too_large",
        message=f"the body is larger than {most}, the most that is taken here",
        details={"limit_bytes": most_bytes},
    )


def check_length(request: Request, most_bytes: int) -> None:
    """Refuse at once what says of itself that it is too large.

    Raises:
        Refusal: it does.
    """
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said) > most_bytes:
        raise too_large(most_bytes)


def check_query(request: Request, known: Collection[str]) -> None:
    """Refuse a question that would be answered as if a part of it were not there.

    Raises:
        Refusal: a word of the query is not among those that are known, says nothing, or stands there twice.
    """
    seen = set()
    for name, value in request.query_params.multi_items():
        if name not in known:
            takes = f"there are {', '.join(known)}" if known else "this call takes none"
            raise bad_request(f"there is no {name[:64]!r} in a query here; {takes}", param=name[:64])
        if not value:
            raise bad_request(f"{name} is empty; leave it out", param=name)
        if name in seen and name not in _SEVERAL:
            raise bad_request(f"{name} stands there more than once", param=name)
        seen.add(name)


def once_of(request: Request) -> str | None:
    """The key by which a request is made once.

    Raises:
        Refusal: it can be none.
    """
    once = request.headers.get("idempotency-key")
    if once is not None and not 0 < len(once) <= _LONGEST_ONCE:
        raise bad_request(f"an Idempotency-Key has 1 to {_LONGEST_ONCE} characters")
    return once


def media_type_of(request: Request) -> str:
    """What a body says that it is, in small letters and without parameters; empty for nothing."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def json_object(request: Request, *, default: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The body as a JSON object.

    Args:
        default: what no body at all means; None: there has to be one.

    Raises:
        Refusal: it is none.
    """
    body = await request.body()
    if not body and default is not None:
        return dict(default)
    # Asked for although it could be guessed: a browser sends what a foreign page makes without asking first
    # only under other types.
    if media_type_of(request) != "application/json":
        raise bad_request("send JSON, with the header Content-Type: application/json")
    read = json.loads if len(body) <= _IN_THREAD_BYTES else None
    try:
        found = read(body) if read else await asyncio.to_thread(json.loads, body)
    except (ValueError, RecursionError) as exc:
        raise bad_request(f"the body is no JSON: {_why_no_json(exc)}") from None
    if not isinstance(found, dict):
        raise bad_request(f"the body has to be a JSON object, not {kind_in_json(found)}")
    return found


def _why_no_json(exc: Exception) -> str:
    match exc:
        case RecursionError():
            return "it is nested too deeply"
        case UnicodeDecodeError():
            return "it is not written in UTF-8"
        case json.JSONDecodeError():
            return str(exc)
        case _:
            return "a number in it has more digits than can be read"


def object_of(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A field of a body that is an object; empty where it is not there, or null.

    Raises:
        Refusal: it is something else.
    """
    said = body.get(name)
    if not isinstance(said, dict | None):
        raise bad_request(f"{name} is an object", param=name)
    return said or {}


def number_of(name: str, said: Any, *, least: float, most: float, whole: bool = True) -> float:
    """A number that a client has said, in JSON or as text.

    Raises:
        Refusal: it is none, or not from `least` to `most`; names the field as `param`.
    """
    kind = "a whole number" if whole else "a number"
    try:
        number = read_number(said, whole=whole)
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        raise bad_request(f"{name} is {kind} from {least:,} to {most:,}", param=name)
    return number


def decoded(said: str) -> bytes:
    """The bytes of a text in base64, in one line or many, or of such a ``data:`` URL.

    Raises:
        ValueError: it is none.
    """
    text = said.partition(",")[2] if said.startswith("data:") else said
    return base64.b64decode("".join(text.split()), validate=True)


@asynccontextmanager
async def form_of(request: Request) -> AsyncIterator[FormData]:
    """The multipart form of a request, of one file at most, which is closed however the block ends.

    Raises:
        Refusal: it is none.
    """
    if media_type_of(request) != "multipart/form-data":
        raise bad_request("send a form, with the header Content-Type: multipart/form-data")
    async with aclosing(request.stream()) as stream:
        parser = _WholeForm(
            request.headers, stream, max_files=1, max_fields=_MOST_FIELDS, max_part_size=_FIELD_BYTES
        )
        try:
            form = await parser.parse()
        except MultiPartException as exc:
            raise bad_request(f"the body is no multipart form as it should be: {exc.message}") from None
    try:
        yield form
    finally:
        await form.close()


class _WholeForm(MultiPartParser):
    """As starlette has it, which takes a form that breaks off for one that has fewer parts."""

    _ended = False

    def on_end(self) -> None:
        """The boundary that ends the form came."""
        self._ended = True

    async def parse(self) -> FormData:
        """The form.

        Raises:
            MultiPartException: it is none, or a part of one.
        """
        form = await super().parse()
        if not self._ended:
            await form.close()
            raise MultiPartException("It breaks off.")
        return form
