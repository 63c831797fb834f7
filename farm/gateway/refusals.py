"""`Refusal`: why a request gets nothing, the same for every door; each door gives it its own shape."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from farm.errors import (
    FarmError,
    IllegalMove,
    InvalidJob,
    JobNotFound,
    NoResult,
    ObjectNotFound,
    StorageUnavailable,
    StoreUnavailable,
    Unplaceable,
    WebhookNotFound,
    WorkerNotFound,
)

log = logging.getLogger(__name__)

_AWAY_S: Final = 5  # after so long it is worth to ask again for what was away


@dataclass(kw_only=True, eq=False)  # not frozen: whoever passes an exception on may set its traceback
class Refusal(Exception):
    """What is told to the client."""

    status: int  # of HTTP
    code: str  # short and stable; a door may have another word for it
    message: str  # for a person; names no host and holds no secret
    details: Mapping[str, Any] = field(default_factory=dict)
    retry_after_s: int | None = None

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.message}"


def unauthorized(message: str = "no valid API key came with this request") -> Refusal:
    """Nobody that we know."""
    return Refusal(status=401, code="unauthorized", message=message)


def forbidden(message: str) -> Refusal:
    """Somebody that we know, and who may not do that."""
    return Refusal(status=403, code="forbidden", message=message)


def not_found(what: str) -> Refusal:
    """There is no such thing, or it is somebody else's: nobody is told which."""
    return Refusal(status=404, code="not_found", message=f"there is no {what}")


def bad_request(message: str, **details: Any) -> Refusal:
    """What came cannot be read as a request."""
    return Refusal(status=400, code="invalid_request", message=message, details=details)


def used_up() -> Refusal:
    """An idempotency key that came a second time."""
    return Refusal(
        status=422,
        code="idempotency_key_reuse",
        message="this Idempotency-Key was used, and each is good for one request; "
        "list the jobs to find the one that it made",
    )


# The first row that fits counts. Without a sentence of ours the error's own is told: it is about the request.
_ROWS: Final[Sequence[tuple[type[FarmError], int, str, str]]] = (
    (StoreUnavailable, 503, "store_unavailable", "the job store (Redis) does not answer; try again"),
    (StorageUnavailable, 503, "storage_unavailable", "the file storage (S3) does not answer; try again"),
    (JobNotFound, 404, "not_found", "there is no such job"),
    (ObjectNotFound, 404, "not_found", "the file is not there any more"),
    (WorkerNotFound, 404, "not_found", "there is no such worker"),
    (WebhookNotFound, 404, "not_found", "there is no such webhook"),
    (IllegalMove, 409, "illegal_move", ""),
    (NoResult, 409, "no_result", ""),
    (Unplaceable, 422, "unplaceable", ""),
    (InvalidJob, 422, "invalid_job", ""),
    (FarmError, 422, "refused", ""),
)


def refusal_of(exc: Exception) -> Refusal:
    """The answer to an error of ours; one that nobody expected is logged and told without its words."""
    if isinstance(exc, Refusal):
        return exc
    row = next((row for row in _ROWS if isinstance(exc, row[0])), None)
    if row is None:
        log.error("A request met a fault of the gateway", exc_info=exc, extra={"event": "gateway_fault"})
        return Refusal(status=500, code="internal", message="a fault of the gateway; its log has more")
    _, status, code, message = row
    if status == 503:
        log.warning("A part of the farm is away", extra={"event": "gateway_part_away", "reason": str(exc)})
    return Refusal(
        status=status,
        code=code,
        message=message or _in_words(exc),
        details=_problems(exc) if isinstance(exc, InvalidJob) else {},
        retry_after_s=_AWAY_S if status == 503 else None,
    )


def _in_words(exc: Exception) -> str:
    # What a command or a program would add to ask for it is no word of a request.
    if isinstance(exc, Unplaceable):
        return f"{exc.reason}; a job that says if_unplaceable: park waits for a worker that fits"
    return str(exc)


def _problems(exc: InvalidJob) -> dict[str, Any]:
    return {"problems": [{"field": each.field, "message": each.message} for each in exc.problems]}
