"""The gateway and its API keys: gateway, keys."""

from __future__ import annotations

from contextlib import closing
from enum import StrEnum
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from farm.cli.terminal import as_json
from farm.cli.terminal.as_json import AsJson
from farm.cli.terminal.door import Door, door_of, say
from farm.cli.terminal.words import clock
from farm.errors import SettingsError
from farm.gateway.keys import ApiKey, Scope, create_key, list_keys, revoke_key
from farm.installed import how_to_install
from farm.local.surroundings import settings_here
from farm.settings.gateway import GatewaySettings
from farm.settings.redis import RedisSettings
from farm.settings.s3 import S3Settings
from farm.store.redis.doors import DoorBook

DEFAULT_PORT: Final = 8190


class KeyAction(StrEnum):
    """What `farm keys` does."""

    CREATE = "create"
    LIST = "list"
    REVOKE = "revoke"


def gateway(
    context: typer.Context,
    host: Annotated[
        str, typer.Option(help="Address to listen on; another than loopback takes an API key.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Where to listen; 0: any free port.")
    ] = DEFAULT_PORT,
) -> None:
    """Serve a page and HTTP contracts (Comfy API v2 …) until told to end; see docs/gateway.md."""
    try:
        from farm.gateway.serving import serve
    except ModuleNotFoundError as exc:
        raise SettingsError(f"the gateway is not installed: {how_to_install('gateway')}") from exc
    door = door_of(context)

    def tell(address: str) -> None:
        say(door.out, f"gateway at {address}")
        door.out.file.flush()

    serve(
        settings_here(RedisSettings, door.folder),
        settings_here(S3Settings, door.folder),
        GatewaySettings.read(),
        host=host,
        port=port,
        on_listening=tell,
    )


def keys(
    context: typer.Context,
    action: Annotated[KeyAction, typer.Argument(help="What to do.")] = KeyAction.LIST,
    name: Annotated[
        str | None, typer.Argument(help="Of create: the tenant. Of revoke: the id of the key.")
    ] = None,
    scope: Annotated[
        list[Scope] | None,
        typer.Option(help="What the key is good for; may be repeated. Default: submit and read."),
    ] = None,
    label: Annotated[str, typer.Option(help="What the key is for, in words.")] = "",
    json: AsJson = False,
) -> None:
    """Make, list and revoke the API keys of the gateway; a key is shown once, when it is made."""
    if (name is None) is not (action is KeyAction.LIST):
        raise typer.BadParameter("create takes a tenant, revoke the id of a key, list nothing")
    door = door_of(context)
    with closing(DoorBook(settings_here(RedisSettings, door.folder))) as book:
        match action:
            case KeyAction.CREATE:
                key, text = create_key(book, name or "", scope or (Scope.SUBMIT, Scope.READ), label=label)
                _tell_new(door, key, text, json=json)
            case KeyAction.REVOKE:
                revoke_key(book, name or "")
                as_json.put(door.out, {"revoked": name}) if json else say(door.out, f"{name} is revoked")
            case KeyAction.LIST:
                found = list_keys(book)
                as_json.put(door.out, list(map(_facts, found))) if json else _show(door, found)


def _tell_new(door: Door, key: ApiKey, text: str, *, json: bool) -> None:
    if json:
        as_json.put(door.out, {**_facts(key), "key": text})
        return
    say(door.out, text)
    say(
        door.err,
        f"key {key.key_id} of {key.tenant}; it is kept nowhere: this is the only time that it is shown",
    )


def _show(door: Door, found: list[ApiKey]) -> None:
    table = Table("id", "tenant", "scopes", "label", "made", "last used", "revoked", box=None, pad_edge=False)
    for key in found:
        times = [clock(each) if each else "" for each in (key.created_at, key.last_used_at, key.revoked_at)]
        table.add_row(key.key_id, key.tenant, " ".join(sorted(key.scopes)), key.label, *times)
    door.out.print(table if found else "there are no API keys; `farm keys create TENANT` makes one")


def _facts(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.key_id,
        "tenant": key.tenant,
        "scopes": sorted(key.scopes),
        "label": key.label,
        "created_at": key.created_at.isoformat(),
        "last_used_at": key.last_used_at.isoformat() if key.last_used_at else None,
        "revoked_at": key.revoked_at.isoformat() if key.revoked_at else None,
    }
