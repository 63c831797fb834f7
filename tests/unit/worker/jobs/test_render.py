"""A render, on an emulator in a thread; and on a ComfyUI elsewhere, which is only its answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO
from unittest.mock import MagicMock

import pytest

from comfy.errors import (
    ComfyError,
    GraphRejected,
    OutOfMemory,
    RunFailed,
    RunInterrupted,
    RunLost,
    ServerError,
    ServerForbids,
    ServerUnreachable,
)
from comfy.protocol.events import Event
from comfy.protocol.line import Line
from comfy.protocol.outputs import OutputFile
from comfy.protocol.patience import Patience
from comfy.protocol.run import PromptRun
from comfy.rewrites.optimize import Optimized
from farm.testing import MemoryJobStore
from tests.support.clips import make_picture
from tests.support.emulator_thread import EmulatorThread
from tests.support.jobs import GRAPH, TOKEN, a_claim
from tests.support.valkey import eventually
from tests.support.whole_farm import a_clip
from tests.support.worker_here import WorkerHere
from worker.errors import AttemptStopped, BrokenOutput, ComfyDied, ServerLost, TimeLimitReached
from worker.jobs import render as rendering
from worker.jobs.context import RenderContext, RunListener
from worker.jobs.names import run_folder
from worker.jobs.render import render, without_escapes
from worker.plan.fallback import FallbackStep
from worker.results.media import probe
from worker.results.rendered import Rendered

AWAY = ServerUnreachable("http://elsewhere", "no route", refused=True)
CLIP = {"9": {"images": [{"filename": "a.mp4", "subfolder": "jobs/x", "type": "output"}]}}
CLAIM = replace(a_claim(GRAPH), job_id="0123456789abcdef", token=TOKEN)


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


@pytest.fixture
def worker(emulator_thread: EmulatorThread, tmp_path: Path) -> Iterator[WorkerHere]:
    made = WorkerHere(emulator_thread, MemoryJobStore(), tmp_path)
    yield made
    made.close()


def of_class(graph: Mapping[str, Any], class_type: str) -> str:
    return next(node_id for node_id, node in graph.items() if node["class_type"] == class_type)


def later(act: Callable[[], object], *, when: Callable[[], bool]) -> threading.Thread:
    """Have it done as soon as that is so, while something else runs."""

    def wait() -> None:
        eventually(when)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_a_graph_becomes_a_clip_of_the_attempts_own_folder_and_is_told_of(worker: WorkerHere) -> None:
    claim = a_claim(a_clip())

    rendered = render(worker.render_context(claim))

    (clip,) = rendered.outputs
    assert clip.path.parent == worker.comfy.server.output / run_folder(claim)
    assert probe(clip.path).frames == 5
    assert worker.phases[0] == "preparing"
    assert {"load", "text", "sample_high", "sample_low", "vae", "save"} <= set(worker.phases)
    assert {"prepare", "comfy", "execute", "collect"} == set(rendered.timings_s)
    assert {node.class_type for node in rendered.nodes} >= {"KSamplerAdvanced", "VAEDecode", "SaveVideo"}


def test_an_input_lies_where_its_loader_looks_when_the_run_begins(worker: WorkerHere, tmp_path: Path) -> None:
    given = worker.storage.upload_input(make_picture(tmp_path / "a.png"), suffix=".png")
    loads = {"1": {"class_type": "LoadImage", "inputs": {"image": "of the author.png"}}}
    saves = {"2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "b"}}}

    rendered = render(worker.render_context(a_claim({**loads, **saves}, inputs={"1.image": given})))

    assert [output.path.suffix for output in rendered.outputs] == [".png"]
    assert rendered.graph["1"]["inputs"]["image"].startswith("farm/")


def test_a_node_that_fails_is_named(worker: WorkerHere) -> None:
    graph = a_clip()
    worker.comfy.server.misbehave("raise", node="VAEDecode", error="ValueError", message="no luck")

    with pytest.raises(RunFailed, match="no luck") as failed:
        render(worker.render_context(a_claim(graph)))

    assert (failed.value.node_id, failed.value.node_type) == (of_class(graph, "VAEDecode"), "VAEDecode")


def test_a_graph_that_the_server_does_not_take_is_refused_with_its_node(worker: WorkerHere) -> None:
    graph = a_clip()
    sampler = of_class(graph, "KSamplerAdvanced")
    graph[sampler]["inputs"]["sampler_name"] = "eulerr"

    with pytest.raises(GraphRejected) as refused:
        render(worker.render_context(a_claim(graph)))

    assert sampler in {problem.node_id for problem in refused.value.problems}


def test_after_the_fallback_to_tiles_the_decode_is_tiled(worker: WorkerHere) -> None:
    worker.comfy.server.misbehave("raise", node="VAEDecode", error="cuda_oom", times=None)
    context = worker.render_context(a_claim(a_clip()))

    with pytest.raises(OutOfMemory):
        render(context)
    rendered = render(replace(context, fallback_steps=(FallbackStep.FREE, FallbackStep.TILED)))

    assert "VAEDecodeTiled" in {change.new for change in rendered.changes}
    assert rendered.fallback_steps == (FallbackStep.FREE, FallbackStep.TILED)


def test_a_render_that_is_stopped_leaves_the_server_idle(worker: WorkerHere) -> None:
    worker.comfy.server.misbehave("slow", factor=100.0)
    context = worker.render_context(a_claim(a_clip()))
    stopping = later(context.stop.set, when=lambda: "sample_high" in worker.phases)

    with pytest.raises(RunInterrupted) as interrupted:
        render(context)

    stopping.join()
    assert interrupted.value.yielded
    eventually(lambda: worker.comfy.server.is_idle)


def test_what_was_stopped_before_its_run_is_never_posted(worker: WorkerHere) -> None:
    context = worker.render_context(a_claim(a_clip()))

    with pytest.raises(AttemptStopped):
        render(replace(context, prove=context.stop.set))

    assert not worker.comfy.server.ask("/history")


def test_a_run_that_takes_too_long_is_stopped_and_told_so(worker: WorkerHere) -> None:
    worker.comfy.server.misbehave("slow", factor=100.0)
    context = worker.render_context(a_claim(a_clip(), time_limit_s=1.0), within_s=1.0)

    with pytest.raises(TimeLimitReached, match="its limit of 1 s"):
        render(context)

    eventually(lambda: worker.comfy.server.is_idle)


def test_a_node_that_does_not_yield_at_its_time_limit_is_told_with_the_grace_it_had(
    worker: WorkerHere,
) -> None:
    worker.comfy.server.client.patience = replace(worker.comfy.server.client.patience, interrupt_grace_s=0.3)
    worker.comfy.server.misbehave("hang", seconds=3.0)
    context = worker.render_context(a_claim(a_clip(), time_limit_s=1.0), within_s=1.0)

    with pytest.raises(TimeLimitReached, match=r"not yield within 0\.3 s \(FARM_CANCEL_GRACE_S\)"):
        render(context)

    assert worker.comfy.restarts == ["a node does not yield"]


@pytest.mark.parametrize("stands_still", [False, True])
def test_what_ends_while_the_worker_stands_still_tells_no_time(
    worker: WorkerHere, monkeypatch: pytest.MonkeyPatch, stands_still: bool
) -> None:
    monkeypatch.setattr("comfy.protocol.progress._UNSURE_S", 0.9 if stands_still else 60.0)
    receive, stood_still = Line.receive, threading.Event()

    def receives(line: Line, wait_s: float) -> Event | None:
        if stands_still and "sample_high" in worker.phases and not stood_still.is_set():
            stood_still.set()
            eventually(lambda: worker.comfy.server.is_idle)
            threading.Event().wait(1.5)  # as a process that is stopped: what it was told is read all at once
        return receive(line, wait_s)

    monkeypatch.setattr(Line, "receive", receives)

    rendered = render(worker.render_context(a_claim(a_clip())))

    assert stood_still.is_set() is stands_still
    untold = {node.class_type for node in rendered.nodes if node.seconds is None}
    assert ({"KSamplerAdvanced", "VAEDecode", "SaveVideo"} <= untold) is stands_still


@pytest.mark.parametrize(("ours", "error"), [(True, ComfyDied), (False, ServerLost)])
def test_a_server_that_is_gone_under_the_run_is_told_by_whose_it_is(
    worker: WorkerHere, ours: bool, error: type[Exception]
) -> None:
    worker.comfy.is_ours = ours
    worker.comfy.server.misbehave("slow", factor=100.0)
    gone = later(
        worker.comfy.die if ours else worker.comfy.server.vanish,
        when=lambda: "sample_high" in worker.phases,
    )

    with pytest.raises(error):
        render(worker.render_context(a_claim(a_clip())))

    gone.join()


def test_a_cached_node_that_names_a_file_of_another_attempt_is_run_again(
    worker: WorkerHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_name_for_all(graph: Mapping[str, Any], _: str) -> tuple[dict[str, Any], tuple[()]]:
        return dict(graph), ()

    # As of a node that takes no prefix: what it saves is named by nobody but itself.
    monkeypatch.setattr(rendering, "set_output_prefix", one_name_for_all)
    graph = a_clip()
    render(worker.render_context(a_claim(graph))).outputs[0].path.unlink()

    rendered = render(worker.render_context(a_claim(graph)))

    assert probe(rendered.outputs[0].path).frames == 5


def test_no_text_of_a_graph_can_write_as_the_servers_loggers_do() -> None:
    forged = "\x1b[32m[INFO]\x1b[0m Device: cpu"
    graph = {"1": {"class_type": "Show", "inputs": {"text": forged, "more": [{"a\x1b": [forged, 7, None]}]}}}

    inputs = without_escapes(graph)["1"]["inputs"]

    shown = "\N{SYMBOL FOR ESCAPE}[32m[INFO]\N{SYMBOL FOR ESCAPE}[0m Device: cpu"
    assert inputs == {"text": shown, "more": [{"a\N{SYMBOL FOR ESCAPE}": [shown, 7, None]}]}
    assert without_escapes({"1": {"inputs": {"n": 1.5, "on": True}}}) == {
        "1": {"inputs": {"n": 1.5, "on": True}}
    }
