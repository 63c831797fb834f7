"""What a diagnosis says. `docs/doctor.md` documents its JSON, which has the same names."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from comfy.log.facts import LoadState

REPORT_VERSION = 1  # of the JSON; a field that is added does not change it
# Findings whose seconds no card lost.
OFF_CARD: Final = frozenset({"queue-wait", "lease-wait", "retry-wait", "storage-wait"})


class Severity(StrEnum):
    """How bad it is, worst first."""

    ERROR = "error"  # no clip, or not the one that was asked for
    WARNING = "warning"  # seconds are lost, most likely without intent
    INFO = "info"  # worth to know


class Confidence(StrEnum):
    """How sure it is that the finding is true."""

    PROVEN = "proven"  # the evidence allows nothing else
    LIKELY = "likely"  # another explanation is possible, and rarer


class Phase(StrEnum):
    """Where seconds go, in the order of a job's life."""

    PAUSED = "paused"  # somebody kept it from being run
    WAITING = "waiting"  # for a worker, or in ComfyUI's queue
    LEASE = "lease"  # nothing was heard of its worker, until a steward took it behind its lease
    BACKOFF = "backoff"  # before what failed was tried again
    HELD = "held"  # finished files waited for the storage, or for the worker that has them
    PREPARING = "preparing"  # inputs, and the graph fitted to the worker
    DISCARDED = "discarded"  # attempts and renders that came to nothing, and what lay between two renders
    STARTING = "starting"  # of ComfyUI
    LOADING = "loading"  # models from disk, and onto the card
    EVICTING = "evicting"  # models off the card to make room, and back onto it
    TEXT = "text"
    IMAGE = "image"  # start images
    SAMPLING = "sampling"  # of one model
    SAMPLING_HIGH = "sampling_high"
    SAMPLING_LOW = "sampling_low"
    VAE = "vae"
    FRAMES = "frames"  # interpolation, upscaling
    SAVING = "saving"  # encoding
    FINISHING = "finishing"  # VAE, interpolation and encoding, where nothing tells them apart
    OTHER = "other"  # nodes of no phase
    STOPPING = "stopping"  # ComfyUI was told to end the prompt, and went on
    COLLECTING = "collecting"
    PUBLISHING = "publishing"
    UNEXPLAINED = "unexplained"


OFF_CARD_PHASES: Final = (Phase.PAUSED, Phase.WAITING, Phase.LEASE, Phase.BACKOFF, Phase.HELD)


class Status(StrEnum):
    """How a prompt ended."""

    DONE = "done"
    FAILED = "failed"
    OUT_OF_MEMORY = "out_of_memory"
    INTERRUPTED = "interrupted"
    REFUSED = "refused"  # it did not pass the check
    LOST = "lost"  # the server ended while it ran
    UNFINISHED = "unfinished"  # the log ends before it does


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a finding rests on."""

    text: str
    line: int | None = None  # of the log; None: a graph, a time, a card
    times: int = 1  # so many lines say the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Seconds lost, between two bounds."""

    seconds: float
    low: float
    high: float
    measured: bool  # False: estimated
    formula: str  # with its numbers
    source: str  # of the numbers that were not measured here; "" where all were


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A cause of lost seconds."""

    id: str  # stable
    severity: Severity
    confidence: Confidence
    message: str  # what is there
    remedy: str  # the exact setting or command
    evidence: tuple[Evidence, ...]
    cost: Cost | None  # None: it cannot be told
    prompt: int | None  # number of the prompt, from 1; None: of the server, or of several
    worker: str = ""  # that lost the seconds, where it is another attempt's than the one that is told of


@dataclass(frozen=True, slots=True, kw_only=True)
class Folklore:
    """A line or a number that people read wrongly."""

    id: str  # stable
    claim: str
    truth: str
    evidence: tuple[Evidence, ...]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What could not be concluded, and what would decide it."""

    what: str
    decides: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lever:
    """A choice that would make the job shorter and is no fault: size, passes, frames."""

    what: str
    saves: Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseTime:
    """Seconds of one phase; those of a prompt add up to its wall time."""

    phase: Phase
    seconds: float
    source: str  # "websocket", "stamps", "bars", "log", "rest"
    detail: str = ""  # "20 steps × 3.10 s, the first 5.00 s"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUse:
    """How a model came onto the card in one prompt."""

    model_class: str  # "" where the log does not name it
    state: LoadState
    loaded_mib: float | None = None  # None under dynamic VRAM: what is on the card is not told
    staged_mib: float | None = None  # in host memory, under dynamic VRAM
    offloaded_mib: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """One run of a sampler."""

    steps: int
    seconds: float
    seconds_per_step: float | None  # without the first step, where that is told apart
    first_step_s: float | None
    model_class: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptReport:
    """One prompt."""

    number: int  # from 1, in the order in which they began
    status: Status
    wall_s: float | None  # None: nobody says
    phases: tuple[PhaseTime, ...]
    models: tuple[ModelUse, ...]
    samplers: tuple[Sampler, ...]
    error: str = ""
    source: str = ""  # what names its server, where the log holds the lines of several


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What the log says of the server; what it does not say is empty."""

    version: str = ""
    device: str = ""
    vram_mib: float | None = None
    ram_mib: float | None = None
    vram_state: str = ""
    attention: str = ""
    dynamic_vram: bool | None = None
    starts: int = 0
    source: str = ""  # what names it in a log of several; of them together, all their names


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCount:
    """How much of the log was understood."""

    lines: int = 0
    known: int = 0  # read as facts
    stamped: int = 0  # of those, with a stamp
    unknown: tuple[Evidence, ...] = ()  # warnings and errors that nobody knows


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What is known of a job, or of a log with any number of prompts."""

    server: Server
    prompts: tuple[PromptReport, ...]  # the last ones of very many
    prompts_left_out: int
    findings: tuple[Finding, ...]  # by seconds lost
    folklore: tuple[Folklore, ...]
    questions: tuple[Question, ...]
    levers: tuple[Lever, ...]
    log: LogCount

    def seconds_lost(self) -> dict[str, float | None]:
        """By the findings' ids; None: it cannot be told."""
        lost: dict[str, float | None] = {}
        for finding in self.findings:
            seconds = finding.cost.seconds if finding.cost is not None else None
            lost[finding.id] = added(lost.get(finding.id), seconds)
        return lost


def added(some: float | None, more: float | None) -> float | None:
    """Seconds together, as far as they can be told; None: neither can."""
    return more if some is None else some + (more or 0.0)
