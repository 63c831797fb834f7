"""What happened to each job, told by everybody who saw it: plain values, collected when it is calm again."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSeen:
    """A state event of a job's stream."""

    state: str
    attempt: int
    at_s: float  # since the epoch, the store's clock
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSeen:
    """An attempt that ended, as the record notes it."""

    attempt: int
    worker: str
    outcome: str
    started_s: float
    ended_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A stored object that a result names."""

    key: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A job, as record and events tell it at the end."""

    job_id: str
    state: str | None  # None: the store has no such job
    states: tuple[StateSeen, ...] = ()  # oldest first
    attempts: tuple[AttemptSeen, ...] = ()
    artifacts: tuple[Stored, ...] = ()
    accepted_prefix: str = ""  # where the files of the accepted attempt lie
    error: str | None = None
    poison: bool = False  # it kills each worker that takes it
    cancel_confirmed_s: float | None = None  # when somebody was told that it is canceled


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run that a ComfyUI began, by its own account."""

    job_id: str
    attempt: int
    started_s: float
    worker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All that is known of one campaign."""

    accepted: tuple[str, ...]  # ids that `submit` returned, to the producer's own knowledge
    stories: dict[str, Story]
    objects: dict[str, str] = field(default_factory=dict)  # key -> sha256 of the bytes that lie there
    runs: tuple[Run, ...] = ()
    leftovers: dict[str, int] = field(default_factory=dict)  # what must be empty, and how full it is
    poison_limit: int = 3
    cancel_slack_s: float = 1.0  # within which a run may still begin after its cancel was confirmed
