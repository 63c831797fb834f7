"""The gate on paths reads a name as the loaders read it, whatever is wrapped around it."""

from __future__ import annotations

import itertools
import json
import ntpath
import os
import random
import re
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from comfy.errors import GraphError
from comfy.graphs.path_gate import check_paths, path_fault, path_problems, text_fault
from comfy.node_defs.node_classes import Names, what_it_names
from comfy.rewrites.output_prefix import set_output_prefix
from farm.asking.admission import admit
from farm.settings.worker import WorkerSettings
from farm.testing import FolderStorage
from tests.support.clips import make_picture
from worker.comfyui.folders import open_folders
from worker.comfyui.own_comfy import OwnComfy
from worker.inputs.cache import InputCache
from worker.jobs.render import is_opened_as_path

_OUTSIDE: Final[tuple[str, ...]] = (
    "../x.png",
    "a/../../x.png",
    "..",
    "/etc/passwd",
    "~/x.png",
    "~root/x.png",
    "C:/x.png",
    "..\\x.png",
    "a\\..\\../x.png",
    "\\x.png",
    "C:\\x.png",
    "C:x.png",
    "\\\\server\\share\\x.png",
    "\\\\?\\C:\\x.png",
    "\uff3c\uff3cserver\uff3cshare\uff3cx.png",  # full-width backslashes
    "http://host/x.png",
    "HTTPS://host/x.png",
    "file:///etc/passwd",
    "concat:/etc/passwd",
    "\uff0e\uff0e\uff0fx.png",  # full-width "../"
    "\u2025/x.png",  # two dots in one sign
    "x.png [output]",
    "x.png\0.txt",
    "x\n../y.png",
)
_WRAPPINGS: Final = (
    "{}",
    " {}",
    "\t{}",
    "\n{}\n",
    "\u00a0{}",
    '"{}"',
    "'{}'",
    ' "{}" ',
    "\"' {} '\"",
)
_INPUTS: Final[tuple[tuple[str, str], ...]] = (
    ("LoadImage", "image"),
    ("LoadVideo", "file"),
    ("VHS_LoadVideo", "video"),
    ("VHS_LoadVideoPath", "video"),
    ("VHS_LoadImagesPath", "directory"),
    ("UNETLoader", "unet_name"),
    ("SaveImageKJ", "output_folder"),
    ("SaveStringKJ", "file_extension"),
    ("SaveImageDataSetToFolder", "folder_name"),
    ("Somebodys", "file"),
    ("Somebodys", "text_file"),
    ("Somebodys", "output_file"),
    ("Somebodys", "output_path"),
    ("Somebodys", "outdir"),
    ("Somebodys", "Path"),
    ("Somebodys", "FilePath"),
    ("Somebodys", "videoUrls"),
    ("Somebodys", "url"),
    ("Somebodys", "foldername_prefix"),
)


def a_graph(class_type: str, input_name: str, value: Any, **others: Any) -> dict[str, Any]:
    return {"1": {"class_type": class_type, "inputs": {input_name: value}}, **others}


def is_refused(class_type: str, input_name: str, value: Any, **others: Any) -> bool:
    return bool(path_problems(a_graph(class_type, input_name, value, **others)))


@pytest.mark.parametrize(("class_type", "input_name"), _INPUTS)
def test_no_wrapping_gets_a_name_past_the_gate(class_type: str, input_name: str) -> None:
    for name, wrapping in itertools.product(_OUTSIDE, _WRAPPINGS):
        value = wrapping.format(name)
        source = {"2": {"class_type": "PrimitiveString", "inputs": {"value": value}}}
        ways: tuple[Any, ...] = (value, {"__value__": value}, {"__value__": [value]}, ["a", [value], "b"])

        assert all(is_refused(class_type, input_name, way) for way in ways), value
        assert is_refused(class_type, input_name, ["2", 0], **source), value


