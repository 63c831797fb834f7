"""`Door`: one contract as a list of calls, and how its answers and refusals look."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from farm.gateway.house import House
from farm.gateway.keys import Caller, Scope
from farm.gateway.refusals import Refusal
from farm.gateway.tenancy import Tenancy
from farm.limits import MOST_JOB_BYTES

# A job's own limit, and room for what goes around it in a request.
SMALL_BODY: Final = MOST_JOB_BYTES + (64 << 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request, let in."""

    request: Request
    caller: Caller
    house: House

    @property
    def tenancy(self) -> Tenancy:
        """The farm as the caller sees it."""
        return Tenancy(self.house, self.caller)

    def named(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])


Handler = Callable[[Visit], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a contract."""

    method: str
    path: str  # below the door's prefix; parts in braces
    handler: Handler
    scope: Scope | None  # what it takes; None: anybody may ask
    query: Sequence[str] = ()  # words that a strict door takes in its query
    most_bytes: int | None = SMALL_BODY  # of its body; None: as many as an upload may have


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """One contract."""

    name: str
    prefix: str  # of its paths; "" for the root
    calls: Sequence[Call]
    shape: Callable[[Refusal], dict[str, Any]]  # the JSON body of a refusal
    unreadable: int = 400  # the status of what cannot be read as a request
    strict: bool = False  # refuses words of a query that a call does not know; contracts of others do not
