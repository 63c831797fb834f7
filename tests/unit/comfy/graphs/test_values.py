"""Where a value is really set: through primitives, reroutes, switches and formulas."""

from __future__ import annotations

from typing import Any

import pytest

from comfy.graphs.arithmetic import evaluate
from comfy.graphs.values import literal, running, setting, untaken, whole_of
from tests.support.wan_graphs import Graph, node


def behind(*nodes: dict[str, Any], value: Any) -> Graph:
    """A sampler whose steps are this value, and nodes "1", "2", … that it may lead to."""
    graph = {str(number): each for number, each in enumerate(nodes, 1)}
    return graph | {"9": node("KSampler", steps=value)}


@pytest.mark.parametrize(
    ("graph", "value", "input_path"),
    [
        (behind(value=20), 20, "9.steps"),
        (behind(node("PrimitiveInt", value=8), value=["1", 0]), 8, "1.value"),
        (
            behind(node("Reroute", **{"": ["2", 0]}), node("INTConstant", value=6), value=["1", 0]),
            6,
            "2.value",
        ),
        (behind(node("WanVideoScheduler", steps=4, shift=8.0), value=["1", 1]), 4, "1.steps"),
        (behind(node("LazySwitchKJ", switch=False, on_false=3, on_true=4), value=["1", 0]), 3, "1.on_false"),
        (behind(node("StringConstant", string="many"), value=["1", 0]), "many", "1.string"),
    ],
    ids=["itself", "primitive", "reroute", "by-output", "switch", "text"],
)
def test_a_value_is_found_at_the_end_of_its_links(graph: Graph, value: Any, input_path: str) -> None:
    found = setting(graph, "9", "steps")

    assert found is not None
    assert (found.value, str(found.set_at), found.is_computed) == (value, input_path, False)
    assert str(found.asked) == "9.steps"


@pytest.mark.parametrize(
    ("graph", "value", "source"),
    [
        (behind(node("GetImageSize"), value=["1", 0]), None, "1"),
        (behind(node("SimpleCalculatorKJ", expression="(2 + 3) * 4"), value=["1", 1]), 20, "1"),
        (behind(node("SimpleCalculatorKJ", expression="7 / 2"), value=["1", 0]), 3.5, "1"),
        (behind(node("SimpleCalculatorKJ", expression="7 / 2"), value=["1", 1]), 3, "1"),
        (behind(node("SimpleCalculatorKJ", expression="9 ** 9"), value=["1", 1]), None, "1"),
        (
            behind(node("ComfySwitchNode", switch=["2", 0], on_true=1), node("Coin"), value=["1", 0]),
            None,
            "1",
        ),
        (behind(node("Reroute", x=["2", 0]), node("Reroute", x=["1", 0]), value=["1", 0]), None, "2"),
    ],
    ids=["another-node", "formula", "as-float", "as-int", "power", "unknown-switch", "circle"],
)
def test_a_value_that_a_node_makes_says_which(graph: Graph, value: Any, source: str) -> None:
    found = setting(graph, "9", "steps")

    assert found is not None
    assert (found.value, found.is_computed) == (value, True)
    assert found.source_id == source


def resized(**inputs: Any) -> Graph:
    """A sampler's width that is read from a picture, which was made so wide before."""
    return {
        "1": node("LoadImage", image="a.png"),
        "2": node("INTConstant", value=832),
        "3": node("ImageResizeKJv2", image=["1", 0], width=["2", 0], height=480, divisible_by=16, **inputs),
        "4": node("GetImageSizeAndCount", image=["3", 0]),
        "5": node("WanVideoImageToVideoMultiTalk", width=["4", 1], height=["4", 2]),
    }


def test_the_size_of_a_picture_is_found_where_the_picture_was_made_so_large() -> None:
    width = setting(resized(keep_proportion="crop"), "5", "width")
    height = setting(resized(keep_proportion="stretch"), "5", "height")

    assert width is not None
    assert height is not None
    assert (str(width.set_at), width.value, width.is_computed) == ("2.value", 832, False)
    assert (str(height.set_at), height.value) == ("3.height", 480)


