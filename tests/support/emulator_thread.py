"""The emulator in a thread of the test's own process: up in milliseconds, and gone the moment it is told.

A fault of the kind "exit" would end the test as well; `EmulatorThread.vanish` is for that.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import urllib3

from comfy.emulator.arguments import parse
from comfy.emulator.console import Console
from comfy.emulator.start import serve
from comfy.protocol.client import ComfyClient
from comfy.protocol.patience import Patience
from farm.process.child import free_port
from tests.support.valkey import eventually

_FAST: Final = ("--cpu", "--step-seconds", "0.005", "--load-seconds", "0.001")


class EmulatorThread:
    """A server on a port of its own, over folders of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        port = free_port()
        self._folder = folder
        self.url = f"http://127.0.0.1:{port}"
        self.settings = parse(["--port", str(port), "--base-directory", str(folder), *_FAST, *arguments])
        self.output = self.settings.folders.output
        self.input = self.settings.folders.input
        patience = Patience(look_again_s=0.01, dead_timeout_s=0.3, reconnect_delay_s=0.05)
        self.client = ComfyClient(self.url, patience=patience)
        self._http = urllib3.PoolManager(retries=False, timeout=60.0)
        self._loop = asyncio.new_event_loop()
        self._serving = self._loop.create_task(serve(self.settings, Console(io.StringIO())))
        self._thread = threading.Thread(target=self._run, name="emulator", daemon=True)
        self._thread.start()
        eventually(self._answers)

    def misbehave(self, kind: str, **details: Any) -> None:
        """Order a fault."""
        body = json.dumps({"kind": kind, **details}).encode()
        answer = self._http.request("POST", f"{self.url}/emulator/faults", body=body)
        assert answer.status == 200, answer.data

    def ask(self, path: str) -> dict[str, Any]:
        """GET a JSON object."""
        answer: dict[str, Any] = json.loads(self._http.request("GET", self.url + path).data)
        return answer

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing to run."""
        return not self.ask("/prompt")["exec_info"]["queue_remaining"]

    def vanish(self) -> None:
        """Be gone: connections break, nobody listens. Does nothing the second time."""
        with contextlib.suppress(RuntimeError):  # it is gone
            self._loop.call_soon_threadsafe(self._serving.cancel)
        self._thread.join(60.0)

    def anew(self, *arguments: str) -> EmulatorThread:
        """Another one over the same folders, when this one is gone."""
        self.close()
        return EmulatorThread(self._folder, *arguments)

    def close(self) -> None:
        """Clean up."""
        self.vanish()
        self.client.close()
        self._http.clear()

    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._serving)
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def _answers(self) -> bool:
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            return bool(self._http.request("GET", f"{self.url}/system_stats").status == 200)
        return False


@pytest.fixture
def emulator_thread(tmp_path: Path) -> Iterator[EmulatorThread]:
    """An emulator of this test's own."""
    made = EmulatorThread(tmp_path / "comfyui")
    yield made
    made.close()
