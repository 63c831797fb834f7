"""The doors put together: one ASGI application."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from farm.gateway.bodies import check_length, check_query, drained, measured
from farm.gateway.comfy.door import COMFY
from farm.gateway.door import SMALL_BODY, Call, Door, Visit
from farm.gateway.guard import Asking
from farm.gateway.health import HEALTH
from farm.gateway.house import House
from farm.gateway.keys import ANYBODY, Caller
from farm.gateway.own import OWN
from farm.gateway.page import PAGE
from farm.gateway.refusals import Refusal, refusal_of, unauthorized
from farm.gateway.runpod import RUNPOD
from farm.gateway.videos import VIDEOS

DOORS: Final[Sequence[Door]] = (HEALTH, PAGE, COMFY, OWN, VIDEOS, RUNPOD)

# For whatever a browser shows of us: nothing of it is run, framed or guessed at.
_HEADERS: Final = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
_ALLOWED: Final = "Authorization, Content-Type, Idempotency-Key"


def make_app(house: House, doors: Sequence[Door] = DOORS) -> Starlette:
    """The application over these parts, which it closes at its end."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await house.close()

    routes = [
        Route(door.prefix + path, _Endpoint(house, door, calls), methods=[*calls, "OPTIONS"])
        for door in doors
        for path, calls in _by_path(door).items()
    ]
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _elsewhere(doors)})


class _Endpoint:
    """The calls of one path, as an ASGI application of its own."""

    def __init__(self, house: House, door: Door, calls: Mapping[str, Call]) -> None:
        self._house = house
        self._door = door
        self._calls = calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = self._calls.get(scope["method"])
        most_bytes = self._most_bytes(call)
        idle_s = self._house.settings.idle_s
        request = Request(scope, measured(receive, most_bytes=most_bytes, idle_s=idle_s))
        origin = None
        try:
            origin = self._house.guard.check_origin(request)
            check_length(request, most_bytes)
            response = _preflight() if call is None else await self._answer(call, request)
        except ClientDisconnect:
            return  # nobody is left to answer
        except Exception as exc:  # noqa: BLE001  # the top of a request; `refusal_of` logs what is a fault
            refusal = refusal_of(exc)
            response = refused(self._door, refusal)
            if refusal.status == 413:
                await drained(receive)
        if origin is not None:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Vary"] = "Origin"
        response.headers.update(_HEADERS)
        await response(scope, receive, send)

    def _most_bytes(self, call: Call | None) -> int:
        said = SMALL_BODY if call is None else call.most_bytes
        return SMALL_BODY + (self._house.settings.upload_mib << 20) if said is None else said

    async def _answer(self, call: Call, request: Request) -> Response:
        caller = ANYBODY
        if call.scope is not None:
            admitted = await self._house.admitted.of(Asking(request, call.scope))
            if not isinstance(admitted, Caller):
                raise admitted or unauthorized()
            caller = admitted
        if self._door.strict:
            check_query(request, call.query)
        return await call.handler(Visit(request=request, caller=caller, house=self._house))


def _by_path(door: Door) -> dict[str, dict[str, Call]]:
    found: dict[str, dict[str, Call]] = {}
    for call in door.calls:
        found.setdefault(call.path, {})[call.method] = call
    return found


def refused(door: Door, refusal: Refusal) -> Response:
    """A refusal as its door words it."""
    headers = {} if refusal.retry_after_s is None else {"Retry-After": str(refusal.retry_after_s)}
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    # A body that was not read to its end would be taken for the next request.
    if refusal.status in (408, 413):
        headers["Connection"] = "close"
    # Escaped to ASCII: a refusal may quote half of a surrogate pair, which UTF-8 cannot say.
    status = door.unreadable if refusal.status == 400 else refusal.status
    return Response(json.dumps(door.shape(refusal)), status, headers, "application/json")


def _preflight() -> Response:
    methods = "GET, POST, DELETE, HEAD"
    return Response(
        status_code=204,
        headers={"Access-Control-Allow-Methods": methods, "Access-Control-Allow-Headers": _ALLOWED},
    )


def _elsewhere(doors: Sequence[Door]) -> Callable[[Request, Exception], Awaitable[Response]]:
    """What a path that no call has is answered: in the words of the door that it would belong to."""
    by_prefix = sorted(doors, key=lambda door: len(door.prefix), reverse=True)

    async def answer(request: Request, exc: Exception) -> Response:
        status = exc.status_code if isinstance(exc, HTTPException) else 500
        door = next(each for each in by_prefix if request.url.path.startswith(each.prefix))
        code = "method_not_allowed" if status == 405 else "not_found"
        message = f"there is no {request.method} {request.url.path[:200]} here"
        return refused(door, Refusal(status=status, code=code, message=message))

    return answer
