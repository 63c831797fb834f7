"""Previews, formats and metadata of the outputs."""

from __future__ import annotations

from typing import Any

import pytest

from comfy.judging.validation import validate
from comfy.rewrites.change import ChangeKind
from comfy.rewrites.metadata import METADATA
from comfy.rewrites.optimize import RewriteStatus, optimize
from comfy.rewrites.options import RewriteOptions
from comfy.rewrites.previews import PREVIEWS
from comfy.rewrites.video_format import MP4, NVENC
from tests.support.fleet import wan_graph
from tests.support.sites import a_site, nodes
from tests.support.tables import for_each

SILENT = nodes(
    VHS_VideoCombine={"required": {"images": ["IMAGE"], "format": [["video/h264-mp4", "image/gif"]]}}
)


def saved_by_vhs(**inputs: Any) -> dict[str, Any]:
    """The WAN graph with VideoHelperSuite's node at its end."""
    graph = wan_graph()
    del graph["61"], graph["60"]
    given = {
        "images": ["8", 0],
        "frame_rate": 16.0,
        "loop_count": 0,
        "filename_prefix": "clip",
        "pingpong": False,
        "save_output": True,
    }
    graph["60"] = {"class_type": "VHS_VideoCombine", "inputs": given | inputs}
    return graph


def a_preview(graph: dict[str, Any]) -> dict[str, Any]:
    return graph | {"70": {"class_type": "PreviewImage", "inputs": {"images": ["8", 0]}}}


def test_a_preview_beside_an_output_is_dropped() -> None:
    result = optimize(a_preview(wan_graph()), a_site(), rewrites=[PREVIEWS])

    assert dict(result.graph) == wan_graph()
    assert [(each.node_id, each.new) for each in result.changes] == [("70", None)]


def test_a_preview_that_is_all_there_is_stays() -> None:
    graph = a_preview(wan_graph())
    del graph["60"], graph["61"]

    assert optimize(graph, a_site(), rewrites=[PREVIEWS]).changes == ()


def test_a_clip_that_is_only_kept_for_a_moment_counts_as_a_preview() -> None:
    graph = saved_by_vhs(format="video/h264-mp4", save_output=False)
    graph["71"] = {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "still"}}

    assert "60" not in optimize(graph, a_site(), rewrites=[PREVIEWS]).graph


def test_nvenc_gives_way_to_x264_where_the_card_has_none() -> None:
    graph = saved_by_vhs(
        format="video/nvenc_h264-mp4", pix_fmt="p010le", bitrate=10, megabit=True, save_metadata=True
    )

    result = optimize(graph, a_site(nvenc=False), rewrites=[NVENC])

    inputs = result.graph["60"]["inputs"]
    assert inputs["format"] == "video/h264-mp4"
    assert (inputs["pix_fmt"], inputs["crf"]) == ("yuv420p10le", 19)
    assert not {"bitrate", "megabit"} & inputs.keys()


@pytest.mark.parametrize(("nvenc", "notes"), [(True, 0), (None, 1)])
def test_nvenc_stays_where_it_works_or_nothing_is_known(nvenc: bool | None, notes: int) -> None:
    graph = saved_by_vhs(format="video/nvenc_h264-mp4", bitrate=10)

    result = optimize(graph, a_site(nvenc=nvenc), rewrites=[NVENC])

    assert result.changes == ()
    assert sum(len(each.notes) for each in result.outcomes) == notes


VHS_FORMATS = nodes()["VHS_VideoCombine"].inputs[4].choices or ()


@for_each("accept", list(ChangeKind))
@for_each("nvenc", [True, None])
@for_each("chosen", VHS_FORMATS)
def test_a_clip_of_vhs_keeps_the_format_that_was_asked_for(
    chosen: str, nvenc: bool | None, accept: ChangeKind
) -> None:
    result = optimize(saved_by_vhs(format=chosen), a_site(nvenc=nvenc), accept=accept)

    saver = result.graph["60"]
    assert (saver["class_type"], saver["inputs"]["format"]) == ("VHS_VideoCombine", chosen)


