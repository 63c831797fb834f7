"""A job: what is asked, where it is, what came of it. Frozen values, to and from JSON, no I/O."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    AliasChoices,
    AwareDatetime,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import PydanticSerializationError

from comfy.graphs.plain_json import exceeds
from comfy.rewrites.change import ChangeKind
from comfy.rewrites.options import DEFAULT_OPTIONS, RewriteOptions
from farm.errors import InvalidJob, Problem
from farm.faults import fault_in_words
from farm.limits import LONGEST_TEXT, bounded, check_key, short

SCHEMA_VERSION: Final = 1  # in every record; a reader refuses a newer one rather than guess

VRAM_CLASSES_GIB: Final = (8, 12, 16, 24, 32, 48, 80, 141)
MOST_URGENT: Final = 0
DEFAULT_PRIORITY: Final = 5
LEAST_URGENT: Final = 9


def queue_for(vram_gib: int) -> str:
    """The Celery queue of a VRAM class."""
    return f"render.{vram_gib}"


class JobState(StrEnum):
    """Where a job is. The last four are final."""

    QUEUED = "queued"  # in Redis; no worker has it
    RUNNING = "running"  # one worker holds its lease
    SUCCEEDED = "succeeded"  # every output is in S3
    FAILED = "failed"  # `error` says why
    CANCELED = "canceled"  # somebody asked for it
    EXPIRED = "expired"  # its deadline passed before a worker took it

    @property
    def final(self) -> bool:
        """Whether nothing but a person's `retry` moves the job any more."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


class ErrorKind(StrEnum):
    """Whose fault it was, which decides what happens next; the table is in `worker.jobs.faults`."""

    JOB = "job"  # bad graph, missing input: fails now
    # A model or node is missing on that worker: another one may have it. Stored as "place", its first name.
    UNSUITABLE = "place"
    TRANSIENT = "transient"  # may go well next time: retried with back-off
    MACHINE = "machine"  # the worker's machine fails: not counted against the job
    POISON = "poison"  # too many workers were lost while they ran it
    TIME_LIMIT = "time_limit"  # it ran longer than it may


class EventKind(StrEnum):
    """What an entry of a job's event stream tells."""

    STATE = "state"  # data: state, attempt, worker, reason
    PHASE = "phase"  # data: phase
    PROGRESS = "progress"  # data: as `Progress`
    PREVIEW = "preview"  # data: node_id, media_type, image (base64, small)
    LOG = "log"  # data: line
    FINDING = "finding"  # data: a cause of lost seconds
    OTHER = "other"  # of a kind that only a newer farm knows; data: kind, and what it tells


def _vram_class(value: int) -> int:
    if value not in VRAM_CLASSES_GIB:
        raise ValueError(f"is no VRAM class; one of {', '.join(map(str, VRAM_CLASSES_GIB))} (GiB)")
    return value


def _label(value: str) -> str:
    if _LABEL.fullmatch(value) is None:
        raise ValueError(
            "has to be 1 to 64 letters, digits and . _ = : / @ -, the first of them a letter or a digit"
        )
    return value


