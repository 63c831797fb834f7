"""Webhooks as Standard Webhooks has them: endpoints with their secrets, and messages with their signatures.

Source: the specification of Standard Webhooks 1.0.0 (``spec/standard-webhooks.md``). Written by hand: its
package for Python brings an HTTP client along, for what are ten lines here.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from farm.errors import InvalidJob, Problem, WebhookNotFound
from farm.job import utc_from_ms
from farm.outside.dial import AddressRefused, Dialer, NoAnswer, split
from farm.store.roles import WebhookStore
from farm.store.webhooks import TENANT_LABEL, JobEnd, Message, Webhook, tenant_of

_PREFIX: Final = "whsec_"
_SECRET_BYTES: Final = 32
_BOTH_S: Final = 86400.0  # for so long the secret before signs as well
_LONGEST_URL: Final = 2000


def add_webhook(store: WebhookStore, dialer: Dialer, url: str, *, tenant: str) -> Webhook:
    """Have ends of jobs told to an address from now on.

    Args:
        dialer: judges the address as the courier will, each time anew.
        tenant: whose jobs; "" for those of the whole farm.

    Raises:
        InvalidJob: that is no address to call.
    """
    try:
        parts = split(url)
        with contextlib.suppress(NoAnswer):  # the courier will see
            dialer.judge(parts)
    except AddressRefused as exc:
        raise InvalidJob([Problem(field="url", message=str(exc))]) from exc
    if len(url) > _LONGEST_URL or not url.isprintable() or parts.username is not None:
        message = f"is an address of up to {_LONGEST_URL} characters, without a password: messages are signed"
        raise InvalidJob([Problem(field="url", message=message)])
    webhook = Webhook(
        webhook_id=f"wh_{secrets.token_hex(8)}",
        url=url,
        tenant=tenant,
        secret=_new_secret(),
        created_at=datetime.now(UTC).replace(microsecond=0),
    )
    store.put_webhook(webhook)
    return webhook


def webhook_of(store: WebhookStore, webhook_id: str, *, tenant: str | None = None) -> Webhook:
    """The webhook of that id; None as `tenant`: whosever it is.

    Raises:
        WebhookNotFound: there is none, or it is another tenant's.
    """
    for webhook in store.webhooks():
        if webhook.webhook_id == webhook_id and tenant in (None, webhook.tenant):
            return webhook
    raise WebhookNotFound(webhook_id)


def rotate_secret(store: WebhookStore, webhook: Webhook) -> Webhook:
    """Give a webhook a new secret; the one before signs as well for a day."""
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=_BOTH_S)
    rotated = replace(webhook, secret=_new_secret(), old_secret=webhook.secret, old_until=until)
    store.put_webhook(rotated)
    return rotated


def letter_facts(message: Message) -> dict[str, Any]:
    """What is shown of a dead letter."""
    return {
        "id": message.message_id,
        "job_id": message.end.job_id,
        "state": message.end.state,
        "ended_at": utc_from_ms(message.end.ended_ms).isoformat(),
        "reason": message.reason,
    }


def _new_secret() -> str:
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def body_of(end: JobEnd) -> bytes:
    """What is sent of an end: facts, and no links; whoever wants more asks for the job."""
    data = {
        "job_id": end.job_id,
        "state": end.state,
        "tenant": tenant_of(end.labels) or None,
        "title": end.title,
        "labels": [label for label in end.labels if not label.startswith(TENANT_LABEL)],
        "attempt": end.attempt,
        "worker": end.worker or None,
        "submitted_at": utc_from_ms(end.submitted_ms).isoformat(),
        "finished_at": utc_from_ms(end.ended_ms).isoformat(),
        "reason": end.reason or None,
        "error": end.error,
    }
    told = {"type": f"job.{end.state}", "timestamp": data["finished_at"], "data": data}
    return json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")


def headers_of(webhook: Webhook, message: Message, body: bytes, *, now: datetime) -> Mapping[str, str]:
    """The headers of a message, signed with each secret that counts."""
    sent_at = str(int(now.timestamp()))
    signed = f"{message.message_id}.{sent_at}.".encode() + body
    keys = [webhook.secret]
    if webhook.old_secret is not None and webhook.old_until is not None and now < webhook.old_until:
        keys.append(webhook.old_secret)
    return {
        "Content-Type": "application/json",
        "webhook-id": message.message_id,
        "webhook-timestamp": sent_at,
        "webhook-signature": " ".join(f"v1,{_signature(key, signed)}" for key in keys),
    }


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
