"""A job's inputs are fetched together, before the GPU is taken, within one time."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from farm.errors import InputUnavailable, TransferStopped
from tests.support.valkey import eventually
from worker.inputs import gather as gathering
from worker.inputs.gather import AT_ONCE, gather


class Server:
    """A cache whose fetches last until they are told to go on."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.coming = 0
        self.fetched: list[str] = []
        self._lock = threading.Lock()

    def fetch(self, source: str, *, stop: Any, **_: Any) -> str:
        """See `InputCache.fetch`."""
        with self._lock:
            self.coming += 1
        while not self.go_on.wait(0.01):
            if stop():
                raise TransferStopped(source)
        if source == "bad":
            raise InputUnavailable(source, "gone")
        self.fetched.append(source)
        return source


def gathered(server: Server, sources: list[str], *, time_s: float = 60, on_slow: Any = lambda: None) -> None:
    gather(
        server,  # type: ignore[arg-type]
        {f"{number}.image": source for number, source in enumerate(sources)},
        holder="token",
        time_s=time_s,
        stop=lambda: False,
        on_slow=on_slow,
    )


def test_inputs_come_side_by_side_and_slow_ones_give_the_gpu_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "PATIENCE_S", 0.01)
    server, slow = Server(), threading.Event()
    thread = threading.Thread(target=gathered, args=(server, ["x"] * 30), kwargs={"on_slow": slow.set})
    thread.start()

    assert slow.wait(30)
    eventually(lambda: server.coming == AT_ONCE, within_s=30)
    server.go_on.set()
    thread.join(timeout=30)

    assert len(server.fetched) == 30


def test_inputs_that_are_here_at_once_keep_the_gpu() -> None:
    server = Server()
    server.go_on.set()

    gathered(server, ["x", "y"], on_slow=lambda: pytest.fail("it was not slow"))


def test_many_dripping_inputs_end_with_the_time_for_all_of_them() -> None:
    server = Server()
    began = time.monotonic()

    with pytest.raises(InputUnavailable, match=r"of 30 files .*0\.3 s \(FARM_INPUTS_TIME_S\)"):
        gathered(server, ["drips"] * 30, time_s=0.3)

    assert time.monotonic() - began < 30


def test_one_that_cannot_be_had_ends_the_others() -> None:
    server = Server()
    server.go_on.set()

    with pytest.raises(InputUnavailable, match="gone"):
        gathered(server, ["bad"] + ["x"] * 5)
