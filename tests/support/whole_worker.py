"""A whole worker in the test's own process: all that `worker.runtime` puts together, without Celery."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from farm.settings.graphs import GateSettings
from farm.settings.redis import RedisSettings, StoreSettings
from farm.settings.s3 import CleanSettings, S3Settings
from farm.settings.worker import WorkerSettings
from farm.status.worker import WorkerStatus
from farm.testing import FolderStorage, MemoryJobStore
from tests.support.emulator_thread import EmulatorThread
from tests.support.jobs import a_job
from tests.support.valkey import eventually
from tests.support.whole_farm import a_clip
from worker.fetching.flower import Told
from worker.fetching.gate import Gate
from worker.life import Worker
from worker.machine import Machine
from worker.runtime import Settings, assemble

NAME = "gpu0@here"


class SilentLine:
    """No message ever waits."""

    def notifications(self) -> dict[str, int]:
        return {}

    def cut(self) -> None:
        raise AssertionError("there is nothing to cut")


class WholeWorker:
    """A worker over a store in memory and an attached ComfyUI, and how many stores it has open."""

    def __init__(self, server: EmulatorThread, folder: Path, **worker: Any) -> None:
        self.store = MemoryJobStore()
        self.storage = FolderStorage(folder / "s3")
        self.gate = Gate(threads=3)
        self.settings = settings_here(folder, server.url, **worker)
        self.opened = self.closed = 0
        self.shown: list[tuple[str, Told]] = []
        changed = threading.Event()
        machine = Machine(self.settings.worker, self.gate, name=NAME, on_change=changed.set)
        machine.take()
        self.worker: Worker = assemble(
            self.settings,
            name=NAME,
            gate=self.gate,
            line=SilentLine(),
            show=lambda job_id, told: self.shown.append((job_id, told)),
            machine=machine,
            storage=self.storage,
            open_store=self._open,
            changed=changed,
        )

    @property
    def status(self) -> WorkerStatus | None:
        """What it says of itself in the store."""
        return next((each for each in self.store.workers() if each.name == NAME), None)

    def says(self, what: Callable[[WorkerStatus], bool]) -> bool:
        """Whether its status says so now."""
        status = self.status
        return status is not None and what(status)

    def begin(self) -> None:
        """Start, as Celery has it started, and fetch."""
        self.worker.start()
        self.worker.open()
        eventually(lambda: self.says(lambda it: not it.not_fetching))

    def submit(self) -> str:
        (job,) = self.store.submit([a_job(graph=a_clip())])
        return job.job_id

    def work_on(self, job_id: str) -> str:
        """Work on a job as the task does."""
        with self.gate.work() as ticket:
            return self.worker.work_on(job_id, priority=None, turn=ticket)

    def _open(self) -> MemoryJobStore:
        whole, self.opened = self, self.opened + 1

        class Connection(MemoryJobStore):
            """The one store, by a connection that can be closed."""

            def __init__(self) -> None:
                self.__dict__ = whole.store.__dict__

            def close(self) -> None:
                whole.closed += 1

        return Connection()


def settings_here(
    folder: Path, comfyui_url: str, *, redis: RedisSettings | None = None, **worker: Any
) -> Settings:
    """For a worker over the ComfyUI there; `worker` are more settings of its own."""
    return Settings(
        redis=redis or RedisSettings.read(),
        store=StoreSettings.read(sweep_s=0.1),
        s3=S3Settings.read(),
        worker=WorkerSettings.read(
            comfyui_url=comfyui_url,
            comfyui_output=folder / "comfyui" / "output",
            data_dir=folder / "worker",
            vram_gib=24,
            publish_patience_s=0.1,
            **{"drain_grace_s": 0.0, **worker},
        ),
        gate=GateSettings.read(),
        clean=CleanSettings.read(),
    )
