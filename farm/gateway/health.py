"""Whether the gateway lives, and whether it can work: for containers and load balancers."""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import JSONResponse, Response

from farm.errors import FarmError
from farm.gateway.door import Call, Door, Visit
from farm.gateway.refusals import Refusal, refusal_of


async def alive(_visit: Visit) -> Response:
    """This process answers."""
    return JSONResponse({"status": "ok"})


async def ready(visit: Visit) -> Response:
    """Redis and S3 answer too, or which of them does not."""
    house = visit.house
    storage = house.farm.storage
    away: list[str] = []
    for ask in (house.book.ping, lambda: storage.exists(storage.keys.scratch_key("ready"))):
        try:
            await house.farm.call(ask)
        except FarmError as exc:
            away.append(refusal_of(exc).message)
    if away:
        raise Refusal(status=503, code="not_ready", message="; ".join(away), retry_after_s=5)
    return JSONResponse({"status": "ok"})


def error(refusal: Refusal) -> dict[str, Any]:
    """A refusal of our own doors."""
    told = {"code": refusal.code, "message": refusal.message, "details": dict(refusal.details) or None}
    return {"error": told}


HEALTH: Final = Door(
    name="health",
    prefix="",
    calls=(
        Call(method="GET", path="/healthz", handler=alive, scope=None),
        Call(method="GET", path="/readyz", handler=ready, scope=None),
    ),
    shape=error,
)
