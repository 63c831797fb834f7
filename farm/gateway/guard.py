"""Who may come in: keys, rates, and pages of other origins."""

from __future__ import annotations

import math
from typing import Final

from starlette.requests import Request

from farm.gateway.keys import ANYBODY, Caller, Scope, caller_of
from farm.gateway.refusals import Refusal, forbidden, unauthorized
from farm.process.environment import is_loopback
from farm.settings.gateway import GatewaySettings
from farm.store.redis.doors import DoorBook

_BEARER: Final = "bearer "
_NO_KEYS: Final = (
    "this gateway has no API key yet, and without keys only requests to localhost on its own machine are "
    "answered; `farm keys create` makes one"
)


class Guard:
    """Asks for a key, unless the farm has none and only this machine can come in."""

    def __init__(self, book: DoorBook, settings: GatewaySettings, *, only_here: bool) -> None:
        """Prepare.

        Args:
            only_here: the gateway listens on loopback alone.
        """
        self._book = book
        self._per_s = settings.requests_per_s
        self._origins = frozenset(each.strip() for each in settings.origins.split(",") if each.strip())
        self._only_here = only_here

    def admit(self, request: Request, scope: Scope) -> Caller:
        """The caller of a request that may go on. Blocks for two round trips to Redis.

        Raises:
            Refusal: it may not.
            StoreUnavailable: nobody can be let in.
        """
        said = request.headers.get("authorization", "")
        key = said[len(_BEARER) :].strip() if said.lower().startswith(_BEARER) else ""
        caller = caller_of(self._book, key) if key else None
        if caller is None:
            caller = self._anybody(request)
        if not caller.may(scope):
            raise forbidden(f"this key may not do that: it lacks the scope {scope}")
        if wait_s := self._book.admit(caller.key_id, per_s=self._per_s):
            raise Refusal(
                status=429,
                code="rate_limited",
                message=f"more than {self._per_s:g} requests a second; slow down",
                retry_after_s=math.ceil(wait_s),
            )
        return caller

    def check_origin(self, request: Request) -> str | None:
        """The foreign origin of a page that may call; None where no foreign page calls.

        Raises:
            Refusal: a page of another origin calls that may not.
        """
        origin = request.headers.get("origin")
        if origin is None or origin.partition("://")[2] == request.headers.get("host"):
            return None
        if origin in self._origins:
            return origin
        raise forbidden("pages of other origins may not call this gateway (FARM_GATEWAY_ORIGINS)")

    def _anybody(self, request: Request) -> Caller:
        if self._book.has_keys():
            raise unauthorized()
        # Whoever points a name of theirs at loopback would have a browser here call us under it.
        if self._only_here and is_loopback(_host(request)):
            return ANYBODY
        raise unauthorized(_NO_KEYS)


def _host(request: Request) -> str:
    """The host that a request is meant for, without its port."""
    said = request.headers.get("host", "")
    return said if said.endswith("]") else said.rpartition(":")[0] or said