_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=:/@-]{0,63}")
VramClass = Annotated[int, AfterValidator(_vram_class)]
Label = Annotated[str, AfterValidator(_label)]
LONGEST_TITLE: Final = 200  # characters
Text = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_TITLE)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A model file that a graph's loader names."""

    folder: str  # ComfyUI's folder kind: "diffusion_models", "text_encoders", "vae", "loras", …
    name: str  # below it, with "/" between folders


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """What a worker needs to have for the job."""

    vram_gib: VramClass = VRAM_CLASSES_GIB[0]  # smallest class whose cards can run it
    node_classes: tuple[str, ...] = ()
    models: tuple[ModelFile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """One graph to run once. Travels through Redis as JSON; never changes after `submit`."""

    graph: dict[str, Any]  # API format: node id -> {"class_type", "inputs"}
    title: Text = "ComfyUI graph"  # what people see in lists and in Flower
    parameters: dict[str, Any] = field(default_factory=dict)  # "node.input" -> value, set before it runs
    inputs: dict[str, str] = field(default_factory=dict)  # "node.input" -> s3://, http(s):// or file: source
    workflow: dict[str, Any] | None = None  # the editor's file that the graph is from, if nodes read it
    template: str | None = None  # the built-in template that the graph was made from
    template_parameters: dict[str, Any] = field(default_factory=dict)
    priority: Annotated[int, Field(ge=MOST_URGENT, le=LEAST_URGENT)] = DEFAULT_PRIORITY
    deadline: AwareDatetime | None = None  # not started by then: expired
    # Of one attempt, from its claim to its finished files: storing them does not count.
    time_limit_s: Annotated[float, Field(gt=0, le=7 * 86400)] = 3600.0
    max_attempts: Annotated[int, Field(ge=1, le=20)] = 3
    labels: Annotated[tuple[Label, ...], Field(max_length=17)] = ()  # sixteen, and the gateway's own
    idempotency_key: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    accept: ChangeKind = ChangeKind.NEAR  # what the worker may change to make the graph fit the worker
    # What the caller asks of such changes; most need `accept` "different". Stored as "wishes", its first
    # name: waiting jobs, workers of the version before and digests of equal content know it by that.
    rewrite_options: Annotated[
        RewriteOptions,
        Field(validation_alias=AliasChoices("rewrite_options", "wishes"), serialization_alias="wishes"),
    ] = DEFAULT_OPTIONS
    reuse: bool = False  # take the stored result of a job of the same content, if there is one
    requirements: Requirements = Requirements()


# What tells only how a render goes on: a job that ended a while ago tells it no more.
PASSING: Final = frozenset({EventKind.PROGRESS, EventKind.PREVIEW})
PUBLISHING: Final = "publishing"  # a phase: the work on the card is done


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the present attempt is."""

    phase: str  # "preparing", "load", "text", "sample_high", "sample_low", "vae", "save", "publishing", …
    fraction: float  # 0..1 of the whole prompt, as well as it can be told
    node_id: str | None = None
    step: int | None = None  # of the node at work
    steps: int | None = None
    seconds_per_step: float | None = None
    eta_s: float | None = None  # of the whole job, until its files are finished
    nodes_done: int | None = None  # of those that run for this graph
    nodes_total: int | None = None

    def at_end(self) -> Progress:
        """The same once all of it is done; what was told last came before that."""
        return replace(self, fraction=1.0, eta_s=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    """Why an attempt, or the job, did not end well."""

    kind: ErrorKind
    code: str  # short and stable: "graph_rejected", "out_of_memory", "lease_lost", …
    message: str  # for a person: what happened, where, what to do
    node_id: str | None = None
    node_type: str | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Keep it short: a node's words may be of any length, and stand in the record and in its events."""
        object.__setattr__(self, "message", short(self.message))
        if exceeds(self.details, LONGEST_TEXT):
            object.__setattr__(self, "details", bounded(self.details))


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptNote:
    """How one earlier attempt ended; the record keeps them all."""

    attempt: int  # from 1
    worker: str
    outcome: str  # "failed", "unpublished", "lost", "released", "canceled", "succeeded"
    started_at: AwareDatetime
    ended_at: AwareDatetime
    error: JobError | None = None
    heard_at: AwareDatetime | None = None  # of a lost one: when its worker was last heard of
    # Of a failed one: no other attempt began before, and none on the same worker before `kept_until`.
    again_at: AwareDatetime | None = None
    kept_until: AwareDatetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFacts:
    """What PyAV read in the stored file itself, not what was asked for."""

    codec: str
    width: int  # pixels
    height: int
    frames: int
    fps: float
    duration_s: float
    pixel_format: str | None = None
    has_audio: bool = False


# As they are read: a record may hold what no worker of ours has written there.
StoredKey = Annotated[str, AfterValidator(check_key)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Size = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One stored output."""

    key: StoredKey  # S3 key, within the bucket
    size_bytes: Size
    sha256: Sha256
    media_type: str  # "video/mp4", "image/png", …
    node_id: str | None = None  # the node that made it
    filename: str = ""  # as ComfyUI named it
    video: VideoFacts | None = None
    poster_key: StoredKey | None = None  # JPEG of a frame, for lists


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownText:
    """What a node showed as text: a caption, a prompt that a model has improved. The manifest has it all."""

    node_id: str
    text: str
    cut: bool = False  # there is more of it


MOST_TEXTS: Final = 20  # of one job


def shown_text(node_id: str, text: str) -> ShownText:
    """A text as the record of a job keeps it: no longer than is read at a glance."""
    plain = text.encode(errors="replace").decode()
    return ShownText(node_id=node_id, text=plain[:LONGEST_TEXT], cut=len(plain) > LONGEST_TEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """What a succeeded job made, and where it is."""

    bucket: str
    artifacts: tuple[Artifact, ...]  # never empty
    manifest_key: StoredKey
    timings_s: dict[str, float] = field(default_factory=dict)  # "queue", "prepare", "execute", "publish", …
    emulated: bool = False  # drawn by the emulator: no WAN model has seen it
    comfyui_version: str | None = None  # of the server that ran the graph
    model_bytes: dict[str, int] = field(default_factory=dict)  # "vae/x.safetensors" -> bytes, as far as known
    texts: tuple[ShownText, ...] = ()  # of the first nodes that showed any
    # The doctor's, as JSON: a worker of another version may say what this one does not know. `farm.reports`
    # reads it. None: of a worker that had no doctor.
    report: dict[str, Any] | None = None

    @property
    def main(self) -> Artifact:
        """The clip: the first video, or the first file when there is none."""
        videos = [artifact for artifact in self.artifacts if artifact.video is not None]
        return (videos or list(self.artifacts))[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """A job as the store knows it at one moment. All times are the store's clock, UTC."""

    job_id: str
    spec: JobSpec
    state: JobState
    submitted_at: AwareDatetime
    queue: str  # the Celery queue that its notification is in
    attempt: int = 0  # number of the present or last attempt; 0: never claimed
    token: str | None = None  # of the claim that runs; once succeeded, of the one whose result was accepted
    attempts_failed: int = 0
    attempts_lost: int = 0  # leases that ran out: a worker died or was cut off
    worker: str | None = None  # holder of the lease, or the last one
    started_at: AwareDatetime | None = None  # first claim
    claimed_at: AwareDatetime | None = None  # present claim
    finished_at: AwareDatetime | None = None
    lease_until: AwareDatetime | None = None
    not_before: AwareDatetime | None = None  # a retry waits for this
    cancel_requested: bool = False
    cancel_reason: str | None = None  # what the first one who asked for it said
    paused_at: AwareDatetime | None = None  # somebody keeps it from being run, until they resume it
    parked: str | None = None  # why no live worker fits; it starts when one that does comes
    progress: Progress | None = None
    result: JobResult | None = None
    error: JobError | None = None  # of the job when final, else of the last attempt
    report: dict[str, Any] | None = None  # the doctor's, of the attempt that failed last
    attempts: tuple[AttemptNote, ...] = ()
    reused_from: str | None = None  # the job that made the result; this one was never run

    @property
    def reason(self) -> str | None:
        """Why the job did not end well, for a person; None for one that did, or that has not ended."""
        match self.state:
            case JobState.FAILED:
                return self.error.message if self.error else "no reason is known"
            case JobState.CANCELED:
                return self.cancel_reason or "somebody asked for it and gave no reason"
            case JobState.EXPIRED:
                return "its deadline passed before a worker took it"
            case _:
                return None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """One entry of a job's stream. `event_id` is where to go on from."""

    event_id: str  # grows; "0" is before the first
    job_id: str
    at: AwareDatetime
    kind: EventKind
    data: dict[str, Any]


_SPEC: Final = TypeAdapter(JobSpec)
_JSON_KEYS_SHOWN: Final = 5


def new_job_id() -> str:
    """A fresh id: 32 lower-case hex digits, good in an S3 key, a URL and a file name."""
    return uuid.uuid4().hex


def is_job_id(text: str) -> bool:
    """Whether `text` could be an id of ours; keeps strange strings out of keys and paths."""
    return re.fullmatch(r"[a-z0-9][a-z0-9-]{7,63}", text) is not None


def make_spec(fields: Mapping[str, Any]) -> JobSpec:
    """A checked `JobSpec` from plain values, as a caller or a JSON file gives them.

    Raises:
        InvalidJob: a field is unknown, missing, or out of its range; all of them are named.
    """
    unknown = sorted(set(fields) - set(JobSpec.__dataclass_fields__))
    if unknown:
        known = ", ".join(JobSpec.__dataclass_fields__)
        raise InvalidJob([Problem(field=name, message=f"unknown; known are {known}") for name in unknown])
    try:
        return _SPEC.validate_python(dict(fields))
    except ValidationError as exc:
        raise InvalidJob(_problems(exc)) from exc


def spec_to_json(spec: JobSpec) -> bytes:
    """The spec as compact JSON, fields at their default left out.

    Raises:
        InvalidJob: it holds something that JSON cannot say, such as half of a surrogate pair.
    """
    try:
        return _SPEC.dump_json(spec, exclude_defaults=True, by_alias=True)
    except (PydanticSerializationError, ValueError) as exc:
        reason = str(exc).rpartition(": ")[2][:LONGEST_TITLE]
        raise InvalidJob([Problem(field="job", message=f"cannot be stored: {reason}")]) from exc


def spec_from_json(text: bytes | str) -> JobSpec:
    """Back from `spec_to_json`.

    Raises:
        InvalidJob: the text is no spec of this version.
    """
    try:
        return _SPEC.validate_json(text)
    except ValidationError as exc:
        raise InvalidJob(_problems(exc)) from exc


def _problems(exc: ValidationError) -> list[Problem]:
    errors = exc.errors(include_url=False)
    return [
        Problem(
            field=".".join(str(part) for part in error["loc"]) or "job",
            message=f"{fault_in_words(error)} (got {_shown(error['input'])})",
        )
        for error in errors
    ]


def _shown(value: Any) -> str:
    """A value as an error may show it: short, and never a whole graph."""
    if isinstance(value, Mapping):
        keys = ", ".join(str(key)[:LONGEST_TITLE] for key in list(value)[:_JSON_KEYS_SHOWN])
        return f"an object with {keys or 'nothing'}"
    try:
        text = json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
    except ValueError:  # a number of thousands of digits
        return "a very long number"
    return text if len(text) <= 80 else text[:77] + "..."


def utc_from_ms(ms: int | float) -> datetime:
    """Aware UTC time from the store's milliseconds since the epoch."""
    from datetime import UTC

    return datetime.fromtimestamp(ms / 1000, tz=UTC)
