"""Limits of size, length, frame rate and interpolation: the clip stays as long, in its own proportions."""

from __future__ import annotations

from typing import Any

import pytest

from comfy.judging.validation import validate
from comfy.rewrites.change import ChangeKind
from comfy.rewrites.optimize import Optimized, RewriteStatus, optimize
from comfy.rewrites.options import RewriteOptions
from tests.support.fleet import changed, wan_graph
from tests.support.sites import a_site, nodes


def limited(graph: dict[str, Any], **options: Any) -> Optimized:
    return optimize(graph, a_site(), accept=ChangeKind.DIFFERENT, options=RewriteOptions(**options))


def with_rife(factor: int = 2, fps: float = 32.0) -> dict[str, Any]:
    graph = wan_graph()
    graph["90"] = {
        "class_type": "RIFE VFI",
        "inputs": {
            "ckpt_name": "rife47.pth",
            "frames": ["8", 0],
            "clear_cache_after_n_frames": 10,
            "multiplier": factor,
            "fast_mode": True,
            "ensemble": True,
            "scale_factor": 1.0,
        },
    }
    graph["60"]["inputs"].update(images=["90", 0], fps=fps)
    return graph


def test_a_clip_is_made_smaller_in_its_own_proportions_and_on_the_grid() -> None:
    graph = wan_graph(width=1280, height=720)

    size = limited(graph, max_width=832).graph["59"]["inputs"]

    assert (size["width"], size["height"]) == (832, 464)


@pytest.mark.parametrize(
    ("options", "frames"),
    [
        ({"max_frames": 60}, 57),
        ({"max_seconds": 2.0}, 29),
        ({"max_frames": 81}, 81),
        ({"max_seconds": 9}, 81),
    ],
)
def test_a_clip_is_cut_to_4n_plus_1_frames(options: dict[str, Any], frames: int) -> None:
    assert limited(wan_graph(frames=81), **options).graph["59"]["inputs"]["length"] == frames


def test_a_lower_frame_rate_keeps_the_clip_as_long() -> None:
    graph = wan_graph(frames=121, fps=24)

    result = limited(graph, max_fps=16)

    assert result.graph["60"]["inputs"]["fps"] == 16
    assert result.graph["59"]["inputs"]["length"] == 81  # 5 s, as before


def test_interpolation_is_lowered_and_the_clip_stays_as_long() -> None:
    result = limited(with_rife(factor=4, fps=64.0), interpolation=2)

    assert result.graph["90"]["inputs"]["multiplier"] == 2
    assert result.graph["60"]["inputs"]["fps"] == 32


def test_interpolation_is_removed_and_the_frames_go_past_it() -> None:
    result = limited(with_rife(), interpolation=1)

    assert "90" not in result.graph
    assert result.graph["60"]["inputs"]["images"] == ["8", 0]
    assert result.graph["60"]["inputs"]["fps"] == 16
    assert validate(result.graph, nodes()).ok


def test_a_largest_frame_rate_takes_interpolation_before_it_takes_frames() -> None:
    result = limited(with_rife(factor=2, fps=32.0), max_fps=24)

    assert "90" not in result.graph
    assert result.graph["60"]["inputs"]["fps"] == 16
    assert result.graph["59"]["inputs"]["length"] == 81


def test_interpolation_stays_where_the_frame_rate_is_computed() -> None:
    graph = changed(with_rife(), "60.fps", ["91", 0])
    graph["91"] = {"class_type": "SomethingThatCounts", "inputs": {}}

    result = limited(graph, interpolation=1)

    assert "90" in result.graph
    assert [each.status for each in result.outcomes if each.rewrite == "interpolation"] == [
        RewriteStatus.SKIPPED
    ]


def test_a_limit_that_another_picture_is_not_accepted_for_changes_nothing_and_says_what_it_would() -> None:
    graph = wan_graph(width=1280, height=720)

    result = optimize(graph, a_site(gib=80), options=RewriteOptions(max_width=832))

    assert result.graph == graph
    (outcome,) = result.outcomes
    assert outcome.status is RewriteStatus.REFUSED
    assert [change.new for change in outcome.changes] == [832, 464]


@pytest.mark.parametrize("options", [{"max_width": 8}, {"interpolation": 0}, {"max_fps": float("nan")}])
def test_a_limit_under_which_nothing_could_be_made_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="the least is"):
        RewriteOptions(**options)
