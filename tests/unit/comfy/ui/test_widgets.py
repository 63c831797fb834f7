from __future__ import annotations

from typing import Any

import pytest

from comfy.node_defs.definitions import NodeDef, parse_node, shipped_definitions
from comfy.node_defs.later_inputs import earlier_forms
from comfy.ui.widgets import Saved, ShiftedValuesError, read_widgets, read_without_definition

_KNOWN = shipped_definitions()


def widget_values(node: NodeDef, saved: Any) -> dict[str, Any]:
    return read_widgets(node, Saved(values=saved)).values


def a_node(required: dict[str, Any], optional: dict[str, Any] | None = None) -> NodeDef:
    return parse_node("Node", {"input": {"required": required, "optional": optional or {}}, "output": []})


@pytest.mark.parametrize("control", ["fixed", "randomize", "increment", "decrement"])
def test_what_the_editor_does_with_a_seed_is_no_value(control: str) -> None:
    saved = [42, control, 20, 3.5, "euler", "simple", 1.0]

    values = widget_values(_KNOWN["KSampler"], saved)

    assert values == {
        "seed": 42, "steps": 20, "cfg": 3.5, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0,
    }  # fmt: skip


def test_a_seed_without_a_control_is_read_as_well() -> None:
    assert widget_values(_KNOWN["KSampler"], [42, 20, 3.5, "euler", "simple", 1.0])["steps"] == 20


def test_the_button_of_an_upload_is_no_value() -> None:
    assert widget_values(_KNOWN["LoadImage"], ["start.png", "image"]) == {"image": "start.png"}


def test_missing_values_are_those_of_a_new_node() -> None:
    values = widget_values(_KNOWN["RIFE VFI"], ["rife47.pth", 10, 2, True, True, 1])

    assert (values["multiplier"], values["dtype"], values["batch_size"]) == (2, "float32", 1)


@pytest.mark.parametrize("value", ["a fox", "", 5, 0, 2.5, True, False])
def test_one_value_instead_of_a_list_is_taken_and_said(value: Any) -> None:
    node = a_node({"text": ["STRING"]})

    read = read_widgets(node, Saved(values=value))

    assert read.values == {"text": value}
    assert "list of one" in read.notes[0]


def test_sockets_and_forced_inputs_take_no_value() -> None:
    node = a_node({"image": ["IMAGE"], "width": ["INT", {"forceInput": True}], "height": ["INT"]})

    assert widget_values(node, [48]) == {"height": 48}


def test_a_value_that_an_older_editor_saved_of_a_socket_is_left_out() -> None:
    node = a_node({"text": ["STRING", {"forceInput": True}], "height": ["INT"], "batch": ["INT"]})

    assert widget_values(node, ["", 48, 1]) == {"height": 48, "batch": 1}


def test_a_value_that_the_file_itself_names_is_taken_as_the_server_casts_it() -> None:
    node = a_node({"tile": ["INT"], "overlap": ["INT"], "compatible": ["BOOLEAN"]})
    slots = [("tile", "INT"), ("overlap", "INT"), ("compatible", "BOOLEAN")]

    read = read_widgets(node, Saved(values=[512, 64, 81], slots=slots))

    assert read.values == {"tile": 512, "overlap": 64, "compatible": 81}
    assert any("81 is a number, which ComfyUI takes for true" in note for note in read.notes)
    with pytest.raises(ShiftedValuesError, match="compatible"):
        widget_values(node, [512, 64, 81])


@pytest.mark.parametrize("saved", [None, []])
def test_a_node_of_which_the_file_has_no_value_is_said(saved: Any) -> None:
    read = read_widgets(_KNOWN["EmptyImage"], Saved(values=saved))

    assert read.values == {"width": 512, "height": 512, "batch_size": 1, "color": 0}
    assert read.notes == (
        "the file has no value of it, so they are a new node's: width, height, batch_size, color",
    )


