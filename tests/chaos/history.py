"""What happened to each job, told by everybody who saw it: plain values, collected when it is calm again."""

from __future__ import annotations

from dataclasses import dataclass, field

FINAL = frozenset({"succeeded", "failed", "canceled", "expired"})


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSeen:
    """A state event of a job's stream."""

    state: str
    attempt: int
    at_s: float  # since the epoch, the store's clock
    reason: str = ""
    retry_in_s: float = 0.0  # a queued job that may not be claimed before that
    held: bool = False  # queued for the worker that has its files


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSeen:
    """An attempt that ended, as the record notes it."""

    attempt: int
    worker: str
    outcome: str
    started_s: float
    ended_s: float
    publishing: bool = False  # lost while it only published its files
    error_kind: str | None = None  # of one that failed, as `farm.job.ErrorKind` says it


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
    error_kind: str | None = None  # whose fault it was, as `farm.job.ErrorKind` says it
    queue: str = ""
    priority: int = 5  # 0 is the most urgent
    max_attempts: int = 3  # that may fail for a reason that passes
    poison: bool = False  # it kills each worker that takes it
    cancel_confirmed_s: float | None = None  # when somebody was told that it is canceled

    @property
    def submitted_s(self) -> float:
        """When it was queued first."""
        return self.states[0].at_s if self.states else 0.0

    def failed_on(self, by_s: float) -> frozenset[str]:
        """Workers on which it had failed by then: they leave it to others."""
        return frozenset(
            each.worker for each in self.attempts if each.outcome == "failed" and each.ended_s <= by_s
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run that a ComfyUI began, by its own account."""

    job_id: str
    attempt: int
    started_s: float
    worker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """A worker that was killed, or froze for longer than any lease."""

    worker: str
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """A fault that was played, whom it could hit, and what may come of it."""

    kind: str
    since_s: float
    until_s: float
    explains: frozenset[str]  # outcomes of attempts that ran then, and "repeat": ComfyUI ran a prompt twice
    at_claim: bool = False  # only if it was claimed just then: the answer may have been lost
    worker: str | None = None  # None: everybody
    job_id: str | None = None  # None: every job


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What time and number the promise allows; seconds."""

    lost_workers: int = 3
    lost_publishing: int = 5  # that only published it
    machine_failures: int = 5
    reach_s: float = 5.0  # after the end of a fault, until what it did shows
    lease_s: float = 15.0
    repair_s: float = 2.0  # a sweep, and a new steward's election when the old one died as well
    slack_s: float = 10.0  # for a machine that is busy with everything else
    contested_s: float = (
        10.0  # more, while those that it is kept from fetch its messages too: one in two seconds
    )
    cancel_slack_s: float = 1.0  # within which a run may still begin after its cancel was confirmed
    passed_over_s: float = 30.0  # for which only such jobs may be begun that have to wait for another one


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All that is known of one campaign."""

    accepted: tuple[str, ...]  # ids that `submit` returned, to the producer's own knowledge
    stories: dict[str, Story]
    submissions: tuple[tuple[str, str], ...] = ()  # idempotency key and the id that came back, each time
    objects: dict[str, str] = field(default_factory=dict)  # key -> sha256 of the bytes that lie there
    runs: tuple[Run, ...] = ()
    harms: tuple[Harm, ...] = ()
    deaths: tuple[Death, ...] = ()
    exits: tuple[
        Death, ...
    ] = ()  # of any kind: also of workers that left, and could not give their jobs back
    able: dict[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)  # when a worker could work
    outages: tuple[tuple[float, float], ...] = ()  # when the store was away for the steward, grace included
    cleared: bool = False  # files of attempts that nobody names were looked for and removed
    leftovers: dict[str, int] = field(default_factory=dict)  # what must be empty, and how full it is
    bounds: Bounds = Bounds()
