"""Everything that the farm can refuse or fail at, as types.

What a public call is given gives a result or one of these. A `TypeError` says that the call itself is wrong:
it has no such argument, or one is missing.

FarmError
├── InvalidJob               the job cannot be accepted as it is; `problems` name the field or node
│   └── Unplaceable          … by no worker that lives now; it may be parked until one that fits comes
├── InvalidArgument          a public call was given what no such argument can be; names it
├── IdempotencyConflict      the idempotency key is taken by a different job
├── JobNotFound              no job of that id (never submitted, or past its retention)
│   └── JobForgotten         Redis lost all its data, and most likely this job with it
├── IllegalMove              the job is not in a state from which that is possible
├── JobFailed                waited for a job that ended failed, canceled or expired
├── WaitTimeout              the job had not ended when the caller's time was up
├── NoResult                 a result was asked of a job that has none
├── WorkerNotFound           no live worker of that name
├── KeyNotFound              no API key of that id
├── WebhookNotFound          no webhook of that id
├── SettingsError            a setting is missing or wrong; names the variable
├── StoreUnavailable         Redis cannot be reached, or refuses us
│   ├── NotDurable           it has the job, and not as safely as the settings ask for
│   └── StoreMisconfigured   it answers, but would lose jobs as it is set up
├── StorageUnavailable       S3 cannot be reached, or refuses us
│   ├── BucketNotFound       … the bucket does not exist
│   └── StorageDenied        … the credentials are wrong or not enough
├── ObjectNotFound           there is nothing under that key
├── ObjectDamaged            what is stored is not what was stored there
├── TransferStopped          an upload or download ended because its caller said so
├── InputUnavailable         an input file of a job cannot be had
├── RecordUnreadable         what stands in Redis is not in a form that we know, or too large
├── StatusUnreadable         what a worker says of itself is not in a form that we know
└── StackError               the local stack cannot start or stop
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with what a caller handed in."""

    field: str  # "priority", "graph", "6.text", …
    message: str
    # Of a graph, what `field` says in words:
    kind: str | None = None  # stable id, ComfyUI's own where it has one: "value_not_in_list", "cycle", …
    node_id: str | None = None
    input_name: str | None = None

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


_MOST_PROBLEMS: Final = 100  # nobody reads more, and a job made to hurt could have many thousands


def in_words(message: str) -> str:
    """What a validation says, without the kinds of errors that pydantic puts before our words."""
    return message.replace("Value error, ", "").replace("Assertion failed, ", "")


class FarmError(Exception):
    """Base of everything raised by this package."""


class InvalidJob(FarmError):
    """The job was not accepted; nothing of it was stored."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        found = tuple(dict.fromkeys(problems))  # two checks may find the same fault
        self.problems = found[:_MOST_PROBLEMS]
        more = f"; … and {len(found) - _MOST_PROBLEMS:,} more" if len(found) > _MOST_PROBLEMS else ""
        super().__init__("; ".join(str(problem) for problem in self.problems) + more)


class InvalidArgument(FarmError):
    """A call was given something that this argument of it cannot be."""

    def __init__(self, name: str, fault: str) -> None:
        super().__init__(f"{name} {fault}")
        self.name = name
        self.fault = fault


class Unplaceable(InvalidJob):
    """No live worker has the card, nodes and models that the job needs; nothing of it was stored."""

    remedy = "if_unplaceable='park' (--park) lets it wait for a worker that fits"

    @property
    def reason(self) -> str:
        """What is missing, in one line."""
        return "; ".join(str(problem) for problem in self.problems)

    def __str__(self) -> str:
        return f"{self.reason}; {self.remedy}"


class IdempotencyConflict(FarmError):
    """Two different jobs were submitted under one idempotency key."""

    def __init__(self, key: str, job_id: str) -> None:
        super().__init__(
            f"idempotency key {key!r} belongs to job {job_id}, which asks for something else; "
            "use another key, or submit the same job"
        )
        self.key = key
        self.job_id = job_id


class JobNotFound(FarmError):
    """There is no such job."""

    def __init__(self, job_id: str, why: str = "(never submitted here, or past its retention)") -> None:
        super().__init__(f"there is no job {job_id} {why}")
        self.job_id = job_id


class JobForgotten(JobNotFound):
    """There is no such job, in a Redis that is known to have lost all its data."""

    def __init__(self, job_id: str, noticed_at: datetime) -> None:
        super().__init__(
            job_id,
            f"any more: this Redis forgot everything (noticed {noticed_at:%Y-%m-%d %H:%M:%S} UTC); "
            "jobs of before are lost, submit them again",
        )
        self.noticed_at = noticed_at


class WorkerNotFound(FarmError):
    """No live worker has that name."""

    def __init__(self, name: str, there: Sequence[str]) -> None:
        super().__init__(f"no live worker is called {name!r}; there are: {', '.join(there) or 'none'}")


class KeyNotFound(FarmError):
    """There is no such API key."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"there is no API key {key_id[:50]!r}; `farm keys list` names them")
        self.key_id = key_id