@pytest.mark.parametrize("accept", list(ChangeKind))
@pytest.mark.parametrize(
    "class_type", ["SaveAnimatedWEBP", "SaveAnimatedPNG", "SaveWEBM", "SaveImage", "SaveVideo"]
)
def test_a_node_that_saves_stays_what_it_is(class_type: str, accept: ChangeKind) -> None:
    graph = wan_graph()
    saver = graph.pop("61")
    defaults = {each.name: each.default for each in nodes()[class_type].inputs if each.default is not None}
    source = {"video": saver["inputs"]["video"]} if class_type == "SaveVideo" else {"images": ["8", 0]}
    graph["61"] = {"class_type": class_type, "inputs": {**defaults, **source}}

    result = optimize(graph, a_site(), accept=accept)

    assert result.graph["61"] == graph["61"]


def test_animated_webp_of_core_becomes_a_video_and_stays_valid() -> None:
    graph = wan_graph()
    del graph["60"]
    graph["61"] = {
        "class_type": "SaveAnimatedWEBP",
        "inputs": {
            "images": ["8", 0],
            "filename_prefix": "clip",
            "fps": 16.0,
            "lossless": False,
            "quality": 90,
            "method": "default",
        },
    }

    result = optimize(graph, a_site(), options=RewriteOptions(mp4=True), rewrites=[MP4])

    saver = result.graph["61"]
    assert (saver["class_type"], saver["inputs"]["filename_prefix"]) == ("SaveVideo", "clip")
    assert result.graph[saver["inputs"]["video"][0]]["inputs"] == {"images": ["8", 0], "fps": 16.0}
    assert validate(result.graph, nodes()).ok


def test_animated_webp_stays_where_the_rate_is_more_than_a_video_takes() -> None:
    graph = wan_graph()
    del graph["60"]
    graph["61"] = {
        "class_type": "SaveAnimatedWEBP",
        "inputs": {"images": ["8", 0], "filename_prefix": "clip", "fps": 400.0, "lossless": False},
    }

    result = optimize(graph, a_site(), options=RewriteOptions(mp4=True), rewrites=[MP4])

    assert dict(result.graph) == graph
    assert result.outcomes[0].status is RewriteStatus.SKIPPED


def test_webp_of_vhs_becomes_h264_with_that_formats_inputs() -> None:
    graph = saved_by_vhs(format="image/webp", lossless=True)

    result = optimize(graph, a_site(), options=RewriteOptions(mp4=True), rewrites=[MP4])

    inputs = result.graph["60"]["inputs"]
    assert (inputs["format"], inputs["pix_fmt"], inputs["crf"]) == ("video/h264-mp4", "yuv420p", 19)
    assert "lossless" not in inputs


def test_the_prompt_stays_out_of_the_file_unless_it_is_wanted() -> None:
    graph = saved_by_vhs(format="video/h264-mp4", save_metadata=True)

    kept = optimize(graph, a_site(), options=RewriteOptions(keep_metadata=True), rewrites=[METADATA])
    out = optimize(graph, a_site(), rewrites=[METADATA])

    assert kept.changes == ()
    assert out.graph["60"]["inputs"]["save_metadata"] is False


def test_an_absent_save_metadata_is_written_only_where_the_format_has_it() -> None:
    graph = saved_by_vhs(format="video/h264-mp4")

    told = optimize(graph, a_site(), rewrites=[METADATA])
    not_told = optimize(graph, a_site(definitions=SILENT), rewrites=[METADATA])

    assert told.graph["60"]["inputs"]["save_metadata"] is False
    assert not_told.changes == ()


@pytest.mark.parametrize(("wanted", "writes", "notes"), [(True, False, 1), (False, True, 0), (True, True, 0)])
def test_where_a_flag_of_comfyui_decides_a_job_is_told(wanted: bool, writes: bool, notes: int) -> None:
    result = optimize(
        wan_graph(),
        a_site(writes_metadata=writes),
        options=RewriteOptions(keep_metadata=wanted),
        rewrites=[METADATA],
    )

    assert sum(len(each.notes) for each in result.outcomes) == notes