@pytest.mark.parametrize(
    "graph",
    [
        resized(keep_proportion="resize"),
        resized(keep_proportion="crop") | {"2": node("INTConstant", value=0)},
        resized(keep_proportion="crop") | {"4": node("GetImageSizeAndCount", image=["1", 0])},
    ],
    ids=["keeps-proportions", "from-the-file", "not-resized"],
)
def test_a_size_that_depends_on_the_picture_itself_is_not_guessed(graph: Graph) -> None:
    width = setting(graph, "5", "width")

    assert width is not None
    assert (width.value, width.source_id) == (None, "4")


def test_a_size_that_is_rounded_is_known_and_said_to_be_computed() -> None:
    width = setting(resized(keep_proportion="crop") | {"2": node("INTConstant", value=830)}, "5", "width")

    assert width is not None
    assert (width.value, width.source_id) == (816, "4")


@pytest.mark.parametrize("keeps", ["resize", "pad"])
def test_a_picture_that_keeps_its_proportions_is_no_larger_than_its_frame(keeps: str) -> None:
    width = setting(resized(keep_proportion=keeps), "5", "width")

    assert width is not None
    assert (width.value, width.at_most) == (None, 832)


@pytest.mark.parametrize(
    ("maker", "slot", "value"),
    [
        (node("easy int", value=8), 0, 8),
        (node("easy mathInt", a=4, b=2, operation="multiply"), 0, 8),
        (node("easy mathInt", a=4, b=2, operation="power"), 0, None),
        (node("easy ifElse", boolean=True, on_true=8, on_false=4), 0, 8),
        (node("easy anythingIndexSwitch", index=1, value0=4, value1=8), 0, 8),
        (node("easy simpleMath", value="a * 2", a=4), 0, 8),
        (node("SimpleMath+", value="(a + b) / 2", a=10, b=6), 0, 8),
        (node("SimpleMath+", value="a / 2", a=9), 1, 4.5),
        (node("SimpleMathInt+", value=8), 0, 8),
        (node("MathExpression|pysssss", expression="a * b", a=2, b=4), 0, 8),
        (node("ReroutePrimitive|pysssss", value=8), 0, 8),
        (node("Integer Switch (JPS)", select=2, int_1=4, int_2=8), 0, 8),
        (node("Multiply Int Int (JPS)", int_a=2, int_b=4), 0, 8),
        (node("Largest Int (JPS)", int_a=2, int_b=8), 0, 8),
        (node("Resolution Multiply (JPS)", width=4, height=3, factor=2), 1, 6),
        (node("mxSlider", Xi=8, Xf=8.5, isfloatX=0), 0, 8),
        (node("mxSlider", Xi=8, Xf=8.5, isfloatX=1), 0, 8.5),
        (node("mxSlider2D", Xi=1, Xf=1.0, Yi=8, Yf=8.0, isfloatX=0, isfloatY=0), 1, 8),
        (node("mxSeed", X=8), 0, 8),
        (node("Seed (rgthree)", seed=8), 0, 8),
        (node("Any Switch (rgthree)", any_02=8, any_03=4), 0, 8),
        (node("Text Prompt (JPS)", text="a fox"), 0, "a fox"),
        (node("ResolutionMaster", auto_detect=False, width=8, height=4), 0, 8),
        (node("ResolutionMaster", auto_detect=True, width=8, height=4), 0, None),
        # Of nobody knows which pack: the one input of a node that is called after what it holds.
        (node("Int", Number="8"), 0, "8"),
        (node("SomePack.Float", x=8.5), 0, 8.5),
        (node("Text Multiline", text="a fox"), 0, "a fox"),
        (node("Int", Number="8"), 1, None),
        (node("RandomInt", most=8, least=1), 0, None),
        (node("Printer", most=8), 0, None),
    ],
)
def test_constants_switches_and_maths_of_other_packs_are_followed(
    maker: dict[str, Any], slot: int, value: Any
) -> None:
    assert literal(behind(maker, value=["1", slot]), "9", "steps") == value


