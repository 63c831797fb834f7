"""What an operator sees in Flower: a job under its own id, by its title, with its progress."""

from __future__ import annotations

import json
import re
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from farm.process.child import Child
from tests.support.valkey import eventually, free_port
from tests.support.whole_farm import JOB_S, START_S, WholeFarm, WorkerProcess, a_clip

_LOGIN = "operator:secret"


class Flower:
    """A running Flower, and its HTTP interface."""

    def __init__(self, farm: WholeFarm) -> None:
        port = free_port()
        self._url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "celery", "-A", "farm.broker", "flower"]
        self._child = Child.start(
            [*command, "--address=127.0.0.1", f"--port={port}"],
            name="flower",
            env=farm.environment(FLOWER_BASIC_AUTH=_LOGIN),
            cwd=Path(__file__).parents[2],
        )

    def ask(self, path: str) -> Any:
        """GET a JSON value; None when Flower does not know (or does not run yet)."""
        assert self._child.poll() is None
        key = b64encode(_LOGIN.encode()).decode()
        request = urllib.request.Request(self._url + path, headers={"Authorization": f"Basic {key}"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.loads(answer.read())
        except (urllib.error.URLError, ConnectionError):
            return None

    def close(self) -> None:
        """End it."""
        self._child.stop(grace_s=5.0)


@pytest.fixture
def flower(farm: WholeFarm) -> Iterator[Flower]:
    """Flower, as `celery -A farm.broker flower` starts it."""
    started = Flower(farm)
    yield started
    started.close()


def test_flower_shows_the_worker_and_the_job_with_its_title_and_progress(
    farm: WholeFarm, worker: WorkerProcess, flower: Flower
) -> None:
    eventually(lambda: worker.name in (flower.ask("/api/workers") or {}), within_s=START_S)
    job = farm.submit(a_clip(steps=60))
    seen: list[dict[str, Any]] = []

    def rendering() -> bool:
        seen.append(flower.ask(f"/api/task/info/{job.job_id}") or {})
        step = re.search(r"sample_high \d+/30", str(seen[-1].get("result")))
        return seen[-1].get("state") == "PROGRESS" and step is not None

    eventually(rendering, within_s=JOB_S / 2)
    job.wait(JOB_S)
    eventually(lambda: flower.ask(f"/api/task/info/{job.job_id}")["state"] == "SUCCESS", within_s=JOB_S)
    told = flower.ask(f"/api/task/info/{job.job_id}")
    assert told["uuid"] == job.job_id
    assert told["name"] == "farm.render"
    assert job.record.spec.title in told["args"]
    assert "succeeded" in told["result"]
    assert worker.name in {each.name for each in farm.farm.workers()}  # `farm workers` names it alike
    assert told["worker"] == worker.name
    assert "class_type" not in json.dumps(told)  # the title is all of the job that is shown here
