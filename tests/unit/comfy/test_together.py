"""Values that belong together move along when one is set, or it is said that they do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from comfy.wan.roles import Stage, find_roles
from farm.asking.building import Built, build_graph
from farm.asking.graphs import roles_of
from tests.support.wan_graphs import Graph

GRAPHS = Path(__file__).parents[2] / "data" / "graphs"
CORPUS = Path(__file__).parents[2] / "data" / "corpus"


def a_graph(name: str) -> Graph:
    graph: Graph = json.loads((GRAPHS / f"{name}.json").read_text(encoding="utf-8"))
    return graph


def built(source: Graph | Path, **parameters: Any) -> Built:
    return build_graph(source, parameters, {})


def hand_overs(stages: tuple[Stage, ...]) -> list[tuple[int, int]]:
    """Where each stage of several begins or ends within its steps, and how many these are."""
    found = [(stage.whole(name), stage.whole("steps")) for stage in stages for name in ("start", "end")]
    return [(at, steps) for at, steps in found if at and steps and 0 < at <= steps]


TWO_STAGES = [
    *(GRAPHS / f"{name}.json" for name in ("core_t2v_a14b", "core_i2v_six_steps_dotted_codec")),
    GRAPHS / "wrapper_i2v_a14b_context_windows.ui.json",
    *(CORPUS / f"{name}.json" for name in ("sampler_in_three_stages", "group_of_2_core_t2v_a14b")),
    *(
        CORPUS / f"{name}.json"
        for name in ("constant_kj_int", "reroute_mx_latent", "plain_older_core_flf2v_lightning")
    ),
]


@pytest.mark.parametrize("path", TWO_STAGES, ids=lambda path: path.stem)
def test_twice_the_steps_move_the_hand_over_to_twice_the_step(path: Path) -> None:
    before = roles_of(build_graph(path, {}, {}).graph)
    steps = before.value("steps")

    after = built(path, steps=2 * steps)

    expected = [(2 * at, 2 * of) for at, of in hand_overs(before.stages)]
    assert expected
    assert hand_overs(roles_of(after.graph).stages) == expected
    assert any("the stages hand over at step" in note for note in after.notes)


def test_steps_that_are_set_at_one_node_say_what_stays_behind() -> None:
    notes = built(a_graph("core_t2v_a14b"), **{"57.steps": 8}).notes

    assert any("node 58 still counts 20 steps" in note for note in notes), notes
    assert any("57.end_at_step stays 10" in note and "`steps=8`" in note for note in notes), notes


def test_who_sets_all_of_it_by_hand_is_told_nothing() -> None:
    values = {"57.steps": 8, "58.steps": 8, "57.end_at_step": 4, "58.start_at_step": 4}

    notes = built(a_graph("core_t2v_a14b"), **values).notes

    assert notes == ("the stages hand over at step 4 of 8 (10 of 20 before)",)


def test_a_frame_rate_alone_says_that_the_clip_plays_faster() -> None:
    graph = a_graph("core_t2v_a14b")

    assert built(graph, fps=32).notes == (
        "81 frames stay and play 2 times as fast, at 32 fps for 16; `frames=161` keeps the clip's length",
    )
    assert built(graph, fps=32, frames=161).notes == ()
    assert built(graph, frames=33).notes == ()


def resized_i2v(width: int, height: int) -> Graph:
    """The start picture is scaled to a size before the clip's node gets it."""
    graph = a_graph("core_i2v_a14b_lightning")
    clip = find_roles(graph).sizes[0]
    picture = graph[clip.node_id]["inputs"]["start_image"]
    scale = {
        "image": picture,
        "upscale_method": "lanczos",
        "width": width,
        "height": height,
        "crop": "center",
    }
    graph["900"] = {"class_type": "ImageScale", "inputs": scale}
    graph[clip.node_id]["inputs"]["start_image"] = ["900", 0]
    return graph


def test_a_start_picture_that_is_scaled_to_the_clips_size_is_scaled_to_the_new_one() -> None:
    roles = find_roles(a_graph("core_i2v_a14b_lightning"))
    graph = resized_i2v(roles.value("width"), roles.value("height"))

    made = built(graph, width=480, height=832).graph

    assert (made["900"]["inputs"]["width"], made["900"]["inputs"]["height"]) == (480, 832)


def test_a_start_picture_that_is_scaled_to_another_size_keeps_it() -> None:
    made = built(resized_i2v(1024, 1024), width=480, height=832).graph

    assert (made["900"]["inputs"]["width"], made["900"]["inputs"]["height"]) == (1024, 1024)
