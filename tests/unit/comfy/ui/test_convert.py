from __future__ import annotations

from typing import Any

import pytest

from comfy.errors import GraphError
from comfy.judging.validation import validate
from comfy.node_defs.definitions import shipped_definitions
from comfy.ui.convert import convert
from tests.unit.comfy.ui.workflows import Sheet, picture

_KNOWN = shipped_definitions()


def converted(workflow: dict[str, Any]) -> dict[str, Any]:
    return convert(workflow, _KNOWN).graph


def test_widget_values_get_the_names_of_their_inputs() -> None:
    sheet = Sheet()
    picture(sheet)
    sheet.link(1, 0, 9, 0)

    graph = converted(sheet.saved())

    assert graph == {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 48, "batch_size": 1, "color": 7}},
        "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "clip", "images": ["1", 0]}},
    }
    assert validate(graph, _KNOWN).ok


def test_a_link_takes_the_place_of_a_widget() -> None:
    sheet = Sheet()
    sheet.node(2, "PrimitiveInt", 96, "fixed", outputs=("INT",))
    sheet.node(1, "EmptyImage", 64, 48, 1, 0, inputs=("width:INT:w",), outputs=("IMAGE",))
    sheet.link(2, 0, 1, 0)

    inputs = converted(sheet.saved())["1"]["inputs"]

    assert (inputs["width"], inputs["height"]) == (["2", 0], 48)


def test_a_title_is_kept() -> None:
    sheet = Sheet()
    sheet.node(1, "EmptyImage", 64, 48, 1, 0, title="Grey card")

    assert converted(sheet.saved())["1"]["_meta"] == {"title": "Grey card"}


@pytest.mark.parametrize("class_type", ["Note", "MarkdownNote", "Label (rgthree)"])
def test_notes_are_left_out(class_type: str) -> None:
    sheet = Sheet()
    picture(sheet)
    sheet.node(5, class_type, "read me")

    assert set(converted(sheet.saved())) == {"1", "9"}


def test_a_value_goes_through_reroutes() -> None:
    sheet = Sheet()
    picture(sheet)
    sheet.node(2, "Reroute", inputs=(":*",), outputs=("IMAGE",))
    sheet.node(3, "Reroute", inputs=(":*",), outputs=("IMAGE",))
    sheet.link(1, 0, 2, 0)
    sheet.link(2, 0, 3, 0)
    sheet.link(3, 0, 9, 0)

    assert converted(sheet.saved())["9"]["inputs"]["images"] == ["1", 0]


def test_a_primitive_gives_its_value_to_all_it_feeds() -> None:
    sheet = Sheet()
    sheet.node(2, "PrimitiveNode", 128, "randomize", outputs=("INT",))
    sheet.node(1, "EmptyImage", 64, 48, 1, 0, inputs=("width:INT:w", "height:INT:w"), outputs=("IMAGE",))
    sheet.link(2, 0, 1, 0)
    sheet.link(2, 0, 1, 1)

    graph = converted(sheet.saved())

    assert set(graph) == {"1"}
    assert (graph["1"]["inputs"]["width"], graph["1"]["inputs"]["height"]) == (128, 128)


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("length", 126, 125),
        ("length", 127, 129),
        ("length", 81, 81),
        ("width", 830, 832),
        ("batch_size", 3, 3),
    ],
)
def test_a_number_of_a_primitive_is_kept_on_the_steps_of_its_input(name: str, value: int, kept: int) -> None:
    sheet = Sheet()
    sheet.node(2, "PrimitiveNode", value, "fixed", outputs=("INT",))
    size = ("width:INT:w", "height:INT:w", "length:INT:w", "batch_size:INT:w")
    sheet.node(1, "EmptyHunyuanLatentVideo", 848, 480, 25, 1, inputs=size, outputs=("LATENT",))
    sheet.link(2, 0, 1, [each.partition(":")[0] for each in size].index(name))

    found = convert(sheet.saved(), _KNOWN)

    assert found.graph["1"]["inputs"][name] == kept
    assert any(f"{value} is typed in" in note for note in found.notes) == (kept != value)


