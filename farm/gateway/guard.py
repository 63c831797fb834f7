"""Who may come in: keys, rates, and pages of other origins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from farm.gateway.keys import ANYBODY, Caller, Scope, callers_of
from farm.gateway.refusals import Refusal, forbidden, unauthorized
from farm.process.environment import is_loopback
from farm.settings.gateway import GatewaySettings
from farm.store.redis.doors import DoorBook

_BEARER: Final = "bearer "
_NO_KEYS: Final = (
    "this gateway has no API key yet, and without keys only requests to localhost on its own machine are "
    "answered; `farm keys create` makes one"
)


@dataclass(frozen=True, slots=True, eq=False)
class Asking:
    """A request that wants in."""

    request: Request
    scope: Scope  # that it takes


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

    def admit(self, asked: Sequence[Asking]) -> dict[Asking, Caller | Refusal]:
        """The caller of each request that may go on, or why one may not. Blocks for two or three round trips.

        Raises:
            StoreUnavailable: nobody can be let in.
        """
        known = callers_of(self._book, [_key_of(each.request) for each in asked])
        has_keys = None in known and self._book.has_keys()
        found: dict[Asking, Caller | Refusal] = {}
        for each, caller in zip(asked, known, strict=True):
            try:
                found[each] = self._judged(each, caller, has_keys=has_keys)
            except Refusal as refusal:
                found[each] = refusal
        callers = {each: caller for each, caller in found.items() if isinstance(caller, Caller)}
        waits_s = self._book.admit([each.key_id for each in callers.values()], per_s=self._per_s)
        late = zip(callers, waits_s, strict=True)
        return found | {each: self._too_often(wait_s) for each, wait_s in late if wait_s}

    def _judged(self, asked: Asking, caller: Caller | None, *, has_keys: bool) -> Caller:
        if caller is None:
            caller = self._anybody(asked.request, has_keys=has_keys)
        if not caller.may(asked.scope):
            raise forbidden(f"this key may not do that: it lacks the scope {asked.scope}")
        return caller

    def _too_often(self, wait_s: float) -> Refusal:
        return Refusal(
            status=429,
            code="rate_limited",
            message=f"more than {self._per_s:g} requests a second; slow down",
            retry_after_s=math.ceil(wait_s),
        )

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

    def _anybody(self, request: Request, *, has_keys: bool) -> Caller:
        if has_keys:
            raise unauthorized()
        # Whoever points a name of theirs at loopback would have a browser here call us under it.
        if self._only_here and is_loopback(_host(request)):
            return ANYBODY
        raise unauthorized(_NO_KEYS)


def _key_of(request: Request) -> str:
    said = request.headers.get("authorization", "")
    return said[len(_BEARER) :].strip() if said.lower().startswith(_BEARER) else ""


def _host(request: Request) -> str:
    """The host that a request is meant for, without its port."""
    said = request.headers.get("host", "")
    return said if said.endswith("]") else said.rpartition(":")[0] or said
