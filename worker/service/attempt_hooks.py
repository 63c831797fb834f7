"""What the worker knows around its attempts, and whom it tells how they went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from comfy.doctor.report import Report
from comfy.doctor.times import CardUse
from farm.errors import StorageUnavailable
from farm.job import JobError, ModelFile
from farm.status.worker import WorkerFacts
from worker.fetching.gate import Gate
from worker.jobs.faults import DISK_FULL, GPU_LOST, MachineTrouble
from worker.machine import Machine
from worker.results.storage_watch import StorageWatch
from worker.service.describe import StatusMaker
from worker.service.disk import DiskWatch
from worker.service.draining import Draining
from worker.service.health import Health
from worker.service.model_shelf import ModelShelf


class WorkerHooks:
    """See `worker.jobs.context.AttemptHooks`."""

    def __init__(
        self,
        machine: Machine,
        gate: Gate,
        *,
        disk: DiskWatch,
        health: Health,
        storage: StorageWatch,
        draining: Draining,
        shelf: ModelShelf,
        status: StatusMaker,
    ) -> None:
        self._gate = gate
        self._storage = storage
        self._draining = draining
        self._machine = machine
        self._disk = disk
        self._health = health
        self._shelf = shelf
        self._status = status

    def facts(self) -> WorkerFacts:
        return self._status.facts()

    def machine_trouble(self) -> MachineTrouble | None:
        if (trouble := self._machine.look_at_card()) is not None:
            return MachineTrouble(code=GPU_LOST, reason=trouble)
        if self._disk.is_full():
            return MachineTrouble(code=DISK_FULL, reason=self._disk.trouble or "a disk is full")
        return None

    def sizes_of(self, files: Sequence[ModelFile]) -> Mapping[str, int]:
        return self._shelf.sizes_of(files)

    def printed_for(self, began_s: float, ended_s: float, ran_s: float | None = None) -> Sequence[str]:
        return self._machine.printed_for(began_s, ended_s, ran_s)

    def card_during(self, began_s: float, ended_s: float) -> CardUse | None:
        return self._machine.card_during(began_s, ended_s)

    def said_at_start(self) -> Sequence[str]:
        return self._machine.comfy.said_at_start()

    def on_report(self, report: Report) -> None:
        self._status.findings.add(report)

    def after_render(self) -> None:
        self._machine.after_render()

    def on_rendered(self, graph: Mapping[str, Any]) -> None:
        self._machine.warm.rendered(graph)

    def on_succeeded(self, job_id: str) -> None:
        self._health.succeeded(job_id)

    def on_doubted(self, job_id: str, error: JobError) -> None:
        self._health.doubted(job_id, error)

    def on_storage(self, trouble: StorageUnavailable | None) -> None:
        self._storage.note(trouble)

    def may_publish(self) -> bool:
        return self._gate.has_room_to_publish

    def drains(self, patience_s: float) -> bool:
        return self._draining.ends_within(patience_s)

    def on_failed(self, job_id: str, error: JobError) -> None:
        self._health.failed(job_id, error)