class WebhookNotFound(FarmError):
    """There is no such webhook."""

    def __init__(self, webhook_id: str) -> None:
        super().__init__(f"there is no webhook {webhook_id[:50]!r}; `farm webhooks list` names them")
        self.webhook_id = webhook_id


class IllegalMove(FarmError):
    """What was asked is not possible from the job's present state."""

    def __init__(self, job_id: str, state: str, wanted: str) -> None:
        super().__init__(f"job {job_id} is {state}: it cannot be {wanted}")
        self.job_id = job_id
        self.state = state
        self.wanted = wanted


class JobFailed(FarmError):
    """The job ended, but not well; `state` and `reason` say how and why."""

    def __init__(self, job_id: str, state: str, reason: str) -> None:
        super().__init__(f"job {job_id} {state}: {reason}")
        self.job_id = job_id
        self.state = state
        self.reason = reason


class WaitTimeout(FarmError):
    """The job was still going when the caller's time-out ran out; the job itself goes on."""

    def __init__(self, job_id: str, state: str, waited_s: float) -> None:
        super().__init__(f"job {job_id} is still {state} after {waited_s:.1f} s of waiting; it goes on")
        self.job_id = job_id
        self.state = state
        self.waited_s = waited_s


class NoResult(FarmError):
    """The job has no result to give."""

    def __init__(self, job_id: str, state: str) -> None:
        super().__init__(f"job {job_id} is {state} and has no result")
        self.job_id = job_id
        self.state = state


class SettingsError(FarmError):
    """The environment does not hold what is needed; the message names the variable."""


class StoreUnavailable(FarmError):
    """Redis does not answer, or refuses the user."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"Redis at {where} cannot be used: {reason} (setting FARM_REDIS_URL)")
        self.where = where
        self.reason = reason


class NotDurable(StoreUnavailable):
    """Redis has it, and not as safely as the settings ask for; it goes on all the same."""

    def __init__(self, where: str, lack: str, job_ids: Sequence[str]) -> None:
        more = f" and {len(job_ids) - 3} more" if len(job_ids) > 3 else ""
        FarmError.__init__(
            self,
            f"stored, {lack}; Redis at {where} has {', '.join(job_ids[:3])}{more}, to be run",
        )
        self.where = where
        self.reason = lack
        self.job_ids = tuple(job_ids)


class StoreMisconfigured(StoreUnavailable):
    """Redis answers, but as it is set up it would lose jobs."""


class StorageUnavailable(FarmError):
    """S3 does not answer, or refuses the request."""

    def __init__(self, where: str, reason: str, *, setting: str = "FARM_S3_ENDPOINT_URL") -> None:
        super().__init__(f"S3 at {where} cannot be used: {reason} (setting {setting})")
        self.where = where
        self.reason = reason
        self.setting = setting


class BucketNotFound(StorageUnavailable):
    """The configured bucket does not exist."""

    def __init__(self, where: str, bucket: str) -> None:
        super().__init__(where, f"there is no bucket {bucket!r}; create it first", setting="FARM_S3_BUCKET")
        self.bucket = bucket


class StorageDenied(StorageUnavailable):
    """The credentials are wrong, or do not allow the request."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(where, reason, setting="FARM_S3_ACCESS_KEY_ID, FARM_S3_SECRET_ACCESS_KEY")


class ObjectNotFound(FarmError):
    """The bucket is there, the object is not."""

    def __init__(self, bucket: str, key: str) -> None:
        super().__init__(f"there is no object {key} in bucket {bucket}")
        self.bucket = bucket
        self.key = key


class ObjectDamaged(FarmError):
    """An object's content is not what it should be; nothing of it was kept."""

    def __init__(self, bucket: str, key: str, reason: str) -> None:
        super().__init__(f"object {key} in bucket {bucket} is damaged: {reason}")
        self.bucket = bucket
        self.key = key
        self.reason = reason


class TransferStopped(FarmError):
    """The caller ended the transfer; nothing half-written is left."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the transfer of {key} was stopped")
        self.key = key


class InputUnavailable(FarmError):
    """An input file of a job cannot be fetched; `source` carries no secret."""

    def __init__(self, source: str, reason: str, *, field: str | None = None) -> None:
        super().__init__((f"{field}: " if field else "") + f"input {source} cannot be had: {reason}")
        self.source = source
        self.reason = reason
        self.field = field


class StackError(FarmError):
    """A part of the local stack did not start, or is already running."""


class RecordUnreadable(FarmError):
    """Something that is stored cannot be read."""


class StatusUnreadable(FarmError):
    """What a worker says of itself cannot be read: it is damaged, or of another version."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"a worker's status cannot be read: {reason}")
        self.reason = reason
