"""What is kept of webhooks: who is told of ends of jobs, and the messages for them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pydantic import TypeAdapter

from farm.errors import RecordUnreadable
from farm.job import JobState

MOST_KEPT: Final = 10_000  # messages that wait for one endpoint, and as many that were given up
TENANT_LABEL: Final = "tenant="  # begins the label by which jobs of a tenant are known


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """An endpoint that is told when jobs end."""

    webhook_id: str
    url: str
    tenant: str  # whose jobs; "" for those of the whole farm
    secret: str = field(repr=False)  # as Standard Webhooks writes it, ``whsec_…``
    created_at: datetime
    old_secret: str | None = field(default=None, repr=False)  # signs as well until `old_until`
    old_until: datetime | None = None
    disabled: str | None = None  # why nothing is sent any more
    # As it stood when it was read; nobody writes these.
    heard: str = ""  # what the receiver answered last, or why it did not
    heard_at: datetime | None = None
    waiting: int = 0  # messages
    dead: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnd:
    """How a job ended, as it was then: the record may be gone, or queued anew, when this is read."""

    job_id: str
    state: JobState
    submitted_ms: int
    ended_ms: int
    attempt: int
    worker: str = ""
    title: str = ""
    labels: tuple[str, ...] = ()
    reason: str = ""  # of a cancel, and why it expired
    error: dict[str, str] | None = None  # kind, code and message of a job that failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """The news of one end for one endpoint."""

    message_id: str  # the same at every try, and for every endpoint that is told of that end
    end: JobEnd
    tries: int = 0  # that failed
    reason: str = ""  # of the last of them


_END: Final = TypeAdapter(JobEnd)


def end_to_json(end: JobEnd) -> str:
    """As scripts write it too."""
    return json.dumps(_END.dump_python(end, mode="json"), separators=(",", ":"))


def end_from_json(text: bytes | str) -> JobEnd:
    """Back from `end_to_json`.

    Raises:
        RecordUnreadable: that is none.
    """
    try:
        return _END.validate_json(text)
    except ValueError as exc:
        raise RecordUnreadable("a webhook's message", str(exc)) from exc


def tenant_of(labels: tuple[str, ...]) -> str:
    """Whose job it is that has these labels; "" for nobody's."""
    return next((each.removeprefix(TENANT_LABEL) for each in labels if each.startswith(TENANT_LABEL)), "")


def facts_of(webhook: Webhook) -> dict[str, Any]:
    """What may be shown of an endpoint: all but its secrets."""
    return {
        "id": webhook.webhook_id,
        "url": webhook.url,
        "tenant": webhook.tenant or None,
        "created_at": webhook.created_at.isoformat(),
        "old_secret_until": webhook.old_until.isoformat() if webhook.old_until else None,
        "disabled": webhook.disabled,
        "waiting": webhook.waiting,
        "dead": webhook.dead,
        "last_answer": webhook.heard or None,
        "last_answer_at": webhook.heard_at.isoformat() if webhook.heard_at else None,
    }