def test_a_muted_node_is_left_out_with_the_links_from_it() -> None:
    sheet = Sheet()
    picture(sheet)
    sheet.nodes[0]["mode"] = 2
    sheet.link(1, 0, 9, 0)

    found = convert(sheet.saved(), _KNOWN)

    assert found.graph == {"9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "clip"}}}
    assert [each.feeds for each in found.left_out] == [(("9", "images"),)]


def test_a_bypassed_node_hands_on_the_input_of_the_same_type() -> None:
    sheet = Sheet()
    sheet.node(1, "UNETLoader", "high.safetensors", "default", outputs=("MODEL",))
    sheet.node(2, "CLIPLoader", "umt5.safetensors", "wan", "default", outputs=("CLIP",))
    sheet.node(
        3, "LoraLoader", "x.safetensors", 1, 1,
        inputs=("model:MODEL", "clip:CLIP"), outputs=("MODEL", "CLIP"), mode=4,
    )  # fmt: skip
    sheet.node(4, "CLIPTextEncode", "a fox", inputs=("clip:CLIP",), outputs=("CONDITIONING",))
    sheet.node(5, "ModelSamplingSD3", 8.0, inputs=("model:MODEL",), outputs=("MODEL",))
    sheet.link(1, 0, 3, 0)
    sheet.link(2, 0, 3, 1)
    sheet.link(3, 1, 4, 0)
    sheet.link(3, 0, 5, 0)

    graph = converted(sheet.saved())

    assert "3" not in graph
    assert graph["4"]["inputs"]["clip"] == ["2", 0]
    assert graph["5"]["inputs"]["model"] == ["1", 0]


def test_a_widget_that_hangs_on_a_muted_node_keeps_its_own_value() -> None:
    sheet = Sheet()
    sheet.node(2, "PrimitiveInt", 96, "fixed", outputs=("INT",), mode=2)
    sheet.node(1, "EmptyImage", 64, 48, 1, 0, inputs=("width:INT:w",), outputs=("IMAGE",))
    sheet.link(2, 0, 1, 0)

    assert converted(sheet.saved())["1"]["inputs"]["width"] == 64


def test_a_primitive_does_not_reach_across_the_border_of_a_subgraph() -> None:
    sheet = Sheet()
    picture(sheet)
    sheet.node(2, "PrimitiveNode", 4.0, "fixed", outputs=("FLOAT",))
    inputs = ("image:IMAGE", "factor:FLOAT:w", "prefix:STRING:w")
    sheet.node(5, "upscale", 1.5, "faced", inputs=inputs, outputs=("IMAGE",))
    sheet.link(1, 0, 5, 0)
    sheet.link(2, 0, 5, 1)

    assert converted(sheet.saved(a_subgraph()))["5:11"]["inputs"]["scale_by"] == 2.0


@pytest.mark.parametrize(
    ("inputs", "output", "asked", "handed_on"),
    [
        (("a:MODEL", "b:IMAGE"), "IMAGE", "images:IMAGE", 1),  # the one of the type
        (("a:MODEL", "b:IMAGE"), "*", "images:IMAGE", 1),  # an output of any type, asked for a picture
        (("a:MODEL", "b:*"), "*", "images:IMAGE", 1),
        (("a:IMAGE", "b:IMAGE"), "IMAGE", "images:IMAGE", 0),  # the opposite one, linked or not
        (("a:MODEL", "b:IMAGE"), "*", "images:*", 0),  # asked for anything: the opposite one
    ],
)
def test_a_bypassed_node_hands_on_what_fits_its_reader(
    inputs: tuple[str, ...], output: str, asked: str, handed_on: int
) -> None:
    sheet = Sheet()
    for number in (1, 2):
        sheet.node(number, "EmptyImage", 64, 48, 1, 0, outputs=("IMAGE",))
    sheet.node(3, "AnyNode", inputs=inputs, outputs=(output,), mode=4)
    sheet.node(9, "SaveImage", "clip", inputs=(asked, "filename_prefix:STRING:w"))
    for number in (0, 1):
        sheet.link(number + 1, 0, 3, number)
    sheet.link(3, 0, 9, 0)

    assert converted(sheet.saved())["9"]["inputs"]["images"] == [str(handed_on + 1), 0]


def test_a_bypassed_source_leaves_its_reader_without_the_input() -> None:
    sheet = Sheet()
    picture(sheet)
    sheet.node(2, "LoadImage", "start.png", "image", outputs=("IMAGE", "MASK"), mode=4)
    sheet.link(2, 0, 9, 0)

    assert "images" not in converted(sheet.saved())["9"]["inputs"]


def a_subgraph() -> dict[str, Any]:
    inner = Sheet()
    inner.node(
        11, "ImageScaleBy", "lanczos", 2.0, inputs=("image:IMAGE", "scale_by:FLOAT:w"), outputs=("IMAGE",)
    )
    inner.node(12, "SaveImage", "inner", inputs=("images:IMAGE", "filename_prefix:STRING:w"))
    inner.link(-10, 0, 11, 0)
    inner.link(-10, 1, 11, 1)
    inner.link(-10, 2, 12, 1)
    inner.link(11, 0, 12, 0)
    inner.link(11, 0, -20, 0)
    return inner.subgraph("upscale", ("image:IMAGE", "factor:FLOAT", "prefix:STRING"), ("IMAGE",))


def with_subgraph(*values: Any, mode: int = 0, **more: Any) -> dict[str, Any]:
    sheet = Sheet()
    picture(sheet)
    inputs = ("image:IMAGE", "factor:FLOAT:w", "prefix:STRING:w")
    sheet.node(5, "upscale", *values, inputs=inputs, outputs=("IMAGE",), mode=mode, **more)
    sheet.link(1, 0, 5, 0)
    sheet.link(5, 0, 9, 0)
    return sheet.saved(a_subgraph())


def test_a_subgraph_is_opened_and_its_nodes_get_the_path_as_id() -> None:
    graph = converted(with_subgraph(1.5, "faced"))

    assert set(graph) == {"1", "9", "5:11", "5:12"}
    assert graph["5:11"]["inputs"] == {"upscale_method": "lanczos", "scale_by": 1.5, "image": ["1", 0]}
    assert graph["5:12"]["inputs"] == {"filename_prefix": "faced", "images": ["5:11", 0]}
    assert graph["9"]["inputs"]["images"] == ["5:11", 0]
    assert validate(graph, _KNOWN).ok


def test_without_values_on_its_face_a_subgraph_uses_those_inside() -> None:
    graph = converted(with_subgraph())

    assert graph["5:11"]["inputs"]["scale_by"] == 2.0
    assert graph["5:12"]["inputs"]["filename_prefix"] == "inner"


def test_values_on_a_subgraphs_face_are_named_by_its_proxies_when_these_say_so() -> None:
    proxies = {"proxyWidgets": [["12", "filename_prefix"], ["-1", "prefix"], ["-1", "factor"]]}

    graph = converted(with_subgraph("ignored", "faced", 3.0, properties=proxies))

    assert graph["5:11"]["inputs"]["scale_by"] == 3.0
    assert graph["5:12"]["inputs"]["filename_prefix"] == "faced"


def test_the_face_of_a_subgraph_is_as_its_own_node_says_whatever_a_reroute_inside_calls_a_widget() -> None:
    inner = Sheet()
    inner.node(3, "Reroute", inputs=("value:*:w",), outputs=("IMAGE",))
    inner.node(11, "ImageScaleBy", "lanczos", 2.0, inputs=("image:IMAGE", "scale_by:FLOAT:w"))
    inner.link(-10, 0, 3, 0)
    inner.link(3, 0, 11, 0)
    inner.link(-10, 1, 11, 1)
    sheet = Sheet()
    picture(sheet)
    sheet.node(5, "upscale", 1.5, inputs=("image:IMAGE", "factor:FLOAT:w"))
    sheet.link(1, 0, 5, 0)

    graph = converted(sheet.saved(inner.subgraph("upscale", ("image:IMAGE", "factor:FLOAT"), ())))

    assert graph["5:11"]["inputs"] == {"upscale_method": "lanczos", "scale_by": 1.5, "image": ["1", 0]}


def test_a_widget_that_hangs_on_a_subgraph_which_leads_nowhere_keeps_its_own_value() -> None:
    inner = Sheet()
    inner.node(3, "Reroute", inputs=("value:*:w",), outputs=("INT",))
    inner.link(-10, 0, 3, 0)
    inner.link(3, 0, -20, 0)
    sheet = Sheet()
    sheet.node(1, "EmptyImage", 64, 48, 1, 0, inputs=("width:INT:w",), outputs=("IMAGE",))
    sheet.node(5, "wire", inputs=("value:INT",), outputs=("INT",))
    sheet.link(5, 0, 1, 0)

    graph = converted(sheet.saved(inner.subgraph("wire", ("value:INT",), ("INT",))))

    assert graph["1"]["inputs"]["width"] == 64


def test_a_bypassed_subgraph_is_a_wire() -> None:
    graph = converted(with_subgraph(mode=4))

    assert set(graph) == {"1", "9"}
    assert graph["9"]["inputs"]["images"] == ["1", 0]


def test_a_muted_subgraph_is_gone() -> None:
    assert set(converted(with_subgraph(mode=2))) == {"1", "9"}


def test_subgraphs_nest_and_links_cross_every_border() -> None:
    middle = Sheet()
    middle.node(3, "upscale", inputs=("image:IMAGE", "factor:FLOAT:w"), outputs=("IMAGE",))
    middle.link(-10, 0, 3, 0)
    middle.link(-10, 1, 3, 1)
    middle.link(3, 0, -20, 0)
    sheet = Sheet()
    picture(sheet)
    sheet.node(2, "PrimitiveFloat", 4.0, outputs=("FLOAT",))
    sheet.node(7, "twice", inputs=("image:IMAGE", "factor:FLOAT:w"), outputs=("IMAGE",))
    sheet.link(1, 0, 7, 0)
    sheet.link(2, 0, 7, 1)
    sheet.link(7, 0, 9, 0)
    outer = middle.subgraph("twice", ("image:IMAGE", "factor:FLOAT"), ("IMAGE",))

    graph = converted(sheet.saved(outer, a_subgraph()))

    assert graph["7:3:11"]["inputs"]["image"] == ["1", 0]
    assert graph["7:3:11"]["inputs"]["scale_by"] == ["2", 0]
    assert graph["9"]["inputs"]["images"] == ["7:3:11", 0]


def test_a_node_of_a_subgraph_whose_id_occurs_before_gets_the_next_one_as_in_the_editor() -> None:
    sheet = Sheet()
    picture(sheet)  # nodes 1 and 9
    proxies = {"proxyWidgets": [["11", "scale_by"]]}
    for number, name in ((5, "first"), (6, "second")):
        sheet.node(number, name, 3.0, inputs=("image:IMAGE",), outputs=("IMAGE",), properties=proxies)
        sheet.link(1, 0, number, 0)
    inner = {name: {**a_subgraph(), "id": name} for name in ("first", "second")}

    graph = converted({**sheet.saved(*inner.values()), "last_node_id": 9})

    assert set(graph) == {"1", "9", "5:11", "5:12", "6:13", "6:14"}
    assert graph["6:14"]["inputs"]["images"] == ["6:13", 0]
    assert graph["6:13"]["inputs"]["image"] == ["1", 0]


def test_one_subgraph_used_twice_makes_two_sets_of_nodes() -> None:
    sheet = Sheet()
    picture(sheet)
    for number in (5, 6):
        sheet.node(number, "upscale", float(number), "p", inputs=("image:IMAGE",), outputs=("IMAGE",))
        sheet.link(1, 0, number, 0)

    graph = converted(sheet.saved(a_subgraph()))

    assert (graph["5:11"]["inputs"]["scale_by"], graph["6:11"]["inputs"]["scale_by"]) == (5.0, 6.0)


@pytest.mark.parametrize(("setter", "getter"), [("SetNode", "GetNode"), ("easy setNode", "easy getNode")])
def test_a_get_node_finds_the_set_node_of_its_name(setter: str, getter: str) -> None:
    sheet = Sheet()
    picture(sheet)
    sheet.node(2, setter, "frames", inputs=("IMAGE:IMAGE",), outputs=("*",))
    sheet.node(3, getter, "frames", outputs=("IMAGE",))
    sheet.link(1, 0, 2, 0)
    sheet.link(3, 0, 9, 0)

    assert converted(sheet.saved())["9"]["inputs"]["images"] == ["1", 0]


def problem_of(workflow: dict[str, Any]) -> tuple[str, str | None, str]:
    with pytest.raises(GraphError) as caught:
        converted(workflow)
    problem = caught.value.problems[0]
    return problem.kind, problem.node_id, problem.message


def test_a_get_node_without_its_set_node_is_named() -> None:
    sheet = Sheet()
    picture(sheet)
    sheet.node(3, "GetNode", "frames", outputs=("IMAGE",))
    sheet.link(3, 0, 9, 0)

    kind, node_id, message = problem_of(sheet.saved())

    assert (kind, node_id) == ("get_without_set", "3")
    assert "frames" in message


def test_an_unknown_class_is_named_with_both_ways_out() -> None:
    sheet = Sheet()
    picture(sheet)
    sheet.node(4, "SomebodysNode", 1, outputs=("IMAGE",), properties={"cnr_id": "somebodys", "ver": "1.2"})
    sheet.link(4, 0, 9, 0)

    kind, node_id, message = problem_of(sheet.saved())

    assert (kind, node_id) == ("missing_node_type", "4")
    assert "of the pack somebodys 1.2" in message
    assert "connect a farm" in message
    assert "Export (API)" in message


def test_an_unknown_class_needs_no_facts_when_the_file_names_its_values() -> None:
    sheet = Sheet()
    picture(sheet)
    sheet.node(
        4, "SomebodysNode", 7, "fixed", "lanczos",
        inputs=("image:IMAGE", "seed:INT:w", "method:COMBO:w"), outputs=("IMAGE",),
    )  # fmt: skip
    sheet.link(1, 0, 4, 0)
    sheet.link(4, 0, 9, 0)

    assert converted(sheet.saved())["4"]["inputs"] == {"seed": 7, "method": "lanczos", "image": ["1", 0]}


def test_an_unknown_class_that_is_linked_to_nothing_is_left_out_and_said() -> None:
    sheet = Sheet()
    picture(sheet)
    sheet.link(1, 0, 9, 0)
    sheet.node(4, "SomebodysClock", "12:00", "blue")

    made = convert(sheet.saved(), _KNOWN)

    assert set(made.graph) == {"1", "9"}
    assert "SomebodysClock" in made.notes[0]


def test_an_unknown_class_that_is_switched_off_does_no_harm() -> None:
    sheet = Sheet()
    picture(sheet)
    sheet.node(4, "SomebodysNode", 1, mode=2)
    sheet.node(5, "SomebodysOther", 1, mode=4)

    assert set(converted(sheet.saved())) == {"1", "9"}


@pytest.mark.parametrize(
    ("class_type", "words"),
    [
        ("workflow>My group", "group node"),
        ("84e2cf3f-de93-40ef-ab22-b9375296917b", "not in the file"),
    ],
)
def test_what_stands_for_other_nodes_is_refused_where_these_are_missing(class_type: str, words: str) -> None:
    sheet = Sheet()
    sheet.node(4, class_type, 1)

    _, node_id, message = problem_of(sheet.saved())

    assert node_id == "4"
    assert words in message


def test_values_of_another_version_of_a_node_are_refused_rather_than_shifted() -> None:
    sheet = Sheet()
    sheet.node(4, "EmptyImage", "lanczos", 64, 48, 1)

    with pytest.raises(GraphError) as caught:
        converted(sheet.saved())

    (problem,) = caught.value.problems
    assert (problem.kind, problem.node_id, problem.input_name) == ("shifted_values", "4", "width")


@pytest.mark.parametrize("mode", [True, "populate", "reproduce"])
@pytest.mark.parametrize("class_type", ["ImpactWildcardProcessor", "ImpactWildcardEncode"])
def test_a_wildcard_node_is_read_in_its_older_and_its_newer_form(class_type: str, mode: bool | str) -> None:
    wildcard = "Select the Wildcard to add to the text"
    rest = {
        "ImpactWildcardProcessor": [5, "randomize", wildcard],
        "ImpactWildcardEncode": ["Select the LoRA to add to the text", wildcard, 5, "randomize"],
    }
    sheet = Sheet()
    sheet.node(1, class_type, "__animal__ runs", "a fox runs", mode, *rest[class_type])

    inputs = converted(sheet.saved())["1"]["inputs"]

    assert (inputs["mode"], inputs["seed"], inputs["populated_text"]) == (mode, 5, "a fox runs")


def test_two_nodes_of_one_id_are_refused_by_both_their_classes() -> None:
    sheet = Sheet()
    picture(sheet)
    workflow = sheet.saved()
    workflow["nodes"].append({**workflow["nodes"][0], "type": "Other"})

    kind, node_id, message = problem_of(workflow)

    assert (kind, node_id) == ("duplicate_id", str(workflow["nodes"][0]["id"]))
    assert "Other" in message