@pytest.mark.parametrize(
    ("saved", "words"),
    [
        (Saved(values=[64, 48]), "ends before"),
        (Saved(values={"width": 64, "height": 48}), "does not name"),
        (Saved(values=[64, 48], named={"width": 64, "height": 48}), "does not name"),
    ],
)
def test_values_that_the_file_lacks_are_said_however_it_keeps_them(saved: Saved, words: str) -> None:
    read = read_widgets(_KNOWN["EmptyImage"], saved)

    assert read.values == {"width": 64, "height": 48, "batch_size": 1, "color": 0}
    assert read.notes == (f"the file {words} these values, so they are a new node's: batch_size, color",)


def test_a_seed_without_a_control_is_said_to_be_a_programs() -> None:
    read = read_widgets(_KNOWN["KSampler"], Saved(values=[42, 20, 3.5, "euler", "simple", 1.0]))

    assert any(note.startswith("seed: no control") for note in read.notes)


def test_a_dynamic_list_of_choices_is_followed_by_its_own_widgets() -> None:
    values = widget_values(_KNOWN["StartLoop"], ["For", 2, 6, 1, True])

    assert values == {
        "mode": "For",
        "mode.start_iteration_index": 2,
        "mode.max_iteration": 6,
        "mode.step": 1,
        "cache_iterations": True,
    }


def test_values_by_name_bring_those_of_their_video_format() -> None:
    saved = {
        "frame_rate": 16, "loop_count": 0, "filename_prefix": "clip", "format": "video/h264-mp4",
        "pix_fmt": "yuv420p", "crf": 17, "pingpong": False, "save_output": True,
        "videopreview": {"hidden": False, "params": {"filename": "clip_00001.mp4"}},
    }  # fmt: skip

    values = widget_values(_KNOWN["VHS_VideoCombine"], saved)

    assert (values["crf"], values["pix_fmt"], values["save_metadata"]) == (17, "yuv420p", True)
    assert "videopreview" not in values


def test_a_list_of_chosen_values_is_not_taken_for_a_link() -> None:
    node = a_node({"which": ["COMBO", {"options": ["a", "b"], "multiselect": True}]})

    assert widget_values(node, [["a", "b"]]) == {"which": {"__value__": ["a", "b"]}}


@pytest.mark.parametrize(
    ("kind", "saved", "sent"),
    [
        ("BOUNDING_BOX", [{"x": 8, "y": 0, "width": 9, "height": 5}, 8, 0, 9, 5], None),
        ("BOUNDING_BOXES", [[]], {"__value__": []}),
        ("COLORS", [["#ffffff", "#000000"]], {"__value__": ["#ffffff", "#000000"]}),
        ("CURVE", [{"points": []}], {"__type__": "CURVE", "__value__": {"points": []}}),
        ("RANGE", [{"min": 0, "max": 1}], None),
        ("COMPOSITOR", [{}], None),
    ],
)
def test_what_is_drawn_in_the_editor_is_a_value_like_any_other(
    kind: str, saved: list[Any], sent: Any
) -> None:
    node = a_node({"drawn": [kind, {"socketless": True}], "steps": ["INT"]})

    assert widget_values(node, [*saved, 20]) == {
        "drawn": saved[0] if sent is None else sent,
        "steps": 20,
    }


@pytest.mark.parametrize(
    ("saved", "index"),
    [(["Turbo", 2, "Quality", "Turbo", ""], 1), (["Turbo", "Quality", "Turbo", ""], 1)],
)
def test_a_list_of_the_users_own_choices_gives_choice_number_and_choices(
    saved: list[Any], index: int
) -> None:
    assert widget_values(_KNOWN["CustomCombo"], saved) == {
        "choice": "Turbo", "index": index, "option1": "Quality", "option2": "Turbo", "option3": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        (["INT"], "lanczos"),
        (["INT"], "0.5"),
        (["FLOAT"], ""),
        (["FLOAT"], {"on": True}),
        (["BOOLEAN"], "fixed"),
        ([["euler", "unipc"]], 5),
    ],
)
def test_a_value_that_cannot_be_the_inputs_is_refused(spec: list[Any], value: Any) -> None:
    with pytest.raises(ShiftedValuesError, match="thing"):
        widget_values(a_node({"thing": spec}), [value])


