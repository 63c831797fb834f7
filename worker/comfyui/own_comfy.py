"""The worker's ComfyUI as a render sees it: the supervised server, its disk, and where inputs go."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from comfy.errors import ComfyError
from comfy.protocol.client import ComfyClient
from comfy.rewrites.tiled_decode import TILED
from farm.asking.sources import public_source
from farm.errors import InputUnavailable
from worker.comfyui.supervisor import ComfySupervisor
from worker.errors import ComfyDied, ServerLost, WorkerError
from worker.inputs.cache import InputCache
from worker.inputs.upload import upload
from worker.plan.fallback import FallbackStep

_DEATH_IS_TOLD_WITHIN_S: Final = 10.0
_HUMBLE_JOBS: Final = 10  # rendered well in a humbler mode, before the planned one is tried again


class OwnComfy:
    """Makes a `ComfySupervisor` the `worker.jobs.context.Comfy`, which says what each name promises."""

    def __init__(self, supervisor: ComfySupervisor) -> None:
        self._supervisor = supervisor
        self._planned = supervisor.plan
        self._humble_jobs = 0

    @property
    def output_dir(self) -> Path | None:
        return self._supervisor.disk.output

    @property
    def output_owner(self) -> int | None:
        user = self._supervisor.target.user
        return user.uid if user is not None else None

    @property
    def is_ours(self) -> bool:
        return not self._supervisor.is_attached

    @property
    def died(self) -> threading.Event:
        return self._supervisor.died

    def client(self) -> ComfyClient:
        return self._supervisor.client()

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
        """Put an input where the server finds it: its folder, or by /upload when that is not ours."""
        folder, work = self._supervisor.disk.input, self._supervisor.disk.work
        if as_path and work is None:
            reason = (
                "the node opens a path, and this worker's ComfyUI (COMFYUI_URL) has its own disk; take a "
                "node that loads by name (LoadImage, LoadVideo), or a worker that starts its ComfyUI"
            )
            raise InputUnavailable(public_source(source), reason, field=field)
        if as_path and work is not None:
            # `VHS_STRICT_PATHS` lets nodes open what lies below their working directory, and nothing else.
            return str(work / inputs.provide(source, work, holder=holder, field=field, stop=stop))
        if folder is not None:
            return inputs.provide(source, folder, holder=holder, field=field, stop=stop)
        file = inputs.fetch(source, holder=holder, field=field, stop=stop)
        return upload(self.client(), file, field)

    def clean(self, folder: str) -> None:
        self._supervisor.disk.clean(folder)

    def request_restart(self, reason: str) -> None:
        self._supervisor.request_restart(reason)

    def offers(self) -> frozenset[FallbackStep]:
        found = {FallbackStep.FREE}
        try:
            if TILED in self.client().object_info():
                found.add(FallbackStep.TILED)
        except ComfyError:
            pass  # it will say more when it is asked to free its memory
        ways = (FallbackStep.RESERVE, FallbackStep.STREAM, FallbackStep.SDPA)
        return frozenset(found | {step for step in ways if self._supervisor.humbler_plan(step) is not None})

    def fall_back(self, step: FallbackStep) -> None:
        plan = self._supervisor.humbler_plan(step)
        if step is FallbackStep.FREE:
            self.client().free()
        elif plan is not None:
            self._humble_jobs = 0
            self._supervisor.replan(plan, f"a job is run once more: {step}")

    def settle(self) -> None:
        if self._supervisor.plan is self._planned:
            return
        self._humble_jobs += 1
        if self._humble_jobs >= _HUMBLE_JOBS:
            self._supervisor.plan = self._planned
            self._supervisor.request_restart("as planned again")

    def death(self) -> WorkerError:
        """How the last process ended. Its supervisor knows a moment after the process is gone."""
        if not self.is_ours:
            return ServerLost("it gave no answer for too long, or has forgotten the run")
        deadline = time.monotonic() + _DEATH_IS_TOLD_WITHIN_S
        while time.monotonic() < deadline:
            # Ended on purpose is no failure of ComfyUI's: there is none to wait for, and no guess to make.
            why = self._supervisor.ended_for
            if why is not None:
                return ComfyDied(0, reason=f"this worker ended it: {why}")
            failure = self._supervisor.failure
            if failure is not None:
                return failure
            time.sleep(0.01)
        return ComfyDied(0, reason="it was restarted")
