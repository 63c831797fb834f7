"""Webhooks of a tenant, at the farm's own door; the steward sends to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.responses import JSONResponse, Response

from farm.gateway.bodies import json_object
from farm.gateway.door import Call, Visit
from farm.gateway.keys import Scope
from farm.gateway.refusals import Refusal, bad_request
from farm.store.webhooks import Webhook, facts_of
from farm.upkeep.webhooks import add_webhook, letter_facts, rotate_secret, webhook_of

_MOST: Final = 20  # of one tenant
_MOST_LISTED: Final = 100


async def add(visit: Visit) -> Response:
    """Have the caller's ends of jobs told to an address; the answer alone has its secret."""
    body = await json_object(visit.request)
    url = body.get("url")
    if set(body) != {"url"} or not isinstance(url, str):
        raise bad_request("send an object with url, the address that is to be told")
    if len(await _own(visit)) >= _MOST:
        message = f"you have {_MOST} webhooks, the most that are kept; remove one"
        raise Refusal(status=409, code="too_many_webhooks", message=message)
    house = visit.house
    made = await house.farm.call(add_webhook, house.farm.store, house.dialer, url, tenant=_tenant(visit))
    return JSONResponse({**facts_of(made), "secret": made.secret}, 201)


async def all_of(visit: Visit) -> Response:
    """The caller's webhooks."""
    return JSONResponse({"webhooks": [facts_of(each) for each in await _own(visit)]})


async def remove(visit: Visit) -> Response:
    """Tell an address nothing more, not even what waits for it."""
    webhook = await _named(visit)
    await visit.house.farm.call(visit.house.farm.store.drop_webhook, webhook.webhook_id)
    return Response(status_code=204)


async def rotate(visit: Visit) -> Response:
    """Give a webhook a new secret; the one before signs as well for a day."""
    webhook = await _named(visit)
    rotated = await visit.house.farm.call(rotate_secret, visit.house.farm.store, webhook)
    return JSONResponse({**facts_of(rotated), "secret": rotated.secret})


async def dead(visit: Visit) -> Response:
    """The messages that were given up last."""
    webhook = await _named(visit)
    store = visit.house.farm.store
    found = await visit.house.farm.call(store.dead_letters, webhook.webhook_id, limit=_MOST_LISTED)
    return JSONResponse({"messages": [letter_facts(each) for each in found]})


async def resend(visit: Visit) -> Response:
    """Send dead letters again, the named ones or all, and enable the webhook if it was disabled."""
    body = await json_object(visit.request, default={})
    ids = body.get("messages", [])
    if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
        raise bad_request("messages is a list of ids; without it, all are sent again")
    webhook = await _named(visit)
    again = await visit.house.farm.call(visit.house.farm.store.resend, webhook.webhook_id, ids)
    return JSONResponse({"resent": again})


def _tenant(visit: Visit) -> str:
    """Whose jobs a webhook of this caller tells of: as far as the caller sees."""
    return "" if visit.caller.sees_all else visit.caller.tenant


async def _own(visit: Visit) -> list[Webhook]:
    found = await visit.house.farm.call(visit.house.farm.store.webhooks)
    return [each for each in found if visit.caller.sees_all or each.tenant == visit.caller.tenant]


async def _named(visit: Visit) -> Webhook:
    """The webhook that the path names.

    Raises:
        WebhookNotFound: there is none, or it is somebody else's.
    """
    tenant = None if visit.caller.sees_all else visit.caller.tenant
    return await visit.house.farm.call(webhook_of, visit.house.farm.store, visit.named("id"), tenant=tenant)


HOOKS: Final[Sequence[Call]] = (
    Call(method="POST", path="/webhooks", handler=add, scope=Scope.SUBMIT),
    Call(method="GET", path="/webhooks", handler=all_of, scope=Scope.READ),
    Call(method="DELETE", path="/webhooks/{id}", handler=remove, scope=Scope.SUBMIT),
    Call(method="POST", path="/webhooks/{id}/rotate", handler=rotate, scope=Scope.SUBMIT),
    Call(method="GET", path="/webhooks/{id}/dead", handler=dead, scope=Scope.READ),
    Call(method="POST", path="/webhooks/{id}/resend", handler=resend, scope=Scope.SUBMIT),
)
