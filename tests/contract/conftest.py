"""Servers for the contract of a ComfyUI server: the emulator in each generation, a real one if there is."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import websocket

from comfy.generations import GENERATIONS, Generation
from comfy.node_defs.definitions import NodeDef, parse_definitions
from tests.support.comfy_process import ComfyCommand, ComfyProcess, emulator, real_comfyui

Message = tuple[str, Any]  # type and data; ("binary", bytes) for a binary frame
Graph = dict[str, dict[str, Any]]

_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Socket:
    """A websocket of one client; keeps all it heard."""

    def __init__(self, url: str, client_id: str, *, flags: dict[str, Any] | None = None) -> None:
        self.client_id = client_id
        self.heard: list[Message] = []
        self._socket = websocket.create_connection(f"{url}/ws?clientId={client_id}", timeout=_PATIENCE_S)
        if flags is not None:
            self._socket.send(json.dumps({"type": "feature_flags", "data": flags}))

    def next(self, *, timeout_s: float = _PATIENCE_S) -> Message:
        self._socket.settimeout(timeout_s)
        frame = self._socket.recv()
        if isinstance(frame, bytes):
            message: Message = ("binary", frame)
        else:
            parsed = json.loads(frame)
            message = (parsed["type"], parsed["data"])
        self.heard.append(message)
        return message

    def until(self, wanted: Callable[[Message], bool]) -> list[Message]:
        """All messages up to the first that is wanted, with it."""
        found = [self.next()]
        while not wanted(found[-1]):
            found.append(self.next())
        return found

    def until_end(self, prompt_id: str) -> list[Message]:
        return self.until(lambda m: m == ("executing", {"node": None, "prompt_id": prompt_id}))

    def is_silent_for(self, seconds: float) -> bool:
        try:
            self.next(timeout_s=seconds)
        except websocket.WebSocketTimeoutException:
            return True
        return False

    def close(self) -> None:
        self._socket.close()
        # After a close frame from the other side, close() does nothing and the file stays open.
        self._socket.shutdown()  # type: ignore[no-untyped-call]


class ComfyServer(ComfyProcess):
    """One server that is under test, and plain ways to talk to it."""

    def __init__(self, command: ComfyCommand, folder: Path) -> None:
        self._sockets: list[Socket] = []
        super().__init__(command, folder, more=["--preview-method", "latent2rgb"])
        self.generation = Generation.of(self.get("/system_stats").json["system"]["comfyui_version"])

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def request(self, method: str, path: str, **options: Any) -> Answer:
        answer = self.http.request(method, f"http://{self.address}{path}", **options)
        return Answer(answer.status, answer.data, dict(answer.headers))

    def get(self, path: str, **options: Any) -> Answer:
        return self.request("GET", path, **options)

    def post(self, path: str, body: Any = None) -> Answer:
        return self.request("POST", path, body=json.dumps(body), headers={"Content-Type": "application/json"})

    def connect(self, client_id: str | None = None, *, flags: dict[str, Any] | None = None) -> Socket:
        socket = Socket(f"ws://{self.address}", client_id or uuid.uuid4().hex, flags=flags)
        self._sockets.append(socket)
        return socket

    def submit(self, graph: Graph, **more: Any) -> str:
        """Queue a graph that must be accepted; its prompt id."""
        answer = self.post("/prompt", {"prompt": graph, **more})
        assert answer.status == 200, answer.body
        prompt_id = answer.json["prompt_id"]
        assert isinstance(prompt_id, str)
        return prompt_id

    def run(self, graph: Graph, **more: Any) -> tuple[list[Message], dict[str, Any]]:
        """Run a graph to its end with a socket of its own: the messages after the greeting, the history."""
        listener = self.connect()
        listener.next()
        prompt_id = self.submit(graph, client_id=listener.client_id, **more)
        messages = listener.until_end(prompt_id)
        listener.close()
        return messages, self.history(prompt_id)

    def history(self, prompt_id: str) -> dict[str, Any]:
        found = self.get(f"/history/{prompt_id}").json
        assert list(found) == [prompt_id]
        entry = found[prompt_id]
        assert isinstance(entry, dict)
        return entry

    def wait_for_history(self, prompt_id: str) -> dict[str, Any]:
        until = time.monotonic() + _PATIENCE_S
        while not self.get(f"/history/{prompt_id}").json:
            assert time.monotonic() < until, "the prompt does not end"
            time.sleep(0.02)
        return self.history(prompt_id)

    def definitions(self) -> Mapping[str, NodeDef]:
        return parse_definitions(self.get("/object_info").json)

    def between_tests(self) -> None:
        """Leave nothing behind for the next test."""
        for listener in self._sockets:
            listener.close()
        self._sockets.clear()
        self.post("/queue", {"clear": True})
        self.post("/interrupt", {})
        until = time.monotonic() + _PATIENCE_S
        while self.get("/prompt").json["exec_info"]["queue_remaining"]:
            assert time.monotonic() < until, "the server does not come to rest"
            time.sleep(0.02)

    def stop(self) -> None:
        for listener in self._sockets:
            listener.close()
        self.close()


def start_emulator(generation: str, folder: Path, *more: str) -> ComfyServer:
    quick = ("--step-seconds", "0.02", "--load-seconds", "0")
    flags = ("--generation", generation, "--base-directory", str(folder), *quick, *more)
    return ComfyServer(emulator(*flags), folder)


def start_real(folder: Path) -> ComfyServer:
    return ComfyServer(real_comfyui(), folder)


def start_server(kind: str, folder: Path) -> ComfyServer:
    return start_real(folder) if kind == "comfyui" else start_emulator(kind, folder)


@pytest.fixture(scope="session")
def emulator_factory() -> Callable[..., ComfyServer]:
    """Starts an emulator: generation, folder, more arguments. Whoever starts one stops it."""
    return start_emulator


@pytest.fixture(scope="session", params=[*map(str, GENERATIONS), "comfyui"])
def running_comfy(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ComfyServer]:
    server = start_server(request.param, tmp_path_factory.mktemp("comfy"))
    yield server
    server.stop()


@pytest.fixture
def comfy(running_comfy: ComfyServer) -> Iterator[ComfyServer]:
    """A server at rest."""
    yield running_comfy
    running_comfy.between_tests()


@pytest.fixture(params=[*map(str, GENERATIONS), "comfyui"])
def own_comfy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ComfyServer]:
    """A server that a test may kill."""
    server = start_server(request.param, tmp_path)
    yield server
    server.stop()