@pytest.mark.parametrize(
    ("switch", "value"),
    [
        (node("ImpactSwitch", select=2, sel_mode=False, input1=4, input2=8), 8),
        (node("ImpactConditionalBranch", cond=False, tt_value=4, ff_value=8), 8),
        (node("ImpactInversedSwitch", select=1, input=8), 8),
        (node("Any Switch (rgthree)", any_02=8, any_03=4), 8),
        (node("easy ifElse", boolean=True, on_true=8, on_false=4), 8),
        (node("easy anythingIndexSwitch", index=1, value0=4, value1=8), 8),
        (node("easy anythingInversedSwitch", index=0, **{"in": 8}), 8),
        (node("Switch any [Crystools]", on_true=4, on_false=8, boolean=False), 8),
        (node("LayerUtility: If ", if_condition=True, when_TRUE=8, when_FALSE=4), 8),
        (node("Text Input Switch", text_a="a", text_b="b", boolean=False), "b"),
        (node("CR Model Input Switch", Input=2, model1=4, model2=8), 8),
        (node("Model Switch (JPS)", select=1, model_1=8, model_2=4), 8),
        (node("If ANY execute A else B", ANY=False, IF_TRUE=4, IF_FALSE=8), 8),
        (node("SimpleCondition+", evaluate=True, on_true=8), 8),
        (node("FL_Switch", switch=True, on_false=4, on_true=8), 8),
        (node("ImpactSwitch", select=["8", 0], input1=4, input2=8), None),
        (node("ImpactSwitch", select=3, input1=4, input2=8), None),
        (node("easy ifElse", boolean=["8", 0], on_true=8, on_false=4), None),
        (node("LayerUtility: SwitchCase", switch_condition="a", case_1="a", input_1=4), None),
    ],
)
def test_a_switch_hands_on_what_its_position_says_and_nothing_where_that_is_not_known(
    switch: dict[str, Any], value: Any
) -> None:
    assert literal(behind(switch, value=["1", 0]), "9", "steps") == value


@pytest.mark.parametrize(
    ("maker", "slot", "at_most"),
    [
        (node("ImageScaleToTotalPixelsX", image=["8", 0], megapixels=1.0), 1, 1000),
        (node("WanVideoImageResizeToClosest", generation_width=400, generation_height=900), 2, 600),
        (node("WanVideoImageResizeToClosest", generation_width=["8", 3]), 2, None),
        (node("VHS_LoadVideo", video="a.mp4", frame_load_cap=81), 1, 81),
        (node("VHS_LoadVideo", video="a.mp4", frame_load_cap=0), 1, None),
    ],
)  # fmt: skip
def test_what_follows_from_a_picture_or_a_video_has_a_bound(
    maker: dict[str, Any], slot: int, at_most: int | None
) -> None:
    found = setting(behind(maker, value=["1", slot]), "9", "steps")

    assert found is not None
    assert (found.value, found.at_most) == (None, at_most)


def test_a_side_is_bounded_by_the_area_that_its_picture_was_scaled_to() -> None:
    graph = resized() | {"4": node("GetImageSize", image=["6", 0])}
    graph["6"] = node("ImageScaleToTotalPixels", image=["1", 0], megapixels=0.25)
    graph["5"]["inputs"]["width"] = ["4", 0]

    width = setting(graph, "5", "width")

    assert width is not None
    assert (width.value, width.at_most) == (None, 512)


