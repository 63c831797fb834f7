"""A ComfyUI to talk to: the emulator always; a real one too where COMFYUI_DIR names it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.comfy_process import ComfyProcess, real_comfyui
from tests.support.comfy_process import emulator as emulator_command


class Server(ComfyProcess):
    """A server under test."""

    def misbehave(self, kind: str, **details: Any) -> None:
        """Order a fault; emulator only."""
        body = json.dumps({"kind": kind, **details}).encode()
        answer = self.http.request("POST", f"{self.url}/emulator/faults", body=body)
        assert answer.status == 200, answer.data

    def differ(self, *ways: str) -> None:
        """Differ from all servers that are known in these ways only; emulator only."""
        body = json.dumps(ways).encode()
        answer = self.http.request("PUT", f"{self.url}/emulator/future", body=body)
        assert answer.status == 204, answer.data

    def behave(self) -> None:
        """Forget the faults that did not happen, and have the queue empty."""
        self.http.request("PUT", f"{self.url}/emulator/future", body=b"[]")
        self.http.request("DELETE", f"{self.url}/emulator/faults")
        self.http.request("POST", f"{self.url}/queue", body=b'{"clear": true}')
        self.http.request("POST", f"{self.url}/interrupt", body=b"{}")
        until = time.monotonic() + 30
        while self.ask("/prompt")["exec_info"]["queue_remaining"]:
            assert time.monotonic() < until, "the server does not come to rest"
            time.sleep(0.02)

    def ask(self, path: str) -> dict[str, Any]:
        """GET a JSON object."""
        answer: dict[str, Any] = json.loads(self.http.request("GET", self.url + path).data)
        return answer


def _emulator(folder: Path, *more: str) -> Server:
    return Server(emulator_command("--step-seconds", "0.03", "--load-seconds", "0.01", *more), folder)


def _comfyui(folder: Path, *flags: str) -> Server:
    return Server(real_comfyui(*flags), folder)


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
    command = real_comfyui()
    python, main, *_ = command.words
    asked = subprocess.run([python, main, "--help"], cwd=command.cwd, capture_output=True, check=False)
    return _KEEPING if b"--cache-ram [GB" in asked.stdout else []
