"""Webhooks: who is told of ends of jobs."""

from __future__ import annotations

from contextlib import closing
from enum import StrEnum
from typing import Annotated

import typer
from rich.table import Table

from farm.cli.terminal import as_json
from farm.cli.terminal.as_json import AsJson
from farm.cli.terminal.door import Door, door_of, say
from farm.cli.terminal.words import clock
from farm.job import utc_from_ms
from farm.local.surroundings import settings_here
from farm.notifier import store_at
from farm.outside.dial import dialer_of
from farm.settings.outside import OutsideSettings
from farm.settings.redis import RedisSettings
from farm.store.roles import WebhookStore
from farm.store.webhooks import Message, Webhook, facts_of
from farm.upkeep.webhooks import add_webhook, letter_facts, rotate_secret, webhook_of


class WebhookAction(StrEnum):
    """What `farm webhooks` does."""

    ADD = "add"
    LIST = "list"
    RM = "rm"
    ROTATE = "rotate"
    DEAD = "dead"
    RESEND = "resend"


def webhooks(
    context: typer.Context,
    action: Annotated[WebhookAction, typer.Argument(help="What to do.")] = WebhookAction.LIST,
    name: Annotated[
        str | None, typer.Argument(help="Of add: the address. Of all others but list: the webhook's id.")
    ] = None,
    messages: Annotated[
        list[str] | None, typer.Argument(help="Of resend: ids of messages; without, all dead letters.")
    ] = None,
    tenant: Annotated[
        str, typer.Option(help="Of add: tell of this tenant's jobs alone; default: of all jobs.")
    ] = "",
    json: AsJson = False,
) -> None:
    """Have the ends of jobs told to addresses, signed; the steward sends (docs/webhooks.md)."""
    if (name is None) is not (action is WebhookAction.LIST):
        raise typer.BadParameter("add takes an address, list nothing, and all others the id of a webhook")
    door = door_of(context)
    with closing(store_at(settings_here(RedisSettings, door.folder))) as store:
        if name is None:
            found = store.webhooks()
            as_json.put(door.out, list(map(facts_of, found))) if json else _show(door, found)
        elif action is WebhookAction.ADD:
            dialer = dialer_of(settings_here(OutsideSettings, door.folder))
            _tell_secret(door, add_webhook(store, dialer, name, tenant=tenant), json=json)
        else:
            _act(door, store, webhook_of(store, name), action, messages or [], json=json)


def _act(
    door: Door,
    store: WebhookStore,
    webhook: Webhook,
    action: WebhookAction,
    messages: list[str],
    *,
    json: bool,
) -> None:
    name = webhook.webhook_id
    if action is WebhookAction.ROTATE:
        _tell_secret(door, rotate_secret(store, webhook), json=json)
    elif action is WebhookAction.DEAD:
        letters = store.dead_letters(name)
        as_json.put(door.out, list(map(letter_facts, letters))) if json else _show_dead(door, letters)
    elif action is WebhookAction.RESEND:
        again = store.resend(name, messages)
        as_json.put(door.out, {"resent": again}) if json else say(door.out, _sent_again(again))
    else:
        store.drop_webhook(name)
        as_json.put(door.out, {"removed": name}) if json else say(door.out, f"{name} is removed")


def _sent_again(count: int) -> str:
    return f"{count:,} message{' is' if count == 1 else 's are'} sent again"


def _tell_secret(door: Door, webhook: Webhook, *, json: bool) -> None:
    if json:
        as_json.put(door.out, {**facts_of(webhook), "secret": webhook.secret})
        return
    say(door.out, webhook.secret)
    say(door.err, f"{webhook.webhook_id}: the secret by which {webhook.url} verifies; it is shown this once")


def _show(door: Door, found: list[Webhook]) -> None:
    heads = ("id", "address", "tenant", "made", "wait", "dead", "last answer", "disabled")
    table = Table(*heads, box=None, pad_edge=False)
    for each in found:
        answer = f"{clock(each.heard_at)}: {each.heard}" if each.heard_at else "–"
        table.add_row(
            *(each.webhook_id, each.url, each.tenant or "all", clock(each.created_at)),
            *(f"{each.waiting:,}", f"{each.dead:,}", answer, each.disabled or ""),
        )
    door.out.print(table if found else "there are no webhooks; `farm webhooks add ADDRESS` makes one")


def _show_dead(door: Door, letters: list[Message]) -> None:
    table = Table("message", "job", "state", "ended", "why it was given up", box=None, pad_edge=False)
    for each in letters:
        end = each.end
        table.add_row(each.message_id, end.job_id, end.state, clock(utc_from_ms(end.ended_ms)), each.reason)
    door.out.print(table if letters else "nothing was given up")