@pytest.mark.parametrize(
    ("spec", "value", "words"),
    [
        (["BOOLEAN"], "", "takes for false"),
        (["BOOLEAN"], "True", "takes for true"),
        (["BOOLEAN"], "False", "takes for true"),
        (["INT"], "81", "takes it for 81"),
        (["INT"], 80.5, "takes it for 80"),
        (["INT"], True, "takes it for 1"),
        (["FLOAT"], "3.5", "takes it for 3.5"),
    ],
)
def test_what_the_server_casts_is_taken_as_it_stands_and_said(
    spec: list[Any], value: Any, words: str
) -> None:
    read = read_widgets(a_node({"thing": spec}), Saved(values=[value]))

    assert read.values == {"thing": value}
    assert words in "\n".join(read.notes)


@pytest.mark.parametrize(
    ("spec", "value"), [(["INT"], 81.0), (["BOOLEAN"], 1), (["STRING"], 7), (["FLOAT"], 5)]
)
def test_what_only_looks_different_is_not_worth_a_word(spec: list[Any], value: Any) -> None:
    assert read_widgets(a_node({"thing": spec}), Saved(values=[value])).notes == ()


_NOW: dict[str, Any] = {"steps": ["INT"], "cfg": ["FLOAT"], "name": ["STRING"]}


def test_values_of_an_older_node_are_read_by_the_names_in_the_file() -> None:
    slots = [("steps", "INT"), ("mode", "COMBO"), ("cfg", "FLOAT"), ("name", "STRING")]

    read = read_widgets(a_node(_NOW), Saved(values=[8, "fast", 3.5, "fox"], slots=slots))

    assert read.values == {"steps": 8, "cfg": 3.5, "name": "fox"}
    assert "left out: mode" in read.notes[0]


def test_values_that_would_be_shifted_without_a_trace_are_read_by_name_too() -> None:
    slots = [("steps", "INT"), ("name", "STRING")]
    node = a_node({"steps": ["INT"], "seed_mode": ["STRING", {"default": "x"}], "name": ["STRING"]})

    read = read_widgets(node, Saved(values=[8, "fox"], slots=slots))

    assert read.values == {"steps": 8, "seed_mode": "x", "name": "fox"}
    assert "by default: seed_mode" in read.notes[0]


def test_names_saved_beside_the_list_count_before_its_order() -> None:
    named = {"name": "fox", "steps": 8, "cfg": 3.5, "control_after_generate": "fixed"}

    assert read_widgets(a_node(_NOW), Saved(values=["fox", 8, "fixed", 3.5], named=named)).values == {
        "steps": 8, "cfg": 3.5, "name": "fox",
    }  # fmt: skip


def test_shifted_values_without_names_are_refused_with_both_readings() -> None:
    with pytest.raises(ShiftedValuesError) as caught:
        widget_values(a_node(_NOW), ["fox", 8, 3.5])

    assert "In the file: 'fox', 8, 3.5" in str(caught.value)
    assert "steps='fox', cfg=8, name=3.5" in str(caught.value)


@pytest.mark.parametrize(
    ("values", "slots", "named"),
    [
        ([7, "fixed", "fox"], [("seed", "INT"), ("name", "STRING")], {"seed": 7, "name": "fox"}),
        ({"seed": 7, "control_after_generate": "fixed"}, [], {"seed": 7}),
        (["a.png", "image"], [("image", "COMBO")], {"image": "a.png"}),
        ([], [], {}),
        ([7, "fox"], [("seed", "INT")], None),
        ([7], [("seed", "INT"), ("name", "STRING")], None),
        (["fox", 7], [("seed", "INT"), ("name", "STRING")], None),
    ],
)
def test_a_node_that_nobody_knows_is_read_where_the_file_names_all_its_values(
    values: Any, slots: list[tuple[str, str]], named: dict[str, Any] | None
) -> None:
    assert read_without_definition(Saved(values=values, slots=slots)) == named


