"""Graphs that were made to hurt end soon, in a clear line or in an answer, at every entry."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from comfy.errors import GraphError
from comfy.graphs.graph import load_graph, near_names, set_inputs
from comfy.graphs.path_gate import check_paths
from comfy.lint import lint
from comfy.rewrites.change import ChangeKind
from comfy.rewrites.optimize import optimize
from comfy.rewrites.options import RewriteOptions
from comfy.wan.roles import find_roles
from farm.asking.prepare import prepare
from farm.asking.request import JobRequest
from farm.errors import FarmError
from tests.support.hostile import GRAPHS, PATHS, Graph, node
from tests.support.sites import a_site

DEADLINE_S = 20.0  # CPU; each takes well under one second on a machine that does nothing else
LONGEST_MESSAGE = 6000
ALL_OPTIONS = RewriteOptions(lightning=True, max_width=320, max_seconds=1, max_fps=8, interpolation=1)
REFUSED = [name for name, (_, refused) in GRAPHS.items() if refused]
TAKEN = [name for name, (_, refused) in GRAPHS.items() if not refused]


@contextmanager
def soon() -> Iterator[None]:
    began = time.process_time()
    yield
    assert time.process_time() - began < DEADLINE_S


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_a_graph_is_refused_in_a_few_words(name: str) -> None:
    source = GRAPHS[name][0]()

    with soon(), pytest.raises(GraphError) as refusal:
        load_graph(source)

    assert 0 < len(str(refusal.value)) < LONGEST_MESSAGE
    if isinstance(source, dict | bytes):
        with soon(), pytest.raises(FarmError):
            prepare(JobRequest(graph=source))


@pytest.mark.parametrize("name", TAKEN)
def test_what_could_be_a_graph_is_read_judged_and_fitted(name: str) -> None:
    source, site = GRAPHS[name][0](), a_site(gib=24)

    with soon():
        graph = load_graph(source)
        find_roles(graph, site.definitions)
        lint(graph, site)
        result = optimize(graph, site, accept=ChangeKind.DIFFERENT, options=ALL_OPTIONS)
        prepare(JobRequest(graph=graph))

    assert all(outcome.status != "failed" for outcome in result.outcomes)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("class_type", "input_name"),
    [
        ("LoadImage", "image"),
        ("VHS_LoadVideoPath", "video"),
        ("UNETLoader", "unet_name"),
        ("LoraLoaderModelOnly", "lora_name"),
        ("WanVideoModelLoaderMultiGPU", "model"),
        ("SomebodysNode", "output_path"),
    ],
)
def test_a_name_that_leads_out_of_its_folder_is_refused(class_type: str, input_name: str, path: str) -> None:
    graph = a_loader(class_type, input_name, path)

    with pytest.raises(GraphError) as refusal:
        check_paths(graph)
    (problem,) = refusal.value.problems
    assert (problem.node_id, problem.input_name) == ("1", input_name)

    with pytest.raises(FarmError, match="is refused"):
        prepare(JobRequest(graph=graph))


def test_a_name_behind_a_link_is_seen_too() -> None:
    graph = a_loader("LoadImage", "image", ["2", 0])
    graph["2"] = {"class_type": "PrimitiveString", "inputs": {"value": "../secret.png"}}

    with pytest.raises(GraphError, match="leads out of its folder"):
        check_paths(graph)


def test_a_name_that_is_computed_while_the_graph_runs_is_refused() -> None:
    graph = a_loader("LoadImage", "image", ["2", 0])
    graph["2"] = {"class_type": "StringConcatenate", "inputs": {"string_a": "../", "string_b": "x.png"}}

    with pytest.raises(GraphError, match="computed by node 2"):
        check_paths(graph)


def test_a_file_that_the_job_brings_takes_the_place_of_a_name_that_leads_out() -> None:
    graph = a_loader("LoadImage", "image", "C:\\pictures\\x.png")

    spec = prepare(JobRequest(graph=graph, inputs={"1.image": "https://host/x.png"}))

    assert spec.inputs == {"1.image": "https://host/x.png"}


@pytest.mark.parametrize("name", ["x.png", "sub/x.png", "a..b.png", "farm/0a1b.png", "..x"])
def test_a_name_that_stays_inside_is_taken(name: str) -> None:
    check_paths(a_loader("LoadImage", "image", name))


def test_names_of_models_may_lie_in_a_sub_folder() -> None:
    check_paths(a_loader("UNETLoader", "unet_name", "wan/wan2.2_t2v_high_noise_14B.safetensors"))


def test_a_misspelt_place_of_a_mebibyte_is_refused_soon() -> None:
    graph = load_graph({"1": node("SaveImage", filename_prefix="x")})

    with soon(), pytest.raises(GraphError):
        set_inputs(graph, {"1." + "x" * 2**20: 1})
    with soon():
        near_names("x" * 2**20, ["x" * 200] * 50)


def a_loader(class_type: str, input_name: str, value: object) -> Graph:
    return {
        "1": {"class_type": class_type, "inputs": {input_name: value}},
        "save": node("SaveImage", images=["1", 0], filename_prefix="x"),
    }


@pytest.mark.parametrize(
    ("prefix", "refused"),
    [
        ("a" * 239, False),
        ("a" * 240, True),
        ("狐" * 79, False),  # three bytes each
        ("狐" * 80, True),
        ("лис" * 40, True),
        ("a" * 200 + "/" + "b" * 200, False),  # folders give way to the job's own
        ("folder/" + "b" * 240, True),
    ],
)
def test_a_name_that_is_too_long_for_a_file_is_refused(prefix: str, refused: bool) -> None:
    graph = {"9": {"class_type": "SaveVideo", "inputs": {"filename_prefix": prefix}}}

    if not refused:
        check_paths(graph)
        return
    with pytest.raises(GraphError) as refusal:
        check_paths(graph)
    (problem,) = refusal.value.problems
    assert (problem.kind, problem.node_id, problem.input_name) == ("name_too_long", "9", "filename_prefix")
