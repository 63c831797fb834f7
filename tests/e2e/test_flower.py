"""What an operator sees in Flower is what the farm says, seen with a real browser where there is one.

`make docs-pictures` keeps what the browser has seen: the pictures of docs/flower.md.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from farm.handle import Job
from farm.job import JobState
from farm.local.parts import FLOWER_OPTIONS
from farm.process.child import Child, free_port
from tests.support.browser import Page, find_browser, opened_page
from tests.support.valkey import eventually
from tests.support.whole_farm import JOB_S, START_S, WholeFarm, a_clip, error_of

_HEADERS = {"Authorization": f"Basic {b64encode(b'operator:secret').decode()}"}
_WORKER = "gpu0@test"


class Flower:
    """A running Flower, and its HTTP interface."""

    def __init__(self, farm: WholeFarm) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        options = {"address": "127.0.0.1", "port": port, **FLOWER_OPTIONS}
        self._child = Child.start(
            [
                *(sys.executable, "-m", "celery", "-A", "farm.broker", "flower"),
                *(f"--{name}={value}" for name, value in options.items()),
            ],
            name="flower",
            env=farm.environment(FLOWER_BASIC_AUTH="operator:secret"),
            cwd=Path(__file__).parents[2],
        )

    def ask(self, path: str) -> Any:
        """GET a JSON value; None when Flower does not know (or does not run yet)."""
        assert self._child.poll() is None
        try:
            asked = urllib.request.Request(self.url + path, headers=_HEADERS)
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return json.loads(answer.read())
        except (urllib.error.URLError, ConnectionError):
            return None

    def told(self, job: Job) -> dict[str, Any]:
        """What it says of a job; empty when it does not know it."""
        return self.ask(f"/api/task/info/{job.job_id}") or {}

    def shows(self, job: Job, state: str, result: str) -> None:
        """Wait until it shows the job in that state, and with that in its result."""

        def shown() -> bool:
            told = self.told(job)
            return told.get("state") == state and result in str(told.get("result"))

        eventually(shown, within_s=JOB_S)

    def waiting(self) -> int:
        """How many jobs wait, by its page of the broker."""
        queues = (self.ask("/api/queues/length") or {}).get("active_queues", [])
        return sum(queue["messages"] for queue in queues)

    def close(self) -> None:
        """End it."""
        self._child.stop(grace_s=5.0)


@pytest.fixture
def farm(new_farm: Callable[..., WholeFarm]) -> WholeFarm:
    """A farm whose worker does as it is told."""
    farm = new_farm()
    farm.start_worker("gpu0", emulator="--step-seconds 1", FARM_CANCEL_GRACE_S="3")
    return farm


@pytest.fixture
def flower(farm: WholeFarm) -> Iterator[Flower]:
    """Flower, with the options that the local stack and the compose file give it."""
    started = Flower(farm)
    yield started
    started.close()


@pytest.mark.long
def test_flower_shows_what_the_farm_says(farm: WholeFarm, flower: Flower) -> None:
    eventually(lambda: _WORKER in (flower.ask("/api/workers") or {}), within_s=START_S)

    clip = farm.submit(a_clip(steps=2, prompt="a fox in the snow"))
    flower.shows(clip, "SUCCESS", clip.wait(JOB_S).result().main.key)
    slow = farm.submit(a_clip(steps=100, prompt="an owl at night"), time_limit_s=2.0)
    flower.shows(slow, "FAILURE", error_of(farm.wait_state(slow, JobState.FAILED)).message)
    running = farm.submit(a_clip(steps=100, prompt="a heron on the lake"))
    farm.wait_step(running)
    flower.shows(running, "PROGRESS", "sample_")
    first, second = (
        farm.submit(a_clip(steps=2, prompt=f"{animal} in the rain")) for animal in ("a deer", "a cat")
    )
    eventually(lambda: flower.waiting() == 2, within_s=JOB_S)
    first.cancel()
    eventually(lambda: flower.waiting() == 1, within_s=JOB_S)
    if find_browser() is not None:
        look_at(flower, running)
    running.cancel(reason="the wrong lake")

    flower.shows(running, "REVOKED", "the wrong lake")
    flower.shows(second, "SUCCESS", second.wait(JOB_S).result().main.key)
    told = flower.told(running)
    assert told["args"] == running.record.spec.title
    assert told["worker"] == _WORKER
    assert told["name"] == "farm.render"
    assert "class_type" not in json.dumps(told)  # the title is all of the job that is shown here


def look_at(flower: Flower, running: Job) -> None:
    """What stands on the pages, before any click."""
    with opened_page(f"{flower.url}/tasks", headers=_HEADERS, size="1500,620") as page:
        rows = "document.querySelectorAll('#tasks-table tbody tr').length"
        page.wait_until(f"{rows} >= 3 && document.body.innerText.includes('SUCCESS')")
        text = seen(page, "tasks")
        assert running.record.spec.title in text
        assert all(said in text for said in ("FAILURE", "PROGRESS", "sample_", ".mp4"))

        page.open(f"{flower.url}/worker/{_WORKER}")
        page.wait_until("document.querySelector('#tab-pool')")
        text = seen(page, "worker")
        assert all(said in text for said in ("GPU", "Mode", "ComfyUI", "emulator", "Fetches"))

        page.open(f"{flower.url}/broker")
        page.wait_until("document.querySelector('#queue-table')")
        assert "render" in seen(page, "broker")


def seen(page: Page, name: str) -> str:
    """The text of the page, whose picture is kept where somebody wants it."""
    png = page.screenshot()
    with Image.open(BytesIO(png)) as picture:
        colours = picture.convert("RGB").getcolors(picture.width * picture.height)
    assert colours is not None
    assert len(colours) > 20  # it has drawn something
    if "FARM_TEST_PICTURES" in os.environ:
        (Path(os.environ["FARM_TEST_PICTURES"]) / f"{name}.png").write_bytes(png)
    return str(page.evaluate("document.body.innerText"))
