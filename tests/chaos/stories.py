"""A job's record and events, as the checker reads them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from farm.job import PUBLISHING, EventKind, JobEvent, JobRecord
from tests.chaos.history import AttemptSeen, StateSeen, Stored, Story


def states_in(events: Iterable[JobEvent]) -> list[StateSeen]:
    """The states that a job's events tell."""
    return [
        StateSeen(
            state=event.data["state"],
            attempt=event.data["attempt"],
            at_s=event.at.timestamp(),
            reason=event.data.get("reason") or "",
            retry_in_s=float(event.data.get("retry_in_s") or 0.0),
            held="held_by" in event.data,
        )
        for event in events
        if event.kind is EventKind.STATE
    ]


def story_of(
    record: JobRecord,
    states: Sequence[StateSeen],
    *,
    accepted_prefix: str,
    poison: bool = False,
    cancel_confirmed_s: float | None = None,
) -> Story:
    """What became of one job.

    Args:
        accepted_prefix: where the files of its accepted attempt lie, if it has one.
    """
    return Story(
        job_id=record.job_id,
        state=record.state.value,
        states=tuple(states),
        attempts=tuple(
            AttemptSeen(
                attempt=note.attempt,
                worker=note.worker,
                outcome=note.outcome,
                started_s=note.started_at.timestamp(),
                ended_s=note.ended_at.timestamp(),
                publishing=note.error is not None and note.error.details.get("phase") == PUBLISHING,
                error_kind=note.error.kind.value if note.error else None,
            )
            for note in record.attempts
        ),
        artifacts=tuple(
            Stored(key=each.key, sha256=each.sha256)
            for each in (record.result.artifacts if record.result else ())
        ),
        accepted_prefix=accepted_prefix if record.result else "",
        error=record.error.message if record.error else None,
        error_kind=record.error.kind.value if record.error else None,
        queue=record.queue,
        priority=record.spec.priority,
        max_attempts=record.spec.max_attempts,
        poison=poison,
        cancel_confirmed_s=cancel_confirmed_s,
    )
