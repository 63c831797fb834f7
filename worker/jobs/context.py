"""What an attempt works with, and what it tells: made once for each worker, and once for each render."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from comfy.doctor.clip import USUAL, Thresholds
from comfy.doctor.report import Report
from comfy.doctor.times import CardUse
from comfy.protocol.client import ComfyClient
from comfy.protocol.run import PromptRun
from comfy.rewrites.optimize import Optimized
from farm.errors import StorageUnavailable
from farm.job import JobError, JobSpec, ModelFile, Progress
from farm.status.worker import WorkerFacts
from farm.store.base import Claim
from farm.store.roles import WorkerStore
from worker.errors import WorkerError
from worker.inputs.cache import InputCache
from worker.jobs.faults import MachineTrouble
from worker.jobs.lease import LeaseKeeper
from worker.plan.fallback import FallbackStep
from worker.results.publish import Publisher
from worker.results.retained import RetainedRenders


class Fitter(Protocol):
    """Who fits graphs to this worker."""

    def admit(self, graph: Mapping[str, Any]) -> None:
        """Pass a graph that this deployment allows.

        Raises:
            GraphError: it does not.
        """

    def fit(self, graph: Mapping[str, Any], spec: JobSpec) -> Optimized:
        """The graph with what the job accepts; never raises."""


class Comfy(Protocol):
    """The ComfyUI that this worker owns, as far as a render needs it."""

    @property
    def output_dir(self) -> Path | None:
        """Where it writes files; None when its disk is not ours."""

    @property
    def output_owner(self) -> int | None:
        """Id of the user to whom each of these files belongs; None: it is this process's user."""

    @property
    def is_ours(self) -> bool:
        """Whether its process is ours; else it may be away for a while and still have our prompt."""

    @property
    def died(self) -> threading.Event:
        """Set once the process that runs now has ended; belongs to that process."""

    def client(self) -> ComfyClient:
        """A client for the server as it runs now; starts it when it does not run.

        Raises:
            WorkerError: it does not start.
        """

    def provide(
        self,
        inputs: InputCache,
        source: str,
        *,
        field: str,
        holder: str,
        stop: Callable[[], bool],
        as_path: bool = False,
    ) -> str:
        """Put an input file where the server finds it; the name to write into the graph.

        Args:
            as_path: whether the node opens what it is given; else it looks in the server's input folder.

        Raises:
            InputUnavailable, StorageUnavailable, TransferStopped: as `InputCache.provide`.
        """

    def clean(self, folder: str) -> None:
        """Remove an attempt's files; `folder` is relative to the output folder."""

    def request_restart(self, reason: str) -> None:
        """Have the process ended and another one started; does not wait for it, `client` does."""

    def offers(self) -> frozenset[FallbackStep]:
        """What can be tried here when a job runs out of memory."""

    def fall_back(self, step: FallbackStep) -> None:
        """Make room on the card; the rewrite of the graph is the render's own business.

        Raises:
            WorkerError: ComfyUI does not start in its humbler mode.
        """

    def settle(self) -> None:
        """A job was rendered well; after some, ComfyUI runs as planned again."""

    def death(self) -> WorkerError:
        """How the last process ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunListener:
    """Who wants to hear of a run while it goes on."""

    phase: Callable[[str], None]
    progress: Callable[[Progress], None]
    preview: Callable[[str, str, bytes], None] | None = None  # node id, media type, image
    # The run that is heard of; None: a render begins, and none of its runs was heard of yet.
    run: Callable[[PromptRun | None], None] = lambda _run: None


class GpuTurn(Protocol):
    """An attempt's right to the GPU."""

    def step_aside(self) -> None:
        """Let another job have the GPU meanwhile."""

    def take_gpu(self, stop: threading.Event) -> None:
        """Return once no other job has the GPU, or `stop` is set."""

    def off_the_gpu(self) -> None:
        """Nothing of this attempt needs the GPU any more."""


class AloneOnGpu:
    """The turn of an attempt beside which there is none."""

    def step_aside(self) -> None:
        """Nobody else wants it."""

    def take_gpu(self, stop: threading.Event) -> None:
        """It is free."""

    def off_the_gpu(self) -> None:
        """Nobody waits for it."""


class AttemptHooks(Protocol):
    """The worker around its attempts: what it knows of itself, and what it wants to be told."""

    def facts(self) -> WorkerFacts:
        """What the manifest says of worker, GPU, plan and ComfyUI."""

    def machine_trouble(self) -> MachineTrouble | None:
        """What card and disks say now; asked when an attempt has failed."""

    def sizes_of(self, files: Sequence[ModelFile]) -> Mapping[str, int]:
        """ "folder/name" -> bytes, of those files that are on this disk."""

    def printed_for(self, began_s: float, ended_s: float, ran_s: float | None = None) -> Sequence[str]:
        """What ComfyUI printed for the job that had the card between two monotonic moments.

        Args:
            ran_s: when the last of its prompts began to run, where that is known: then of this one alone.
        """

    def card_during(self, began_s: float, ended_s: float) -> CardUse | None:
        """What was seen of the card between two monotonic moments; None: nothing."""

    def said_at_start(self) -> Sequence[str]:
        """What ComfyUI printed of itself when it was started."""

    def on_report(self, report: Report) -> None:
        """The doctor has looked at a job whose files are stored."""

    def after_render(self) -> None:
        """The card is free, and no other job can have it yet."""

    def on_rendered(self, graph: Mapping[str, Any]) -> None:
        """A graph ran well, as it is given here."""

    def on_succeeded(self, job_id: str) -> None:
        """A result was accepted."""

    def on_doubted(self, job_id: str, error: JobError) -> None:
        """An attempt failed as it may fail nowhere else, and another worker is to try it."""

    def on_storage(self, trouble: StorageUnavailable | None) -> None:
        """The storage did not take a job's files; None: it did."""

    def may_publish(self) -> bool:
        """Whether a thread is left for it: else the GPU would wait for one."""

    def drains(self, patience_s: float) -> bool:
        """Whether this worker's process ends; waits so long to be told so."""

    def on_failed(self, job_id: str, error: JobError) -> None:
        """An attempt failed; called before the next job can come, which this may prevent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptContext:
    """What each attempt of one worker works with."""

    name: str  # of this worker
    store: WorkerStore
    keeper: LeaseKeeper
    comfy: Comfy
    fitter: Fitter
    inputs: InputCache
    publisher: Publisher
    retained: RetainedRenders  # finished files that the storage did not take
    hooks: AttemptHooks
    hold_limit_s: float  # how long a job whose files wait here is kept from others
    scratch: Path  # for files that come by /view
    renew_s: float
    inputs_time_s: float  # for all input files of a job together
    previews: bool
    prompt_metadata: bool  # whether a job may keep the graph in its files
    clip_limits: Thresholds = USUAL  # when a clip is bad


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderContext:
    """One claim on its way through ComfyUI."""

    claim: Claim
    comfy: Comfy
    inputs: InputCache
    scratch: Path  # for files that only /view gives us
    fitter: Fitter
    listener: RunListener
    stop: threading.Event  # set by whoever wants it to end early
    prove: Callable[[], None]  # before the GPU is used: returns once the job is certainly ours, or stopped
    # When the attempt's time is up (monotonic): inputs, the start of ComfyUI and what was tried before are
    # part of it. Nothing that ends later is taken, well as it may have ended.
    until: float
    fallback_steps: tuple[FallbackStep, ...] = ()  # tried before in this attempt: the card ran out of memory
    sdpa: bool = False  # PyTorch's attention, whatever the nodes say: with theirs the clip was spoilt