@pytest.mark.parametrize(
    ("maker", "width"),
    [
        (node("ImageScale", image=["8", 0], width=832, height=480, crop="center"), 832),
        (node("ImageScale", image=["8", 0], width=0, height=480, crop="center"), None),
        (node("ImageCrop", image=["8", 0], width=832, height=480, x=0, y=0), 832),
        (node("Crop Image TargetSize (JPS)", image=["8", 0], target_w=832, target_h=480), 832),
        (node("ImageResize+", image=["8", 0], width=840, height=480, method="pad", multiple_of=16), 832),
        (node("Image Resize (rgthree)", image=["8", 0], width=832, height=480, fit="contain"), None),
        (node("ImageFlip+", image=["7", 0]), 640),
        (node("Sharper", image=["7", 0]), None),
        (node("ImageScaleBy", image=["7", 0], upscale_method="area", scale_by=1.3), 832),
        (node("ImageScaleBy", image=["7", 0], upscale_method="area", scale_by=["3", 0]), None),
        (node("ImageScaleBy", image=["8", 0], upscale_method="area", scale_by=2.0), None),
        (node("ImagePadKJ", image=["7", 0], left=64, right=32, top=0, bottom=0, extra_padding=8), 752),
        (node("ImagePadKJ", image=["8", 0], left=0, target_width=832, target_height=480), 832),
        (node("ImagePadForOutpaint", image=["7", 0], left=64, right=0, top=9, bottom=9), 704),
        (node("ImageResizeKJv2", image=["7", 0], width=0, height=480, keep_proportion="stretch"), 640),
        (node("ImageResizeKJv2", image=["7", 0], width=0, height=480, keep_proportion="resize"), None),
    ],
)
def test_the_size_of_a_picture_is_followed_through_crops_and_resizes(
    maker: dict[str, Any], width: int | None
) -> None:
    graph = {
        "7": node("EmptyImage", width=640, height=640),
        "8": node("LoadImage", image="a.png"),
        "1": maker,
        "2": node("GetImageSize+", image=["1", 0]),
        "9": node("WanImageToVideo", width=["2", 0]),
    }

    assert literal(graph, "9", "width") == width


@pytest.mark.parametrize(("value", "whole"), [(81, 81), ("81", 81), (81.0, 81), ("8.5", None), (True, None)])
def test_a_whole_number_may_be_written_in_several_ways(value: Any, whole: int | None) -> None:
    found = setting(behind(value=value), "9", "steps")

    assert found is not None
    assert found.whole == whole


def test_an_input_that_is_missing_has_no_setting() -> None:
    assert setting(behind(value=1), "9", "cfg") is None
    assert setting(behind(value=1), "404", "cfg") is None
    assert literal(behind(value=1), "9", "cfg") is None


def test_the_branch_that_a_switch_leaves_out_does_not_run() -> None:
    graph = {
        "1": node("LoadImage", image="a.png"),
        "2": node("LoadImage", image="b.png"),
        "3": node("ComfySwitchNode", switch=True, on_false=["1", 0], on_true=["2", 0]),
        "4": node("SaveImage", images=["3", 0]),
    }

    assert untaken(graph, "3") == "on_false"
    assert running(graph, ["4"]) == {"2", "3", "4"}


def test_formulas_nested_by_the_thousand_are_given_up_quickly() -> None:
    graph: Graph = {"0": node("INTConstant", value=1)}
    for number in range(1, 1500):
        below = [str(number - 1), 1]
        graph[str(number)] = node(
            "ComfyMathExpression", **{"expression": "a + b", "values.a": below, "values.b": below}
        )
    graph["9000"] = node("KSampler", steps=["1499", 1])

    assert literal(graph, "9000", "steps") is None


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("floor (a * b + 1)", 81),
        ("-a + 2", -3.0),
        ("max(a, b) // 3", 5.0),
        ("a if b else 1", None),
        ("().__class__", None),
        ("a.real", None),
        ("round(a, ndigits=1)", None),
        ("1 / 0", None),
        ("c", None),
        ("", None),
        ("1e308 * 10", None),
        ("+".join("1" * 300), None),
        ("a +", None),
    ],
)
def test_a_formula_is_worked_out_or_left_alone(formula: str, value: float | None) -> None:
    assert evaluate(formula, {"a": 5.0, "b": 16.0}) == value


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *((81, 81), (81.0, 81), (" 81 ", 81), (2**64 - 1, 2**64 - 1), (-1, -1)),
        *((1e308, None), (10**400, None), ("9" * 400, None), (float("inf"), None), (1.5, None), (True, None)),
    ],
)
def test_a_whole_number_is_one_that_an_input_can_take(value: Any, number: int | None) -> None:
    assert whole_of(value) == number
