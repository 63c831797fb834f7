"""What ComfyUI keeps in its cache never costs a result: no attempt names a file that another one wrote.

Since 0.23 the results of all earlier prompts stay while there is memory: a graph that ran an hour ago runs
nothing and names its old file, which is long published and removed.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol
from unittest.mock import MagicMock

import pytest

from comfy.generations import Generation
from comfy.protocol.client import ComfyClient
from comfy.wan.templates import get_template
from farm.store.base import Claim
from tests.support.jobs import a_claim
from tests.support.worker_here import AsItIs
from worker.jobs import render as rendering
from worker.jobs.context import RenderContext, RunListener
from worker.jobs.names import run_folder
from worker.jobs.render import render
from worker.plan.fallback import FallbackStep
from worker.results.media import probe
from worker.results.rendered import Rendered

pytestmark = pytest.mark.timeout(300)

SILENT = RunListener(phase=lambda _phase: None, progress=lambda _progress: None)


class Server(Protocol):
    output: Path
    url: str

    def ask(self, path: str) -> dict[str, Any]: ...


def claim_of(seed: int) -> Claim:
    wanted = {"prompt": "a fox", "width": 64, "height": 64, "frames": 9, "steps": 4, "seed": seed}
    return a_claim(get_template("wan22-t2v-a14b").build(**wanted).graph)


class Machine:
    """A worker's ComfyUI, and what is done with an attempt before and after."""

    def __init__(self, server: Server, scratch: Path) -> None:
        self.server = server
        self.client = ComfyClient(server.url)
        self.comfy = MagicMock(output_dir=server.output, died=threading.Event(), client=lambda: self.client)
        self._scratch = scratch
        version = server.ask("/system_stats")["system"]["comfyui_version"]
        self.keeps_all = Generation.of(version).keeps_results_while_memory_lasts

    def render(self, claim: Claim, *, tries: int = 0) -> Rendered:
        return render(
            RenderContext(
                claim=claim,
                comfy=self.comfy,
                inputs=MagicMock(),
                scratch=self._scratch,
                fitter=AsItIs(),
                listener=SILENT,
                stop=threading.Event(),
                prove=lambda: None,
                until=time.monotonic() + claim.spec.time_limit_s,
                fallback_steps=(FallbackStep.FREE,) * tries,
            )
        )

    def render_and_clean(self, claim: Claim) -> Rendered:
        rendered = self.render(claim)
        shutil.rmtree(self.server.output / run_folder(claim))
        return rendered


@pytest.fixture
def machine(keeper: Server, tmp_path: Path) -> Iterator[Machine]:
    made = Machine(keeper, tmp_path)
    yield made
    made.client.close()


@pytest.mark.parametrize(
    "again",
    [lambda first: claim_of(7), lambda first: replace(claim_of(7), job_id=first.job_id, attempt=2)],
    ids=["an equal job", "the next attempt"],
)
def test_an_equal_graph_writes_a_file_of_its_own_whatever_is_cached(
    machine: Machine, again: Callable[[Claim], Claim]
) -> None:
    first = claim_of(7)
    machine.render_and_clean(first)
    machine.render_and_clean(claim_of(8))

    rendered = machine.render(again(first))

    assert [probe(output.path).frames for output in rendered.outputs] == [9]
    ran = {node.class_type for node in rendered.nodes}
    assert "SaveVideo" in ran
    assert ran == {"SaveVideo"} or not machine.keeps_all


def test_another_try_of_one_attempt_takes_what_the_first_one_wrote(machine: Machine) -> None:
    claim = claim_of(9)
    first = machine.render(claim)

    second = machine.render(claim, tries=1)

    assert second.outputs == first.outputs
    assert (second.nodes, probe(second.outputs[0].path).frames) == ((), 9)


def test_a_cached_node_that_names_a_file_of_another_attempt_is_run_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_name_for_all(graph: Mapping[str, Any], _: str) -> tuple[dict[str, Any], tuple[()]]:
        return dict(graph), ()

    # As of a node that takes no prefix: what it saves is named by nobody but itself.
    monkeypatch.setattr(rendering, "set_output_prefix", one_name_for_all)
    first = machine.render(claim_of(10))
    first.outputs[0].path.unlink()
    claim = claim_of(10)

    rendered = machine.render(claim)

    assert probe(rendered.outputs[0].path).frames == 9
    assert "KSamplerAdvanced" in {node.class_type for node in rendered.nodes}
