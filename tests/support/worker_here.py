"""A worker's attempts in the test's own process: an emulator in a thread, a store in memory, folders."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from comfy.doctor.report import Report
from comfy.doctor.times import CardUse
from comfy.protocol.client import ComfyClient
from comfy.rewrites.optimize import Optimized
from farm.errors import StorageUnavailable
from farm.job import JobError, JobSpec, ModelFile, Progress
from farm.settings.worker import WorkerSettings
from farm.status.worker import WorkerFacts
from farm.store.base import Claim
from farm.testing import FolderStorage, MemoryJobStore
from tests.support.emulator_thread import EmulatorThread
from worker.errors import ComfyDied, WorkerError
from worker.inputs.cache import InputCache
from worker.jobs.attempt import attempt
from worker.jobs.context import AloneOnGpu, AttemptContext, RenderContext, RunListener
from worker.jobs.faults import MachineTrouble
from worker.jobs.lease import LeaseKeeper
from worker.plan.fallback import FallbackStep
from worker.results.publish import Publisher
from worker.results.retained import RetainedRenders

RENEW_S = 0.05


class AsItIs:
    """A fitter that changes nothing."""

    def admit(self, graph: Mapping[str, Any]) -> None:
        """See `Fitter.admit`."""

    def fit(self, graph: Mapping[str, Any], spec: JobSpec) -> Optimized:
        del spec
        return Optimized(graph=dict(graph), outcomes=())


class ThreadComfy:
    """`worker.jobs.context.Comfy` over an emulator in a thread."""

    is_ours = True

    def __init__(self, server: EmulatorThread) -> None:
        self.server = server
        self.died = threading.Event()
        self.restarts: list[str] = []
        self.fallbacks: list[FallbackStep] = []
        self.arguments: tuple[str, ...] | None = None  # of the emulator once it has PyTorch's attention

    @property
    def output_owner(self) -> int | None:
        return None

    @property
    def output_dir(self) -> Path | None:
        return self.server.output

    def client(self) -> ComfyClient:
        return self.server.client

    def provide(self, inputs: InputCache, source: str, *, as_path: bool = False, **given: Any) -> str:
        return inputs.provide(source, self.server.input, **given)

    def clean(self, folder: str) -> None:
        shutil.rmtree(self.server.output / folder, ignore_errors=True)

    def request_restart(self, reason: str) -> None:
        self.restarts.append(reason)

    def offers(self) -> frozenset[FallbackStep]:
        sdpa = {FallbackStep.SDPA} if self.arguments is not None else set()
        return frozenset({FallbackStep.FREE, FallbackStep.TILED, *sdpa})

    def fall_back(self, step: FallbackStep) -> None:
        self.fallbacks.append(step)
        if step is FallbackStep.FREE:
            self.client().free()
        elif step is FallbackStep.SDPA and self.arguments is not None:
            self.server = self.server.anew(*self.arguments)

    def settle(self) -> None:
        """See `Comfy.settle`."""

    def death(self) -> WorkerError:
        return ComfyDied(-9)

    def die(self) -> None:
        """As when its process is killed."""
        self.server.vanish()
        self.died.set()


class Hooks:
    """Notes what a worker is told of its attempts."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.successes = 0
        self.rendered: list[Mapping[str, Any]] = []
        self.renders_ended = 0
        self.reports: list[Report] = []
        self.card_use: CardUse | None = None
        self.attention: str | None = None  # that ComfyUI was told to use

    def facts(self) -> WorkerFacts:
        return WorkerFacts(name="w1", attention_backend=self.attention)

    def machine_trouble(self) -> MachineTrouble | None:
        return None

    def sizes_of(self, files: Sequence[ModelFile]) -> Mapping[str, int]:
        return {f"{file.folder}/{file.name}": 7 for file in files}

    def printed_for(self, began_s: float, ended_s: float, _ran_s: float | None = None) -> Sequence[str]:
        return [f"printed within {ended_s - began_s:.0f} s"]

    def card_during(self, began_s: float, ended_s: float) -> CardUse | None:
        return self.card_use

    def said_at_start(self) -> Sequence[str]:
        return ["Set vram state to: NORMAL_VRAM"]

    def on_report(self, report: Report) -> None:
        self.reports.append(report)

    def after_render(self) -> None:
        self.renders_ended += 1

    def on_rendered(self, graph: Mapping[str, Any]) -> None:
        self.rendered.append(graph)

    def on_doubted(self, job_id: str, error: JobError) -> None:
        """See `AttemptHooks.on_doubted`."""

    def on_storage(self, trouble: StorageUnavailable | None) -> None:
        """See `AttemptHooks.on_storage`."""

    def may_publish(self) -> bool:
        return True

    def drains(self, patience_s: float) -> bool:
        del patience_s
        return False

    def on_succeeded(self, _job_id: str) -> None:
        self.successes += 1

    def on_failed(self, job_id: str, error: JobError) -> None:
        del job_id
        self.failures.append(error.code)


class WorkerHere:
    """What one worker's attempts work with; `work_on` is its one thread."""

    def __init__(self, server: EmulatorThread, store: MemoryJobStore, folder: Path) -> None:
        self.store = store
        self.comfy = ThreadComfy(server)
        self.hooks = Hooks()
        self.storage = FolderStorage(folder / "s3")
        self.retained = RetainedRenders(folder / "retained", limit_bytes=2**30)
        self.phases: list[str] = []
        self._publisher = Publisher(self.storage, patience_s=0.2)
        self._keeper = LeaseKeeper(store, renew_s=RENEW_S, lease_s=store.limits.lease_s)
        self._keeper.start()
        inputs = InputCache(folder / "inputs", self.storage, WorkerSettings.read())
        self.context = AttemptContext(
            name="w1",
            store=store,
            keeper=self._keeper,
            comfy=self.comfy,
            fitter=AsItIs(),
            inputs=inputs,
            publisher=self._publisher,
            retained=self.retained,
            hooks=self.hooks,
            hold_limit_s=60.0,
            scratch=folder / "scratch",
            renew_s=RENEW_S,
            inputs_time_s=600.0,
            previews=False,
            prompt_metadata=False,
        )

    def work_on(self, job_id: str) -> str:
        """Work on a job; returns what became of it."""
        return attempt(job_id, self.context, announce=self._note, turn=AloneOnGpu())

    def render_context(self, claim: Claim, *, within_s: float = 60.0) -> RenderContext:
        """For a claim that is certainly this worker's."""
        return RenderContext(
            claim=claim,
            comfy=self.comfy,
            inputs=self.context.inputs,
            scratch=self.context.scratch,
            fitter=self.context.fitter,
            listener=RunListener(phase=self.phases.append, progress=self._note),
            stop=threading.Event(),
            prove=lambda: None,
            until=time.monotonic() + within_s,
        )

    def close(self) -> None:
        """End its threads."""
        self._keeper.stop()
        self._publisher.close()
        self.comfy.server.close()

    def _note(self, progress: Progress) -> None:
        if self.phases[-1:] != [progress.phase]:
            self.phases.append(progress.phase)
