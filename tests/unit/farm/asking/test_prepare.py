from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from comfy.graphs.required import model_files, node_classes
from comfy.wan.find import describe
from comfy.wan.workload import smallest_vram_class_gib
from farm.asking.building import GraphSource
from farm.asking.graphs import facts_of, read_graph, with_values
from farm.asking.prepare import prepare
from farm.asking.request import JobOptions, JobRequest
from farm.errors import InvalidJob
from tests.support.fleet import PICTURE, TEMPLATE, changed, wan_graph

GRAPHS = Path(__file__).parents[3] / "data" / "graphs"
WORKFLOW = {"nodes": [{"id": 1, "type": "SomebodysNode", "widgets_values": [1]}], "links": [], "version": 0.4}


def refused(**request: Any) -> str:
    """Why a request is refused, in the words that a person gets."""
    with pytest.raises(InvalidJob) as caught:
        prepare(JobRequest(**request))
    return str(caught.value)


def test_a_template_becomes_a_job_with_its_needs() -> None:
    spec = prepare(JobRequest(template=TEMPLATE, parameters={"prompt": "a fox", "seed": 7}))

    assert spec.graph["6"]["inputs"]["text"] == "a fox"
    assert spec.template_parameters["seed"] == 7
    assert spec.title == "a fox · seed 7 · WAN 2.2 T2V A14B 832×480 81f 20 steps"
    assert "KSamplerAdvanced" in spec.requirements.node_classes
    assert {model.folder for model in spec.requirements.models} == {
        "diffusion_models",
        "text_encoders",
        "vae",
    }


def test_a_plain_graph_gets_its_parameters_and_keeps_a_note_of_them() -> None:
    spec = prepare(JobRequest(graph=wan_graph(), parameters={"6.text": "a crow", "57.noise_seed": 3}))

    assert spec.graph["6"]["inputs"]["text"] == "a crow"
    assert spec.graph["57"]["inputs"]["noise_seed"] == 3
    assert spec.parameters == {"6.text": "a crow", "57.noise_seed": 3}


def test_a_graph_that_its_owner_changes_afterwards_changes_no_job() -> None:
    graph = wan_graph()

    first = prepare(JobRequest(graph=graph))
    graph["6"]["inputs"]["text"] = "something else"
    second = prepare(JobRequest(graph=graph))

    assert first.graph["6"]["inputs"]["text"] == "a fox"
    assert second.graph["6"]["inputs"]["text"] == "something else"


def test_jobs_of_one_graph_do_not_see_each_others_parameters() -> None:
    graph = wan_graph()

    specs = [prepare(JobRequest(graph=graph, parameters={"6.text": f"take {n}"})) for n in range(3)]

    assert [spec.graph["6"]["inputs"]["text"] for spec in specs] == ["take 0", "take 1", "take 2"]
    assert prepare(JobRequest(graph=graph)).graph["6"]["inputs"]["text"] == "a fox"


def test_a_size_that_is_set_by_a_parameter_shows_in_title_and_needs() -> None:
    graph = wan_graph()
    prepare(JobRequest(graph=graph))

    spec = prepare(JobRequest(graph=graph, parameters={"59.width": 1280, "59.height": 720}))

    assert "1280×720" in spec.title


@pytest.mark.parametrize("parameters", [{"preset": "quality"}, {"preset": "draft", "width": 640}])
def test_remembered_facts_are_those_of_the_graph_itself(parameters: dict[str, Any]) -> None:
    graph = wan_graph(**parameters)

    facts = facts_of(graph)

    assert facts.makes == describe(graph)
    assert facts.node_classes == node_classes(graph)
    assert {(m.folder, m.name) for m in facts.models} == {(f.folder, f.name) for f in model_files(graph)}
    assert facts.vram_gib == smallest_vram_class_gib(graph)


def test_a_text_that_comes_by_a_link_still_counts_as_part_of_the_graph() -> None:
    graph = changed(wan_graph(), "6.text", ["900", 0])
    graph["900"] = {"class_type": "UNETLoader", "inputs": {"unet_name": "other.safetensors"}}

    models = facts_of(graph).models

    assert "other.safetensors" in {model.name for model in models}


def test_a_model_file_of_a_graph_from_windows_is_required_as_every_worker_lists_it() -> None:
    graph = changed(wan_graph(), "37.unet_name", "WAN\\2.2\\high.safetensors")

    spec = prepare(JobRequest(graph=graph))

    assert ("diffusion_models", "WAN/2.2/high.safetensors") in {
        (each.folder, each.name) for each in spec.requirements.models
    }


