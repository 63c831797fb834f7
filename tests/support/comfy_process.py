"""A ComfyUI to talk to, as a process: the emulator, or a real one where COMFYUI_DIR names its folder.

COMFYUI_PYTHON is its interpreter (else this one), and COMFYUI_BASE a base directory with models and custom
nodes (else the checkout itself).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import urllib3

from farm.process.child import free_port
from tests.support.ending import end

_START_S = 120.0  # a real ComfyUI with a cold page cache on a busy machine
_FOLDERS = ("output", "input", "temp", "user")


@dataclass(frozen=True, slots=True, kw_only=True)
class ComfyCommand:
    """What starts one, and where."""

    words: tuple[str, ...]
    cwd: Path | None = None
    is_emulator: bool = True


def emulator(*flags: str) -> ComfyCommand:
    """The emulator of this interpreter."""
    return ComfyCommand(words=(sys.executable, "-m", "comfy.emulator", *flags))


def real_comfyui(*flags: str) -> ComfyCommand:
    """The one that the environment names; the test is skipped where it names none."""
    checkout = os.environ.get("COMFYUI_DIR")
    if not checkout:
        pytest.skip("COMFYUI_DIR names no ComfyUI")
    words = [os.environ.get("COMFYUI_PYTHON", sys.executable), "main.py"]
    words += ["--disable-api-nodes", "--disable-auto-launch"]
    if base := os.environ.get("COMFYUI_BASE"):
        words += ["--base-directory", base]
    return ComfyCommand(words=(*words, *flags), cwd=Path(checkout).resolve(), is_emulator=False)


class ComfyProcess:
    """A server of the test's own, on a port of its own, with folders of its own."""

    def __init__(self, command: ComfyCommand, folder: Path, *, more: Sequence[str] = ()) -> None:
        self.is_emulator = command.is_emulator
        self.output, self.input, self.log = folder / "output", folder / "input", folder / "log.txt"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = urllib3.PoolManager(retries=False, timeout=60.0)
        self._cwd = command.cwd
        self._words = [*command.words, "--port", str(self.port), "--listen", "127.0.0.1", "--cpu", *more]
        for name in _FOLDERS:
            (folder / name).mkdir(parents=True, exist_ok=True)
            self._words += [f"--{name}-directory", str(folder / name)]
        # Two servers of one installation would share a database, which the first of them locks.
        self._words += ["--database-url", f"sqlite:///{folder / 'comfyui.db'}"]
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """Start it (again, on the same port) and return when it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._words, cwd=self._cwd, stdout=log, stderr=log)
        until = time.monotonic() + _START_S
        while not self._answers():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.05)
        return self.process

    def freeze(self) -> None:
        """Stop it as if it hung: nothing is closed, nothing answers."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it as the OOM killer does."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End it."""
        end(self.process)
        self.http.clear()

    def _answers(self) -> bool:
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            return bool(self.http.request("GET", f"{self.url}/system_stats").status == 200)
        return False
