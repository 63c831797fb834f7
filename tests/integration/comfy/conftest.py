"""A ComfyUI to talk to: the emulator always; a real one too where COMFYUI_DIR names it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.support.ending import end

_START_S = 90.0  # a real ComfyUI with a cold page cache on a busy machine


class Server:
    """A server process of our own, on a port of its own."""

    def __init__(self, command: list[str], folder: Path, *, cwd: Path | None = None) -> None:
        self._command, self._cwd = command, cwd
        self.output = folder / "output"
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._http = urllib3.PoolManager(retries=False, timeout=10.0)
        self._log = folder / "log.txt"
        for name in ("output", "input", "temp", "user"):
            (folder / name).mkdir(parents=True, exist_ok=True)
            command += [f"--{name}-directory", str(folder / name)]
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """Start (again, on the same port) and return when it answers."""
        arguments = ["--port", str(self.port), "--listen", "127.0.0.1", "--cpu"]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._command, *arguments], cwd=self._cwd, stdout=log, stderr=log
            )
        until = time.monotonic() + _START_S
        while time.monotonic() < until:
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                if self._http.request("GET", f"{self.url}/system_stats").status == 200:
                    return self.process
            assert self.process.poll() is None, self._log.read_text()
            time.sleep(0.05)
        raise AssertionError(self._log.read_text())

    def misbehave(self, kind: str, **details: Any) -> None:
        """Order a fault; emulator only."""
        body = json.dumps({"kind": kind, **details}).encode()
        answer = self._http.request("POST", f"{self.url}/emulator/faults", body=body)
        assert answer.status == 200, answer.data

    def differ(self, *ways: str) -> None:
        """Differ from all servers that are known in these ways only; emulator only."""
        body = json.dumps(ways).encode()
        answer = self._http.request("PUT", f"{self.url}/emulator/future", body=body)
        assert answer.status == 204, answer.data

    def behave(self) -> None:
        """Forget the faults that did not happen, and have the queue empty."""
        self._http.request("PUT", f"{self.url}/emulator/future", body=b"[]")
        self._http.request("DELETE", f"{self.url}/emulator/faults")
        self._http.request("POST", f"{self.url}/queue", body=b'{"clear": true}')
        self._http.request("POST", f"{self.url}/interrupt", body=b"{}")
        until = time.monotonic() + 30
        while self.ask("/prompt")["exec_info"]["queue_remaining"]:
            assert time.monotonic() < until, "the server does not come to rest"
            time.sleep(0.02)

    def ask(self, path: str) -> dict[str, Any]:
        """GET a JSON object."""
        answer: dict[str, Any] = json.loads(self._http.request("GET", self.url + path).data)
        return answer

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
        """Clean up."""
        end(self.process)
        self._http.clear()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _emulator(folder: Path, *more: str) -> Server:
    fast = ["--step-seconds", "0.03", "--load-seconds", "0.01"]
    return Server([sys.executable, "-m", "comfy.emulator", *fast, *more], folder)


@pytest.fixture(scope="module")
def shared_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = _emulator(tmp_path_factory.mktemp("emulator"))
    yield server
    server.close()


@pytest.fixture
def emulator(shared_emulator: Server) -> Iterator[Server]:
    """An emulator that must survive the test."""
    yield shared_emulator
    shared_emulator.behave()


@pytest.fixture(params=["emulator", "comfyui"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Either server, for what both must do; the real one where COMFYUI_DIR names it."""
    name = "shared_emulator" if request.param == "emulator" else "comfyui"
    found: Server = request.getfixturevalue(name)
    yield found
    found.behave()


@pytest.fixture(params=["emulator", "comfyui"])
def mortal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """Either server, to be frozen or killed."""
    server = _emulator(tmp_path) if request.param == "emulator" else _comfyui(tmp_path)
    yield server
    server.close()


@pytest.fixture
def doomed(tmp_path: Path) -> Iterator[Server]:
    """An emulator that may be frozen or killed."""
    server = _emulator(tmp_path)
    yield server
    server.close()


@pytest.fixture
def start_emulator(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start an emulator with more flags."""
    servers: list[Server] = []

    def start(*flags: str) -> Server:
        servers.append(_emulator(tmp_path / str(len(servers)), *flags))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def start_lasting_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Start an emulator with more flags that all tests of the module use."""
    servers: list[Server] = []

    def start(*flags: str) -> Server:
        servers.append(_emulator(tmp_path_factory.mktemp("lasting"), *flags))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def comfyui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real ComfyUI with the models that the built-in template names."""
    server = _comfyui(tmp_path_factory.mktemp("comfyui"))
    yield server
    server.close()


@pytest.fixture(scope="module", params=["emulator", "comfyui"])
def keeper(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Either server, keeping the results of all prompts if it can, as one with much memory does anyway."""
    folder = tmp_path_factory.mktemp("keeper")
    is_emulator = request.param == "emulator"
    server = _emulator(folder, *_KEEPING) if is_emulator else _comfyui(folder, *_keeping_flags())
    yield server
    server.close()


# Enough memory is one GB, for this prompt's results and for those of earlier ones.
_KEEPING = ["--cache-ram", "1", "1"]


def _keeping_flags() -> list[str]:
    directory = os.environ.get("COMFYUI_DIR")
    python = os.environ.get("COMFYUI_PYTHON", sys.executable)
    asked = subprocess.run([python, "main.py", "--help"], cwd=directory, capture_output=True, check=False)
    return _KEEPING if b"--cache-ram [GB" in asked.stdout else []


def _comfyui(folder: Path, *flags: str) -> Server:
    directory = os.environ.get("COMFYUI_DIR")
    if not directory:
        pytest.skip("COMFYUI_DIR names no ComfyUI")
    command = [os.environ.get("COMFYUI_PYTHON", sys.executable), "main.py", "--disable-api-nodes"]
    if base := os.environ.get("COMFYUI_BASE"):
        command += ["--base-directory", base]
    command += ["--database-url", f"sqlite:///{folder}/comfyui.db", *flags]
    return Server(command, folder, cwd=Path(directory).resolve())
