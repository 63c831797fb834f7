"""What a worker says of itself: written by it every few seconds, read by everybody else."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from farm.errors import StatusUnreadable, in_words
from farm.job import Progress
from farm.status.not_fetching import NotFetching
from farm.status.proof import Proof, ProofVerdict


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuStatus:
    """The GPU that a worker computes on."""

    name: str = ""
    uuid: str = ""
    index: int | None = None  # in PCI order, as nvidia-smi counts
    vram_total_bytes: int | None = None
    compute_capability: tuple[int, int] | None = None
    driver: str | None = None
    parent_uuid: str | None = None  # of the GPU that a MIG slice is cut from
    ecc: bool | None = None
    has_nvenc: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlanStatus:
    """How ComfyUI is started."""

    mode: str = ""  # as `worker.plan.load_plan.LoadMode`
    flags: tuple[str, ...] = ()
    reserve_bytes: int = 0
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuProcessStatus:
    """A process that holds memory of the GPU."""

    pid: int
    name: str | None = None
    used_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceStatus:
    """Memory and disk at one moment, in bytes. None: not known."""

    ram_available_bytes: int | None = None
    comfyui_rss_bytes: int | None = None
    worker_rss_bytes: int | None = None
    disk_free_bytes: Mapping[str, int] = field(default_factory=dict)  # "work", "models" -> of its disk
    gpu_trouble: str | None = None  # why nothing is known of the GPU now
    vram_used_bytes: int | None = None
    vram_free_bytes: int | None = None
    gpu_temperature_c: int | None = None
    gpu_ecc_uncorrected: int | None = None  # memory errors since the driver was loaded
    gpu_processes: tuple[GpuProcessStatus, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineStatus:
    """Why a worker is out of service."""

    code: str = ""  # of the last failure, as `JobError.code`
    reason: str = ""
    probes: int = 0  # that found it still so


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedStatus:
    """What became of a worker's last jobs, as far as that tells of the worker."""

    jobs: int = 0  # that it was given lately
    failed_here_only: int = 0  # of them, that another worker has done since


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageStatus:
    """Whether a worker's finished files are stored."""

    trouble: str | None = None  # why the storage did not take the last ones
    jobs_waiting: int = 0  # whose files wait on the worker's disk
    bytes_waiting: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryTraitStatus:
    """One thing that the farm takes for granted of a ComfyUI, and what became of it."""

    trait: str = ""  # as `comfy.canary.report.Trait`
    seen: str = ""  # as `comfy.canary.report.Seen`
    needed: bool = False  # jobs fail without it
    expected: str = ""
    came: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryStatus:
    """What a tiny run without models has found out about the ComfyUI of now."""

    verdict: str = ""  # as `comfy.canary.report.Verdict`
    sentence: str = ""  # all of it, for a person
    traits: tuple[CanaryTraitStatus, ...] = ()
    took_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NvencStatus:
    """Whether the GPU's video encoder works."""

    usable: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionTrials:
    """What came of trying the attention back-ends on this GPU. What is not installed is in neither."""

    proven: Mapping[str, float] = field(default_factory=dict)  # back-end -> seconds of one attention
    refused: Mapping[str, str] = field(default_factory=dict)  # back-end -> why, in words


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsStatus:
    """The model files on a worker's disk."""

    files: int = 0
    bytes: int = 0
    list: str | None = None  # digest of the list, which is stored beside (`farm.fleet.model_lists`)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLoadStatus:
    """How a kind of model was loaded last; sizes in MiB."""

    state: str = ""  # as `comfy.log.facts.LoadState`
    loaded_mib: float | None = None
    offloaded_mib: float | None = None  # streamed in each step
    patches: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomNodeStatus:
    """A folder with custom nodes."""

    version: str | None = None  # as its pyproject.toml says
    revision: str | None = None  # git's, of its check-out


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingStatus:
    """How often the doctor has found something since the worker was started."""

    jobs: int = 0
    seconds: float = 0.0  # lost, as far as they are known


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFacts:
    """What stays the same from job to job; every manifest has it."""

    name: str = "?"
    gpu: GpuStatus | None = None
    load_plan: LoadPlanStatus = LoadPlanStatus()
    vram_gib: int | None = None  # the VRAM class whose jobs it takes, with those of all smaller ones
    ram_total_bytes: int | None = None  # of the host, or of the container's limit
    comfyui_version: str | None = None
    torch_version: str | None = None
    python_version: str | None = None
    attention_backend: str | None = None  # that ComfyUI was told to use; None: none, it chose by itself
    emulated: bool = False  # clips are placeholders


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus(WorkerFacts):
    """What a worker says of itself. Travels through Redis as JSON, gone 15 s after its last word.

    Two fields are read by the store's scripts too, by name: ``vram_gib`` and ``not_fetching``
    (`scripts/_common.lua`).
    """

    pid: int | None = None
    started_at: str | None = None  # when its process began, in UTC
    state: str = "?"  # of its ComfyUI, as `worker.comfyui.keeper.ComfyState`
    not_fetching: tuple[NotFetching, ...] = ()  # why it takes no jobs; empty: it does, when its GPU is free
    trouble: str | None = None  # what keeps it from rendering, for a person
    drain: str | None = None  # what `farm drain` told it, as `farm.store.base.Drain`
    redis_forgot_at: str | None = None  # when it noticed that Redis had lost its data
    quarantine: QuarantineStatus | None = None
    storage: StorageStatus = StorageStatus()
    judged: JudgedStatus = JudgedStatus()
    resources: ResourceStatus = ResourceStatus()
    nvenc: NvencStatus | None = None
    canary: CanaryStatus | None = None  # None: none is back from the ComfyUI of now
    proof: Proof | None = None  # None: ComfyUI has not answered yet
    attention_trials: AttentionTrials | None = None
    jobs: Mapping[str, Progress] = field(
        default_factory=dict
    )  # in its hands: one renders, others are published
    attempts_ended: Mapping[str, int] = field(default_factory=dict)  # outcome -> how many, since its start
    findings: Mapping[str, FindingStatus] = field(default_factory=dict)  # the doctor's, by their id
    gpu_busy_s: float | None = None  # in which a job had the GPU, since its start
    models: ModelsStatus | None = None
    warm_models: tuple[str, ...] = ()  # folder and name of those that ComfyUI holds
    loads: Mapping[str, ModelLoadStatus] = field(default_factory=dict)  # kind of model -> how it was loaded
    comfyui_revision: str | None = None
    comfyui_flags: tuple[str, ...] = ()  # that ComfyUI runs with, without their values
    custom_nodes: Mapping[str, CustomNodeStatus] = field(default_factory=dict)  # by their folder's name
    definitions: str | None = None  # digest of what its ComfyUI says of its nodes (`farm.fleet.preflight`)
    node_classes: int | None = None

    @property
    def is_starting(self) -> bool:
        """Whether it has never fetched yet."""
        return NotFetching.STARTING in self.not_fetching

    def serves(self, gib: int) -> bool:
        """Whether it takes jobs of this VRAM class, as far as it tells."""
        return self.vram_gib is None or self.vram_gib >= gib

    def to_json(self) -> bytes:
        """All fields, on one line."""
        return _adapter().dump_json(self)

    @classmethod
    def from_json(cls, text: str | bytes) -> WorkerStatus:
        """Read what a worker of any version wrote: unknown fields are left out, missing ones defaulted.

        Raises:
            StatusUnreadable: it is no JSON object, or a field's value is of another kind.
        """
        try:
            return _adapter().validate_python(_as_written_today(from_json(text)), strict=False)
        except ValidationError as exc:
            first = exc.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            message = in_words(first["msg"])
            raise StatusUnreadable(f"{where}: {message}" if where else message) from exc
        except (ValueError, RecursionError) as exc:
            raise StatusUnreadable(f"it is no JSON: {exc}") from exc


