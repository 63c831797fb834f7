"""``docs/gateway-calls.md``: every call of every door of the gateway, made from the routes that it serves."""

from __future__ import annotations

import inspect
from typing import Final

from farm.gateway.app import DOORS
from farm.gateway.door import SMALL_BODY, Call, Door

_INTRODUCTION: Final = """\
# Calls of the gateway

Made from the code by `make docs`; do not edit. [The gateway](gateway.md) says what each door is for.

A call takes a key of the scope that it names; `anybody`: none. A body is JSON, up to {most:.1f} MiB, unless
something else is said.
"""
_HEAD: Final = """
## {name}

| call | what it does | scope | takes |
| --- | --- | --- | --- |
"""


def page() -> str:
    """The page as text."""
    parts = [_INTRODUCTION.format(most=SMALL_BODY / 2**20)]
    for door in DOORS:
        parts.append(_HEAD.format(name=door.name[0].upper() + door.name[1:]))
        parts += [f"{_row(door, call)}\n" for call in door.calls]
    return "".join(parts)


def _row(door: Door, call: Call) -> str:
    what = (inspect.getdoc(call.handler) or "").partition("\n\n")[0].replace("\n", " ").replace("``", "`")
    return (
        f"| `{call.method} {door.prefix}{call.path}` | {what} | {call.scope or 'anybody'} | {_takes(call)} |"
    )


def _takes(call: Call) -> str:
    query = f"`?{'`, `'.join(call.query)}`" if call.query else ""
    if call.most_bytes is None:
        body = "a file, up to `FARM_GATEWAY_UPLOAD_MIB`"
    else:
        body = "" if call.most_bytes == SMALL_BODY else f"up to {call.most_bytes >> 20} MiB"
    return ", ".join(each for each in (query, body) if each)