def test_a_link_that_closes_a_circle_is_found_when_it_comes_as_a_parameter() -> None:
    text = refused(graph=PICTURE, parameters={"1.image": ["2", 0]})

    assert "circle" in text


def test_a_graph_with_a_number_as_node_id_is_refused_even_after_its_twin_was_read() -> None:
    read_graph(PICTURE)
    twin: dict[Any, Any] = {1: PICTURE["1"], "2": PICTURE["2"]}

    assert "id is text" in refused(graph=twin)


def test_a_dotted_input_name_is_set() -> None:
    graph = {"61": {"class_type": "SaveVideo", "inputs": {"codec.encoding.crf": 20}}}

    assert with_values(graph, {"61.codec.encoding.crf": 23})["61"]["inputs"] == {"codec.encoding.crf": 23}


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (b"not json {", "no JSON"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (json.dumps(WORKFLOW).encode(), "Export (API)"),
        (b"[]", "a graph is a JSON object"),
        ({}, "no nodes"),
        ({"1": {"inputs": {}}}, "no class_type"),
        (changed(PICTURE, "2.images", ["9", 0]), "node 2.images (SaveImage): the link leads to node 9"),
        (changed(PICTURE, "1.image", ["2", 0]), "circle"),
        ({"1": PICTURE["1"]}, "SaveVideo"),
    ],
    ids=["text", "bytes", "workflow", "list", "empty", "class", "link", "cycle", "no-output"],
)
def test_a_broken_graph_is_refused_in_words_that_name_the_input(graph: GraphSource, words: str) -> None:
    assert words in refused(graph=graph)


def test_a_workflow_as_the_editor_saves_it_becomes_a_job() -> None:
    path = GRAPHS / "core_t2v_a14b_subgraph.ui.json"

    spec = prepare(JobRequest(graph=path, parameters={"200:57.noise_seed": 5}))

    assert spec.graph["200:57"]["inputs"]["noise_seed"] == 5
    assert spec.graph["61"]["class_type"] == "SaveVideo"
    assert spec.requirements.models


def test_a_graph_whose_custom_nodes_may_save_is_not_refused_for_saving_nothing() -> None:
    graph = {"1": {"class_type": "SomebodysWriter", "inputs": {}}}

    assert prepare(JobRequest(graph=graph)).graph == graph


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert f"cannot read {tmp_path / 'no.json'}" in refused(graph=tmp_path / "no.json")


def test_a_graph_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "graph.json"
    file.write_text(json.dumps(PICTURE))

    assert prepare(JobRequest(graph=str(file))).graph == PICTURE


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"prompt": "x", "width": 833}, "832 or 848"),
        ({"prompt": "x", "frames": 80}, "77 or 81"),
        ({"prompt": "x", "stepps": 4}, "did you mean steps"),
        ({"prompt": "x", "self": 4}, "parameter self: is not known"),
        ({}, "parameter prompt: is needed"),
    ],
)
def test_a_template_says_what_it_does_not_take(parameters: dict[str, Any], words: str) -> None:
    assert words in refused(template=TEMPLATE, parameters=parameters)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"99.text": "x"}, "there is no node 99"),
        ({"6.txt": "x"}, "there is no such input"),
        ({"text": "x"}, "write node.input"),
        ({"6.text": float("nan")}, "no number"),
    ],
)
def test_a_parameter_without_an_input_is_refused(parameters: dict[str, Any], words: str) -> None:
    assert words in refused(graph=wan_graph(), parameters=parameters)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"priority": 12}, "priority: "),
        ({"max_attempts": 0}, "max_attempts: "),
        ({"labels": "night"}, "labels: is a list"),
        ({"labels": ["not good!"]}, "labels.0: "),
        ({"vram_gib": 13}, "13 is no VRAM class"),
        ({"deadline": datetime(2030, 1, 1)}, "deadline: "),  # noqa: DTZ001  # that is what is refused
        ({"deadline": datetime(2020, 1, 1, tzinfo=UTC)}, "deadline: 2020-01-01 00:00:00+00:00 is past"),
        ({"deadline": "2020-01-01T00:00:00Z"}, "deadline: 2020-01-01 00:00:00+00:00 is past"),
        ({"labels": None}, "labels: is a list"),
        ({"labels": [1]}, "labels: are texts"),
        ({"graph": {}}, "there is no such option"),
    ],
)
def test_an_option_out_of_its_range_is_named(options: dict[str, Any], words: str) -> None:
    assert words in refused(graph=PICTURE, options=JobOptions(**options))  # type: ignore[typeddict-item]