def read_status(name: str, text: str | bytes) -> WorkerStatus:
    """A worker's status; of one that cannot be read, that it lives and why no more is known of it.

    Such a worker must stop nobody who asks for the others, and must not seem to be gone.
    """
    try:
        return replace(WorkerStatus.from_json(text), name=name)
    except StatusUnreadable as exc:
        trouble = f"its status cannot be read: {exc.reason}; is it of another version?"
        return WorkerStatus(name=name, not_fetching=(NotFetching.UNKNOWN,), trouble=trouble)


def workers_named(workers: Sequence[WorkerStatus], name: str) -> list[WorkerStatus]:
    """Those that a name means: that very worker, or those whose part before the ``@`` it is."""
    exact = [worker for worker in workers if worker.name == name]
    return exact or [worker for worker in workers if worker.name.partition("@")[0] == name]


@functools.cache
def _adapter() -> TypeAdapter[WorkerStatus]:
    """Made at first use: it takes some milliseconds, and most commands never read a status."""
    return TypeAdapter(WorkerStatus)


def _as_written_today(value: Any) -> Any:
    """What a worker of before wrote, in the form of now.

    It had resources among the other fields, and called trials and told back-end alike, ``attention``. The
    proof had no verdict, but a note that the log was silent.
    """
    if not isinstance(value, dict) or "resources" in value:
        return value
    lifted = {each.name: value[each.name] for each in fields(ResourceStatus) if each.name in value}
    told = {name: part for name, part in value.items() if part is not None}
    attention, proof = told.pop("attention", None), told.get("proof")
    if isinstance(attention, dict):
        told["attention_trials"] = attention
    if isinstance(proof, dict):
        told["proof"] = {"verdict": _verdict_of(proof), **proof}
    return {**told, "resources": lifted}


def _verdict_of(proof: Mapping[str, Any]) -> ProofVerdict:
    if proof.get("differences"):
        return ProofVerdict.DIFFERS
    return ProofVerdict.UNPROVEN if proof.get("silent", True) else ProofVerdict.PROVEN
