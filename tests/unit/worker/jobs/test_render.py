"""A render on a ComfyUI elsewhere: its absence is nobody's fault, and what it made is waited for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO
from unittest.mock import MagicMock

import pytest

from comfy.errors import ComfyError, RunLost, ServerError, ServerForbids, ServerUnreachable
from comfy.protocol.outputs import OutputFile
from comfy.protocol.patience import Patience
from comfy.protocol.run import PromptRun
from comfy.rewrites import Optimized
from farm.job import JobSpec
from farm.store.base import Claim
from tests.support.jobs import GRAPH, TOKEN
from worker.errors import BrokenOutput, ServerLost
from worker.jobs.context import RenderContext, RunListener
from worker.jobs.render import render
from worker.results.rendered import Rendered

NOW = datetime(2026, 1, 1, tzinfo=UTC)
AWAY = ServerUnreachable("http://elsewhere", "no route", refused=True)
CLIP = {"9": {"images": [{"filename": "a.mp4", "subfolder": "jobs/x", "type": "output"}]}}
CLAIM = Claim(
    job_id="0123456789abcdef",
    attempt=1,
    token=TOKEN,
    spec=JobSpec(graph=GRAPH),
    submitted_at=NOW,
    claimed_at=NOW,
    lease_until=NOW,
)


class Server:
    """A client whose run ends well, unless told otherwise, and whose files come after some failures."""

    patience = Patience(look_again_s=0.001, dead_timeout_s=60.0)

    def __init__(self, *, run: ComfyError | None = None, view: tuple[ComfyError, ...] = ()) -> None:
        self._run, self._view = run, list(view)

    def run(self, graph: Any, *, prompt_id: str, **_: Any) -> PromptRun:
        if self._run is not None:
            raise self._run
        run = PromptRun(prompt_id, graph)
        run.feed_history({prompt_id: {"outputs": CLIP}}, 0.0)
        return run

    def view(self, _: OutputFile, into: BinaryIO) -> int:
        into.write(b"half of it")
        if self._view:
            raise self._view.pop(0)
        into.seek(0)
        into.truncate()
        return into.write(b"a clip")


Render = Callable[..., Rendered]


@pytest.fixture
def render_at(tmp_path: Path) -> Render:
    def made(server: Server, *, ours: bool, stop: threading.Event | None = None) -> Rendered:
        comfy = MagicMock(is_ours=ours, output_dir=None, died=threading.Event(), client=lambda: server)
        fitter = MagicMock(fit=lambda graph, _: Optimized(graph=graph, outcomes=()))
        listener = RunListener(phase=lambda _phase: None, progress=lambda _progress: None)
        return render(
            RenderContext(
                claim=CLAIM,
                comfy=comfy,
                inputs=MagicMock(),
                scratch=tmp_path,
                fitter=fitter,
                listener=listener,
                stop=stop or threading.Event(),
                prove=lambda: None,
                until=time.monotonic() + 60.0,
            )
        )

    return made


@pytest.mark.parametrize(
    "trouble", [AWAY, RunLost("p"), ServerError("http://elsewhere", 502, "bad gateway")], ids=type
)
def test_what_a_server_elsewhere_loses_is_not_the_jobs_doing(render_at: Render, trouble: ComfyError) -> None:
    with pytest.raises(ServerLost):
        render_at(Server(run=trouble), ours=False)


def test_a_door_that_stays_shut_is_told_as_one(render_at: Render) -> None:
    with pytest.raises(ServerForbids):
        render_at(Server(run=ServerForbids("http://elsewhere", 401, "who are you?")), ours=False)


def test_a_file_that_is_made_is_fetched_when_the_way_is_back(render_at: Render) -> None:
    server = Server(view=(AWAY, ServerError("http://elsewhere", 502, "bad gateway")))

    rendered = render_at(server, ours=False)

    assert [output.path.read_bytes() for output in rendered.outputs] == [b"a clip"]


def test_a_server_of_our_own_is_not_waited_for(render_at: Render) -> None:
    with pytest.raises(ServerUnreachable):
        render_at(Server(view=(AWAY,)), ours=True)


@pytest.mark.parametrize("ours", [True, False])
def test_a_file_that_the_server_does_not_have_is_not_waited_for(render_at: Render, ours: bool) -> None:
    with pytest.raises(BrokenOutput):
        render_at(Server(view=(ServerError("http://elsewhere", 404, ""),)), ours=ours)
