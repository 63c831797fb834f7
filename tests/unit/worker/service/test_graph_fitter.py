"""Fitting graphs to a worker: what it knows of the worker, and that no rewrite costs a job."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from comfy.errors import GraphError, ServerUnreachable
from comfy.node_defs.definitions import NodeDef, shipped_definitions
from comfy.rewrites.change import ChangeKind
from comfy.wan.cards import IDLE_BYTES
from comfy.wan.models import GIB
from farm.job import JobSpec
from farm.settings.worker import WorkerSettings
from tests.support.fleet import wan_graph
from tests.support.sites import wrapper_graph
from worker.comfyui.process import ComfyDevice, ComfyFacts
from worker.service.graph_fitter import GraphFitter

EMULATED_CARD = ComfyDevice(name="cuda:0", kind="cuda", vram_total_bytes=80 * GIB, vram_free_bytes=GIB)


class Nodes:
    """The worker's `Definitions`, as far as a fitter asks."""

    def __init__(self, trouble: Exception | None = None) -> None:
        self._trouble = trouble

    def nodes(self) -> Mapping[str, NodeDef]:
        if self._trouble is not None:
            raise self._trouble
        return shipped_definitions()


def a_fitter(
    *,
    trouble: Exception | None = None,
    comfyui: Path | None = None,
    argv: tuple[str, ...] = (),
    emulated: bool = True,
    allowed_nodes: str = "",
) -> GraphFitter:
    facts = ComfyFacts(
        version="0.12.1",
        python="",
        torch="",
        argv=argv,
        ram_total_bytes=0,
        devices=(EMULATED_CARD,),
        is_emulator=emulated,
    )
    comfy = SimpleNamespace(facts=lambda: facts, is_emulator=emulated, vram_class_gib=80)
    machine: Any = SimpleNamespace(
        comfy=comfy,
        gpu=None,
        nvenc=None,
        attention_proven=lambda now: {},  # the card is the emulator's
    )
    nodes: Any = Nodes(trouble)
    settings = WorkerSettings.read(comfyui_dir=comfyui)
    return GraphFitter("gpu0@node1", settings, machine, nodes, allowed_nodes=allowed_nodes)


def a_spec(accept: ChangeKind = ChangeKind.NEAR) -> JobSpec:
    return JobSpec(graph={}, accept=accept)


def test_a_graph_is_fitted_to_the_card_that_comfyui_tells_of() -> None:
    fitted = a_fitter().fit(wrapper_graph(), a_spec())

    assert fitted.graph["1"]["inputs"]["load_device"] == "main_device"
    assert fitted.graph["1"]["inputs"]["attention_mode"] == "sdpa"


def test_a_job_that_accepts_the_same_pixels_only_keeps_its_attention() -> None:
    fitted = a_fitter().fit(wrapper_graph(), a_spec(ChangeKind.EXACT))

    assert fitted.changes == ()


def test_a_comfyui_that_does_not_answer_costs_the_rewrites_and_not_the_job() -> None:
    graph = wrapper_graph()

    fitted = a_fitter(trouble=ServerUnreachable("http://x", "refused")).fit(graph, a_spec())

    assert fitted.graph == graph
    assert "refused" in fitted.untried


def test_sizes_are_those_of_the_files_on_the_disk(tmp_path: Path) -> None:
    graph = wan_graph()
    file = tmp_path / "models" / "unet" / graph["37"]["inputs"]["unet_name"]  # the folder's older name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x" * 321)

    site = a_fitter(comfyui=tmp_path).site(graph)

    assert site.model_bytes == {file.name: 321}


@pytest.mark.parametrize(
    ("emulated", "argv", "writes"),
    [(True, (), None), (False, (), True), (False, ("main.py", "--disable-metadata"), False)],
)
def test_whether_core_nodes_write_the_prompt_is_read_from_the_command_line(
    emulated: bool, argv: tuple[str, ...], writes: bool | None
) -> None:
    assert a_fitter(emulated=emulated, argv=argv).site(wan_graph()).writes_metadata is writes


def test_what_the_deployment_does_not_allow_is_not_run() -> None:
    a_fitter(allowed_nodes="*").admit(wan_graph())

    with pytest.raises(GraphError, match="does not allow"):
        a_fitter(allowed_nodes="Load*,Save*").admit(wan_graph())


def test_an_emulator_stands_for_a_card_of_the_class_that_it_serves_as_the_fleet_takes_it() -> None:
    site = a_fitter(emulated=True).site(wan_graph())

    assert site.vram_bytes == 80 * GIB - IDLE_BYTES