@pytest.mark.parametrize("input_name", ["text", "source", "x", "prompt"])
def test_of_a_class_that_nobody_knows_every_text_is_judged(input_name: str) -> None:
    clear = [name for name in _OUTSIDE if name != "C:x.png" and "[" not in name and "\0" not in name]

    for name, wrapping in itertools.product(clear, _WRAPPINGS):
        assert is_refused("Somebodys", input_name, wrapping.format(name)), (name, wrapping)
        assert is_refused("Somebodys", input_name, {"__value__": [wrapping.format(name)]}), (name, wrapping)


@pytest.mark.parametrize(
    "text",
    [
        "a fox and/or a hare",
        "wait... then it jumps",
        "…",
        "ratio 16:9, see https://host/x for more",
        "/imagine a fox",
        "a: fox",
        "~ soft light ~",
        "line one\nline two\n\n- and/or three",
        "w/ a hat, w/o shoes",
        '{"x": 1, "y": "a/b"}',
    ],
)
def test_a_prompt_is_no_path(text: str) -> None:
    assert not is_refused("Somebodys", "prompt", text)
    assert not is_refused("CLIPTextEncode", "text", text)


@pytest.mark.parametrize(
    "name",
    [
        "x.png",
        "sub/x.png",
        "sub\\x.png",
        "WAN\\2.2\\a/b.safetensors",
        "a..b.png",
        "..x",
        "狐/x.png",
        "",
        "12:30.png",
        "a [b].png",
    ],
)
def test_a_name_that_stays_inside_is_taken(name: str) -> None:
    assert not any(is_refused(class_type, input_name, name) for class_type, input_name in _INPUTS)


_DATA: Final = (
    '{"paths": [{"id": "path_1", "name": "Path 1", "points": [{"x": 1.5, "y": 2}]}], "note": "a: b"}',
    "  [[1, 2], [3, 4]]\n",
    '{\n  "paths": [' + ", ".join(['{"x": 1, "y": 2}'] * 500) + "]\n}",
    "M 0 0 L 10 10 " * 1000,
    "a line of a story\n" * 1000,
    "[" * 100_000,
)


@pytest.mark.parametrize("data", _DATA)
def test_what_is_evidently_data_is_no_path_whatever_the_input_is_called(data: str) -> None:
    assert not is_refused("Somebodys", "paths_data", data)
    assert not is_refused("FL_PathAnimator", "paths_data", data)


@pytest.mark.parametrize(
    "data",
    [
        '{"paths": ["../x.png"]}',
        '["/etc/passwd"]',
        '{"a": {"b": ["x", "C:\\\\x.png"]}}',
        '["\\u002e\\u002e/x.png"]',
        '{"../x.png": 1}',
        '["file:///etc/passwd"]',
        '["a/../../x.png"',
        "a line of a story\n" * 1000 + "/etc/passwd",
        "x/" * 5000 + "../y.png",
    ],
)
def test_data_hides_no_path_that_leads_out(data: str) -> None:
    assert is_refused("Somebodys", "paths_data", data)


@pytest.mark.parametrize("data", ['{\n"a": 1}', "[\n1]", "x" * 5000, "a line\n" * 1000])
@pytest.mark.parametrize(
    ("class_type", "input_name"),
    [each for each in _INPUTS if what_it_names(*each) in (Names.INPUT_FILE, Names.ANY_FILE, Names.MODEL)],
)
def test_an_input_that_is_known_to_name_a_file_takes_no_data(
    class_type: str, input_name: str, data: str
) -> None:
    assert is_refused(class_type, input_name, data)


_COMPUTES: Final = {"2": {"class_type": "StringConcatenate", "inputs": {"string_a": "..", "string_b": "/x"}}}


@pytest.mark.parametrize(("class_type", "input_name"), [each for each in _INPUTS if each[0] != "UNETLoader"])
def test_a_name_that_is_computed_while_the_graph_runs_is_refused(class_type: str, input_name: str) -> None:
    assert is_refused(class_type, input_name, ["2", 0], **_COMPUTES)