def test_values_are_read_by_the_form_of_the_node_that_they_fill() -> None:
    # As WanVideoWrapper's sampler was in spring 2025, with sockets that it has no more.
    saved = [12, 3.0, 7.0, 853, "randomize", True, "unipc", 0, 1, "", "comfy", ""]
    sockets = frozenset({"model", "image_embeds", "teacache_args"})

    found = read_widgets(
        _KNOWN["WanVideoSampler"],
        Saved(values=saved, sockets=sockets),
        lambda: earlier_forms("WanVideoSampler"),
    )

    assert (found.values["scheduler"], found.values["denoise_strength"]) == ("unipc", 1)
    assert (found.values["seed"], found.values["rope_function"]) == (853, "comfy")
    assert "another version" in found.notes[0]


def test_forms_that_read_the_same_values_otherwise_are_not_chosen_between() -> None:
    node = a_node({"size": ["INT"]})
    forms = [a_node({"first": ["INT"], "second": ["INT"]}), a_node({"second": ["INT"], "first": ["INT"]})]

    of_both = read_widgets(node, Saved(values=[7, 8]), lambda: forms)
    of_the_shown = read_widgets(
        a_node({"second": ["INT"]}), Saved(values=[7, 8], sockets=frozenset({"third"})), lambda: [
            forms[0], a_node({"second": ["INT"], "first": ["INT"]}, {"third": ["IMAGE"]}),
        ],
    )  # fmt: skip

    assert of_both.values == {"size": 7}
    assert of_the_shown.values == {"second": 7}


@pytest.mark.parametrize("picture", ["<img src='data:image/png;base64,iVBOR", "data:image/webp;base64,UklG"])
def test_what_a_view_of_the_editor_showed_is_no_value(picture: str) -> None:
    node = a_node({"steps": ["INT"]}, {"enhance": ["BOOLEAN", {"default": False}]})

    assert widget_values(node, [4, picture]) == {"steps": 4, "enhance": False}


def test_a_list_that_ends_early_is_told() -> None:
    found = read_widgets(_KNOWN["KSampler"], Saved(values=[42, "fixed", 20, 3.5, "euler"]))

    assert found.values["denoise"] == 1.0
    assert "scheduler, denoise" in found.notes[0]


def test_a_number_is_no_truth_but_of_another_widget() -> None:
    node = a_node({"keep": ["BOOLEAN"], "steps": ["INT"]})

    assert widget_values(node, [1, 20]) == {"keep": 1, "steps": 20}
    with pytest.raises(ShiftedValuesError, match="keep=25"):
        widget_values(node, [25, 50])


def test_values_that_all_could_be_cast_and_none_was_saved_so_are_shifted() -> None:
    node = a_node({"source": [["size", "latent"]], "width": ["INT"]})

    assert widget_values(node, ["size", 1.5]) == {"source": "size", "width": 1.5}
    assert widget_values(node, ["ratio", 2]) == {"source": "ratio", "width": 2}
    with pytest.raises(ShiftedValuesError):
        widget_values(node, ["ratio", 1.5])


def test_values_that_leave_out_linked_inputs_are_read_past_these() -> None:
    node = a_node({"width": ["INT"], "method": [["lanczos", "area"]], "height": ["INT"], "crop": ["BOOLEAN"]})
    linked = frozenset({"width", "height"})

    read = read_widgets(node, Saved(values=["area", True], sockets=linked, linked=linked))

    assert (read.values["method"], read.values["crop"]) == ("area", True)
    assert "another version" in read.notes[0]


def test_values_that_do_not_fit_past_linked_inputs_either_are_refused() -> None:
    linked = frozenset({"steps"})

    with pytest.raises(ShiftedValuesError):
        read_widgets(a_node(_NOW), Saved(values=["fox", "cub", 3.5], sockets=linked, linked=linked))
