from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from comfy.errors import UnknownMessage
from comfy.protocol.outputs import MediaKind, OutputFile, list_outputs, locate

Capture = Callable[[str], dict[str, Any]]


def outputs_of(run: dict[str, Any]) -> dict[str, Any]:
    outputs: dict[str, Any] = run["history"][run["prompt_id"]]["outputs"]
    return outputs


def a_file(filename: str = "a.mp4", subfolder: str = "") -> OutputFile:
    return OutputFile(
        node_id="1", key="images", filename=filename, subfolder=subfolder, type="output", kind=MediaKind.VIDEO
    )


def test_the_video_of_savevideo_is_found_under_images(capture: Capture) -> None:
    (file,) = list_outputs(outputs_of(capture("wan22_t2v_savevideo")))

    assert (file.node_id, file.key, file.subfolder) == ("61", "images", "video")
    assert file.kind is MediaKind.VIDEO
    assert file.is_result


def test_the_video_of_vhs_is_found_under_gifs(capture: Capture) -> None:
    (file,) = list_outputs(outputs_of(capture("wan22_t2v_vhs")))

    assert file.key == "gifs"
    assert file.kind is MediaKind.VIDEO
    assert file.fullpath is not None


def test_previews_are_seen_and_are_no_results(capture: Capture) -> None:
    files = list_outputs(outputs_of(capture("wan22_t2v_preview")))

    assert len(files) == 9
    assert not any(file.is_result for file in files)


def test_every_node_and_every_key_is_read_and_nothing_else() -> None:
    files = list_outputs(
        {
            "1": {"videos": [{"filename": "a.mp4", "subfolder": "x", "type": "output"}], "text": ["hello"]},
            "2": {"audio": [{"filename": "b.flac"}, {"no": "file"}, 5, {"filename": 7}], "animated": [False]},
            "3": {"images": [{"filename": "c.webp", "type": "output"}], "animated": [True]},
            "4": {"again": [{"filename": "a.mp4", "subfolder": "x", "type": "output"}]},
            "5": None,
        }
    )

    assert [(file.filename, file.kind) for file in files] == [
        ("a.mp4", MediaKind.VIDEO),
        ("b.flac", MediaKind.AUDIO),
        ("c.webp", MediaKind.VIDEO),
    ]


def test_a_file_is_located_below_the_output_folder(tmp_path: Path) -> None:
    (tmp_path / "jobs" / "7").mkdir(parents=True)
    (tmp_path / "jobs" / "7" / "a.mp4").write_bytes(b"x")

    assert locate(tmp_path, a_file(subfolder="jobs/7")).read_bytes() == b"x"
    assert locate(tmp_path, a_file(subfolder="jobs\\7")).read_bytes() == b"x"


@pytest.mark.parametrize(
    ("filename", "subfolder"),
    [
        ("../a.mp4", ""),
        ("a.mp4", "../x"),
        ("/etc/passwd", ""),
        ("a.mp4", "/etc"),
        ("a\0.mp4", ""),
        ("a", "..\\x"),
    ],
)
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, filename: str, subfolder: str) -> None:
    with pytest.raises(UnknownMessage):
        locate(tmp_path, a_file(filename, subfolder))


def test_a_symbolic_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    output = tmp_path / "output"
    output.mkdir()
    (tmp_path / "secret").write_bytes(b"x")
    (output / "a.mp4").symlink_to(tmp_path / "secret")

    with pytest.raises(UnknownMessage):
        locate(output, a_file())


def test_a_file_that_is_gone_is_said_to_be_gone(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        locate(tmp_path, a_file())


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("x_00001_%03d.png", ["x_00001_001.png", "x_00001_012.png"]),
        ("x_%05d.png", ["x_00001.png", "x_00012.png"]),
        ("100%.png", None),
        ("x_%d.png", None),
    ],
)
def test_a_name_that_is_a_pattern_stands_for_many_files(name: str, members: list[str] | None) -> None:
    (file,) = list_outputs({"1": {"gifs": [{"filename": name, "type": "output"}]}})

    assert file.is_sequence is (members is not None)
    if members is not None:
        assert [file.member(1).filename, file.member(12).filename] == members
