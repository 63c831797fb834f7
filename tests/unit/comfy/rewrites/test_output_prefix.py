from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from comfy.rewrites.change import ChangeKind
from comfy.rewrites.output_prefix import set_output_prefix

Capture = Callable[[str], dict[str, Any]]


def a_saver(prefix: Any, class_type: str = "SaveVideo") -> dict[str, Any]:
    return {"class_type": class_type, "inputs": {"filename_prefix": prefix}}


def test_the_prefix_becomes_the_jobs_and_the_change_is_reported(capture: Capture) -> None:
    graph = capture("wan22_t2v_savevideo")["graph"]

    rewritten, changes = set_output_prefix(graph, "j-7")

    assert rewritten["61"]["inputs"]["filename_prefix"] == "jobs/j-7/tiny_t2v"
    assert graph["61"]["inputs"]["filename_prefix"] == "video/tiny_t2v"
    (change,) = changes
    assert (change.node_id, change.input_name) == ("61", "filename_prefix")
    assert (change.old, change.new) == ("video/tiny_t2v", "jobs/j-7/tiny_t2v")
    assert change.kind is ChangeKind.EXACT


def test_every_node_that_saves_is_changed_and_no_other() -> None:
    graph = {
        "1": a_saver("a"),
        "2": a_saver("x/b", "VHS_VideoCombine"),
        "3": {"class_type": "X", "inputs": {}},
    }

    rewritten, changes = set_output_prefix(graph, "j", attempt=2)

    assert [change.new for change in changes] == ["jobs/j/2/a", "jobs/j/2/b"]
    assert rewritten["3"] == graph["3"]


def test_a_linked_prefix_is_cut_and_written_as_a_literal() -> None:
    graph = {
        "1": a_saver(["2", 0]),
        "2": {"class_type": "PrimitiveString", "inputs": {"value": "clips/dawn"}},
        "3": a_saver(["4", 0]),
        "4": {"class_type": "StringConcatenate", "inputs": {}},
    }

    rewritten, changes = set_output_prefix(graph, "j")

    assert rewritten["1"]["inputs"]["filename_prefix"] == "jobs/j/dawn"
    assert rewritten["3"]["inputs"]["filename_prefix"] == "jobs/j/out"
    assert changes[0].old == ["2", 0]
    assert "node 2" in changes[0].why


@pytest.mark.parametrize(
    ("prefix", "name"),
    [("", "out"), ("a/", "out"), ("a\\b", "b"), ("..", "out"), ("%date:yyyy%/x", "x"), (5, "out")],
)
def test_only_the_last_part_of_the_users_name_is_kept(prefix: Any, name: str) -> None:
    rewritten, _ = set_output_prefix({"1": a_saver(prefix)}, "j")

    assert rewritten["1"]["inputs"]["filename_prefix"] == f"jobs/j/{name}"


@pytest.mark.parametrize("job_id", ["", "..", ".x", "a/b", "a\\b", "a b", "a\0"])
def test_a_job_id_that_could_leave_the_folder_is_refused(job_id: str) -> None:
    with pytest.raises(ValueError, match="folder"):
        set_output_prefix({"1": a_saver("a")}, job_id)