def test_options_arrive_in_the_job() -> None:
    deadline = datetime(2030, 1, 1, tzinfo=UTC)
    options = JobOptions(priority=0, labels=["night"], deadline=deadline, vram_gib=48, title="my clip")

    spec = prepare(JobRequest(graph=PICTURE, options=options))

    assert (spec.priority, spec.labels, spec.deadline) == (0, ("night",), deadline)
    assert (spec.requirements.vram_gib, spec.title) == (48, "my clip")


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"1.image": "nowhere.png"}, "input 1.image: cannot read nowhere.png"),
        ({"1.image": b""}, "input 1.image: the file is empty"),
        ({"1.image": "ftp://host/x.png"}, "ftp: cannot be fetched"),
        ({"1.image": "https://user:secret@/x.png"}, "input 1.image: the address names no host"),
        ({"1.image": "https://[broken/x.png"}, "the address cannot be read"),
        ({"1.image": "s3://bucket"}, "the form of an S3 address is s3://bucket/key"),
        ({"1.image": "s3://bucket/a#b.png"}, "write # as %23"),
        ({"1.image": "https://host/x.png#sha256=12ab"}, "the pin sha256=12ab is no SHA-256"),
        ({"1.picture": b"x"}, "there is no such input"),
        ({"7.image": b"x"}, "there is no node 7"),
    ],
)
def test_an_input_that_cannot_be_had_is_named(inputs: dict[str, Any], words: str) -> None:
    assert words in refused(graph=PICTURE, inputs=inputs)


def test_an_address_is_taken_as_it_is() -> None:
    spec = prepare(JobRequest(graph=PICTURE, inputs={"1.image": "https://host/x.png"}))

    assert spec.inputs == {"1.image": "https://host/x.png"}


def test_graph_and_template_together_are_refused() -> None:
    assert "either" in refused(graph=PICTURE, template=TEMPLATE)
    assert "either" in refused()


def of_editor(*classes: str) -> dict[str, Any]:
    """A workflow as the editor saves it: a picture, a text, and nodes that take nothing by links."""
    nodes = [
        {"id": 1, "type": "EmptyImage", "widgets_values": [64, 64, 1, 0], "outputs": [{"links": [1]}]},
        {
            "id": 2,
            "type": "SaveImage",
            "widgets_values": ["x"],
            "inputs": [{"name": "images", "type": "IMAGE", "link": 1}],
        },
    ]
    nodes += [
        {"id": 10 + n, "type": each, "widgets_values": [0, "", False]} for n, each in enumerate(classes)
    ]
    return {"nodes": nodes, "links": [[1, 1, 0, 2, 0, "IMAGE"]], "version": 0.4}


def test_the_editors_file_goes_with_a_job_only_where_somebody_reads_it() -> None:
    plain, read = of_editor(), of_editor("WidgetToString")

    assert prepare(JobRequest(graph=plain)).workflow is None
    assert prepare(JobRequest(graph=plain, options={"keep_metadata": True})).workflow == plain
    assert prepare(JobRequest(graph=wan_graph(), options={"keep_metadata": True})).workflow is None
    with_reader = prepare(JobRequest(graph=json.dumps(read).encode()))
    assert "WidgetToString" in {node["class_type"] for node in with_reader.graph.values()}
    assert with_reader.workflow == read


@pytest.mark.parametrize(
    "content", [b"%PDF-1.7", b"<html>", b"\0\0\0\x20ftypheic", b"a text", b"PK\3\4"], ids=str
)
@pytest.mark.parametrize("as_file", [True, False])
def test_a_file_that_no_loader_reads_is_refused_at_submit(
    tmp_path: Path, content: bytes, as_file: bool
) -> None:
    (tmp_path / "start.png").write_bytes(content)
    given = tmp_path / "start.png" if as_file else content

    told = refused(graph=PICTURE, inputs={"1.image": given})

    assert "input 1.image" in told
    assert "is no picture, video or sound that ComfyUI's loaders read" in told