def test_what_is_no_text_may_pass_through_an_input_of_any_name() -> None:
    combined = {"2": {"class_type": "VHS_VideoCombine", "inputs": {"filename_prefix": "x"}}}

    assert not is_refused("VHS_PruneOutputs", "filenames", ["2", 0], **combined)
    assert not is_refused("Somebodys", "filenames", ["2", 0], **combined)


@pytest.mark.parametrize("slot", [True, False, 0.0, 1.5])
def test_what_comfyui_takes_for_a_link_and_we_do_not_is_refused(slot: Any) -> None:
    source = {"2": {"class_type": "PrimitiveString", "inputs": {"value": "../x"}}}

    with pytest.raises(GraphError, match="a link must be"):
        admit(a_graph("LoadImage", "image", ["2", slot], **source), "")


@pytest.mark.parametrize(
    "text",
    [
        "\n",
        "/\n",
        "a/",
        " ",
        '"',
        ' "',
        "/ ",
        "a",
        "a:",
        "~",
        "...",
        "\u0301\u0323",
        "\ufdfa",
        "/" + "b" * 1000 + "\n",
    ],
)
def test_a_text_of_mebibytes_is_judged_soon(text: str) -> None:
    long = text * (2**22 // len(text.encode()))
    began = time.process_time()

    text_fault(long)
    path_fault(long)

    assert time.process_time() - began < 20  # one second on a machine that does nothing else


def names(count: int) -> list[str]:
    """Names made of what matters to a path, drawn with a fixed seed."""
    draw = random.Random(7)
    pieces = [
        "..",
        ".",
        "/",
        "\\",
        "a",
        "b.png",
        " ",
        "\t",
        '"',
        "'",
        "~",
        "\uff0f",
        "\u2025",
        "%year%",
        "[input]",
    ]
    pieces += ["[output]", "\u00a0", "\n", ":", "http://", "-", "%", "..", "/", "\x7f", "\u200b", "x" * 50]
    return ["".join(draw.choices(pieces, k=draw.randint(1, 8))) for _ in range(count)]


def test_what_passes_stays_inside_on_windows_too() -> None:
    drawn = [name for name in names(5_000) if not is_refused("VHS_LoadVideoPath", "video", name)]

    assert any("\\" in name for name in drawn)
    for name in drawn:
        for read in (name, name.strip(), name.strip("\"' \t\n")):
            drive, _ = ntpath.splitdrive(read)
            if len(drive) == 2 and not re.match("[A-Za-z]", drive):
                continue  # Windows has letters alone, whatever Python takes for a drive
            path = ntpath.normpath(ntpath.join("C:\\ComfyUI\\input", read))
            assert path.startswith("C:\\ComfyUI\\input"), name


_LOOK: Final = """
import ast, json, os, sys
import folder_paths
with open(os.path.join(os.environ["VHS"], "videohelpersuite", "utils.py")) as file:
    utils = ast.parse(file.read())
judges = ("strip_path", "is_url", "is_safe_path", "validate_path")
wanted = [each for each in utils.body if getattr(each, "name", None) in judges]  # the rest imports torch
exec(compile(ast.Module(body=wanted, type_ignores=[]), "utils.py", "exec"), globals())
job = json.load(sys.stdin)
root = job["root"]
os.chdir(os.path.join(root, "work"))
folder_paths.set_input_directory(os.path.join(root, "input"))
folder_paths.set_output_directory(os.path.join(root, "output"))
folder_paths.set_temp_directory(os.path.join(root, "temp"))
def inside(path, folder):
    real, folder = os.path.realpath(path), os.path.realpath(os.path.join(root, folder))
    return os.path.commonpath([real, folder]) == folder
leaks = []
for name in job["names"]:
    for read in (name, strip_path(name)):
        try:
            path = folder_paths.get_annotated_filepath(read)
        except ValueError:
            continue
        if not inside(path, "input"):
            leaks.append(["annotated", name])
        if is_url(read) or not inside(os.path.join(os.getcwd(), read), "work"):
            leaks.append(["path", name])
for prefix in job["prefixes"]:
    try:
        folder = folder_paths.get_save_image_path(prefix, os.path.join(root, "output"), 8, 8)[0]
    except Exception:
        leaks.append(["refused prefix", prefix])
        continue
    if not inside(folder, "output/jobs/j"):
        leaks.append(["prefix", prefix])
placed = os.path.join(os.getcwd(), "farm", "x.mp4")
os.makedirs(os.path.dirname(placed))
open(placed, "w").close()
strict = [validate_path(placed), validate_path("/etc/passwd"), validate_path("http://host/x")]
print(json.dumps({"leaks": leaks, "strict": strict}))
"""


def test_what_passes_stays_inside_for_the_real_loaders(tmp_path: Path) -> None:
    checkout, base = os.environ.get("COMFYUI_DIR"), os.environ.get("COMFYUI_BASE")
    if not checkout or not base:
        pytest.skip("COMFYUI_DIR and COMFYUI_BASE name no ComfyUI")
    for folder in ("input", "output", "temp", "work"):
        (tmp_path / folder).mkdir()
    drawn = names(20_000)
    passed = [name for name in drawn if not is_refused("VHS_LoadVideoPath", "video", name)]
    prefixes = []
    for name in drawn:
        graph = a_graph("SaveImage", "filename_prefix", name)
        prefixes.append(set_output_prefix(graph, "j")[0]["1"]["inputs"]["filename_prefix"])

    found = subprocess.run(
        [os.environ["COMFYUI_PYTHON"], "-c", _LOOK],
        cwd=checkout,
        env={
            **os.environ,
            "VHS": str(Path(base) / "custom_nodes/ComfyUI-VideoHelperSuite"),
            "VHS_STRICT_PATHS": "1",
        },
        input=json.dumps({"root": str(tmp_path), "names": passed, "prefixes": prefixes}),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert found.returncode == 0, found.stderr[-2000:]
    answer = json.loads(found.stdout.splitlines()[-1])
    assert len(passed) > 1000
    assert answer["leaks"] == []
    assert answer["strict"] == [True, False, False]


@pytest.mark.parametrize(
    ("class_type", "input_name", "is_path"),
    [
        ("LoadImage", "image", False),
        ("LoadVideo", "file", False),
        ("VHS_LoadVideo", "video", False),
        ("VHS_LoadVideoPath", "video", True),
        ("VHS_LoadImagePath", "image", True),
        ("Somebodys", "video_path", True),
    ],
)
def test_a_file_of_the_job_lies_where_the_node_may_open_it(
    class_type: str, input_name: str, is_path: bool, tmp_path: Path
) -> None:
    storage = FolderStorage(tmp_path / "s3")
    address = storage.upload_input(make_picture(tmp_path / "x.png"))
    cache = InputCache(tmp_path / "cache", storage=storage, settings=WorkerSettings.read())
    folders, lock = open_folders(tmp_path / "worker", holder="test")
    supervisor = SimpleNamespace(plan=None, disk=SimpleNamespace(input=folders.input, work=folders.work))
    comfy = OwnComfy(supervisor)  # type: ignore[arg-type]
    graph = a_graph(class_type, input_name, "x")

    name = comfy.provide(
        cache,
        address,
        field=f"1.{input_name}",
        holder="t",
        stop=lambda: False,
        as_path=is_opened_as_path(graph, f"1.{input_name}"),
    )

    lock.release()
    assert Path(name).is_absolute() is is_path
    opened = Path(name) if is_path else folders.input / name
    assert opened.is_file()
    assert opened.is_relative_to(folders.work if is_path else folders.input)


def test_a_refusal_names_node_and_input_and_is_short() -> None:
    with pytest.raises(GraphError) as refusal:
        check_paths(a_graph("LoadImage", "image", "../" + "x" * 10_000))

    (problem,) = refusal.value.problems
    assert (problem.node_id, problem.input_name) == ("1", "image")
    assert len(str(problem)) < 400
