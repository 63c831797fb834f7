"""What the route modules share: reading a body, and how the real server's stumbling looks from outside."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Routes = list[tuple[str, str, Handler]]  # method, path, handler


def trouble() -> web.HTTPInternalServerError:
    """What aiohttp answers when a handler of the real server stumbles."""
    return web.HTTPInternalServerError(text="500 Internal Server Error\n\nServer got itself in trouble")


async def read_json(request: web.Request, *, kinds: tuple[type, ...] = (dict,)) -> Any:
    """The body as JSON of one of these kinds; like the real server, a 500 when it is none."""
    try:
        data = await request.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise trouble() from None
    if not isinstance(data, kinds):
        raise trouble()
    return data
