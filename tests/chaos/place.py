"""One place of the fleet: its node, links, clock, card and disk, and the worker that lives there now."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import urllib3

from tests.chaos.nodes import Disk, Node
from tests.support.fault_proxy import FaultProxy
from tests.support.whole_farm import WholeFarm, WorkerProcess

_IN_WORKER: Final = Path(__file__).with_name("in_worker")
_ORDER: Final = "import sys, urllib.request as u; u.urlopen(u.Request(sys.argv[1], sys.argv[2].encode()))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """A worker that ended."""

    worker: str
    code: int
    at_s: float  # since the epoch, or a moment later
    last_words: tuple[str, ...]


class Place:
    """What is done to it is done to whoever lives there; it says whether that one could work."""

    def __init__(
        self, number: int, farm: WholeFarm, node: Node, links: tuple[FaultProxy, FaultProxy], folder: Path
    ) -> None:
        self.number = number
        self.node = node
        self.redis_link, self.s3_link = links
        self.exits: list[Exit] = []
        self.disk: Disk | None = None
        self.record = folder / f"record{number}.jsonl"  # outlives a full disk
        self.standstills = folder / f"standstill{number}.jsonl"
        self._farm = farm
        self._log = folder / f"w{number}.log"
        self._clock, self._card = folder / f"clock{number}", folder / f"card{number}"
        self._worker: WorkerProcess | None = None
        self._ready: WorkerProcess | None = None  # who has said that it is
        self._hindered = 0
        self.set_clock(0.0)
        self.set_card(0)

    @property
    def worker(self) -> WorkerProcess:
        """Who was started here last."""
        assert self._worker is not None
        return self._worker

    def launch(self) -> None:
        """Start a worker here, and do not wait for it."""
        self._worker = self._farm.launch(
            f"w{self.number}",
            emulator=f"--record {self.record}",
            inside=self.node.inside,
            PYTHONPATH=str(_IN_WORKER),
            CHAOS_CLOCK=str(self._clock),
            CHAOS_CARD=str(self._card),
            CHAOS_STANDSTILL=str(self.standstills),
            FARM_REDIS_URL=f"redis://{self.redis_link.host}:{self.redis_link.port}/0",
            FARM_S3_ENDPOINT_URL=self.s3_link.url,
            FARM_FREEZE_TIMEOUT_S="3",
            FARM_CANCEL_GRACE_S="2",
            FARM_DRAIN_GRACE_S="0.5",
            FARM_PROBE_AFTER_S="2",
        )

    def look_after(self) -> None:
        """Start a new worker when this one ended, as systemd would."""
        code = self.worker.child.poll()
        if code is not None:
            lines = tuple(self.worker.lines[-12:])
            end = Exit(worker=self.worker.name, code=code, at_s=time.time(), last_words=lines)
            self.exits.append(end)
            self._farm.workers.remove(self.worker)
            self.close()
            self.launch()

    def close(self) -> None:
        """End the worker, whatever state it is in, and keep what it said."""
        if self._worker is not None:
            self._worker.close()
            with self._log.open("a") as log:
                log.write(f"---- process {self._worker.child.pid}\n{self._worker.log}\n")

    @property
    def able(self) -> bool:
        """Whether a worker here is up and nothing keeps it from Valkey."""
        worker = self.worker  # another one may be started here meanwhile
        if self._ready is not worker and any(f"{worker.name} ready." in line for line in list(worker.lines)):
            self._ready = worker
        return self._ready is worker and not self._hindered and worker.child.poll() is None

    @contextmanager
    def hindered(self) -> Iterator[None]:
        """Something keeps the worker from working while the block runs."""
        self._hindered += 1
        try:
            yield
        finally:
            self._hindered -= 1

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the worker, if it lives."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.worker.child.pid, number)

    def misbehave(self, body: str) -> None:
        """Order a fault of the emulator, from where it can be reached."""
        if not self.worker.entries("comfy_ready"):
            return  # it has none yet
        command = [*self.node.inside, sys.executable, "-c", _ORDER]
        url = f"{self.worker.comfy_url}/emulator/faults"
        subprocess.run([*command, url, body], check=False, capture_output=True, timeout=30)

    def behave(self) -> None:
        """Take back the faults of the emulator that have not happened."""
        with contextlib.suppress(OSError, urllib3.exceptions.HTTPError):
            if self.worker.entries("comfy_ready"):
                self.worker.behave()

    def set_clock(self, wrong_by_s: float) -> None:
        """Let the clock of whoever lives here be wrong."""
        self._clock.write_text(str(wrong_by_s))

    def set_card(self, error: int) -> None:
        """Let NVML answer with an error; 0: none."""
        self._card.write_text(str(error))
