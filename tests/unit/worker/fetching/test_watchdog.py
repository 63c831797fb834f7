"""The watchdog: a worker that could fetch and does not is reconnected, and then given up."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pytest

from farm.status.not_fetching import NotFetching
from worker.fetching.gate import Gate
from worker.fetching.watchdog import Watchdog


class Scene:
    """A watchdog, what it looks at, and what it did."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits = True
        self.done: list[str] = []
        self.keep = ExitStack()
        self.gate = Gate()
        self.gate.open(NotFetching.STARTING)
        self.dog = Watchdog(
            self.gate,
            work_waits=lambda: self.waits,
            reconnect=lambda: self.done.append("reconnect"),
            give_up=lambda: self.done.append("give up"),
            patience_s=8.0,
            clock=lambda: self.now,
        )
        self.dog.look()

    def after(self, seconds: float) -> list[str]:
        for _ in range(int(seconds)):
            self.now += 1.0
            self.dog.look()
        return self.done


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_stalled_consumer_is_reconnected_and_then_given_up_within_half_a_minute(scene: Scene) -> None:
    assert scene.after(7) == []
    assert scene.after(2) == ["reconnect"]
    assert scene.dog.trouble is not None
    assert scene.after(7) == ["reconnect", "give up"]
    assert scene.now < 30


def test_a_reconnect_that_helped_is_the_end_of_it(scene: Scene) -> None:
    scene.after(9)

    with scene.gate.work():
        pass

    assert scene.after(3) == ["reconnect"]
    assert scene.dog.trouble is None


@pytest.mark.parametrize(
    "calm",
    [
        lambda scene: setattr(scene, "waits", False),
        lambda scene: scene.gate.close(NotFetching.DRAINING),
        lambda scene: scene.keep.enter_context(scene.gate.work()),
    ],
    ids=["nothing waits", "the gate is closed", "a job renders"],
)
def test_a_worker_that_need_not_fetch_is_left_alone(calm: Callable[[Scene], object]) -> None:
    scene = Scene()
    calm(scene)

    assert scene.after(60) == []


def test_a_worker_is_not_given_up_while_it_publishes(scene: Scene) -> None:
    with scene.gate.work() as ticket:
        ticket.off_the_gpu()

        assert scene.after(60) == ["reconnect"]

    assert "give up" in scene.after(10)


def test_the_count_begins_anew_when_the_gate_was_closed_meanwhile(scene: Scene) -> None:
    scene.after(7)
    scene.gate.close(NotFetching.COMFYUI_DOWN)
    scene.after(2)
    scene.gate.open(NotFetching.COMFYUI_DOWN)

    assert scene.after(7) == []
