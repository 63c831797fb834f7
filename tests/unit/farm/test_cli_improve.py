"""`farm optimize` and `farm lint` on a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from farm.cli.terminal.exits import ExitCode
from farm.client import Farm
from farm.process.child import free_port
from farm.settings.redis import RedisSettings
from farm.testing import FolderStorage, MemoryJobStore
from tests.support.fleet import announce, changed, wan_graph
from tests.support.sites import wrapper_graph
from tests.support.terminal import say


@pytest.fixture
def nobody(store: MemoryJobStore, storage: FolderStorage) -> Callable[[], Farm]:
    """A farm in which no worker lives."""
    return lambda: Farm(store=store, storage=storage)


@pytest.fixture
def graph_file(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    def write(graph: dict[str, Any]) -> Path:
        path = tmp_path / "graph.json"
        path.write_text(json.dumps(graph), encoding="utf-8")
        return path

    return write


GraphFile = Callable[[dict[str, Any]], Path]


def test_changes_are_shown_before_anything_runs(nobody: Callable[[], Farm], graph_file: GraphFile) -> None:
    ended = say(nobody, "optimize", graph_file(wrapper_graph()), "--vram", 80, "--explain")

    assert ended.code == ExitCode.OK
    shown = ('"sageattn" → "sdpa"', "1.load_device", '"main_device"', "5.force_offload", "a 5090 is 37 %")
    for words in shown:
        assert words in ended.out


def test_the_changed_graph_is_written_only_where_it_is_asked_for(
    nobody: Callable[[], Farm], graph_file: GraphFile, tmp_path: Path
) -> None:
    out = tmp_path / "better.json"

    ended = say(nobody, "optimize", graph_file(wrapper_graph()), "--gpu", "H100", "-o", out)

    assert ended.code == ExitCode.OK
    assert json.loads(out.read_text())["1"]["inputs"]["attention_mode"] == "sdpa"


def test_an_option_that_is_not_accepted_is_shown_and_not_applied(
    nobody: Callable[[], Farm], graph_file: GraphFile
) -> None:
    asked = (graph_file(wan_graph(width=1280, height=720)), "--vram", 80, "--limit", "width=832")

    told = say(nobody, "optimize", *asked)
    taken = say(nobody, "optimize", *asked, "--accept", "different", "--json")

    assert "not accepted" in told.out
    assert taken.json[0]["graph"]["59"]["inputs"]["width"] == 832
    assert [each["status"] for each in taken.json[0]["outcomes"] if each["rewrite"] == "size"] == ["applied"]


def test_without_a_card_it_is_said_that_none_was_judged(
    nobody: Callable[[], Farm], graph_file: GraphFile
) -> None:
    ended = say(nobody, "optimize", graph_file(wrapper_graph()))

    assert ended.code == ExitCode.OK
    assert "nothing that depends on a card was judged" in ended.err
    assert '"sageattn" → "sdpa"' in ended.out


def test_a_farm_that_does_not_answer_is_no_hindrance(storage: FolderStorage, graph_file: GraphFile) -> None:
    redis = RedisSettings.read(url=f"redis://127.0.0.1:{free_port()}/0", timeout_s=0.2)

    ended = say(lambda: Farm(redis=redis, storage=storage), "optimize", graph_file(wrapper_graph()))

    assert ended.code == ExitCode.OK
    assert "nothing that depends on a card was judged" in ended.err


def test_live_workers_are_judged_by_their_cards(
    nobody: Callable[[], Farm], store: MemoryJobStore, graph_file: GraphFile
) -> None:
    announce(store, "gpu0@node1", gpu={"name": "NVIDIA H100", "vram_total_bytes": 80 * 2**30})

    ended = say(nobody, "optimize", graph_file(wrapper_graph()), "--worker", "gpu0", "--json")

    assert [each["site"] for each in ended.json] == ["gpu0@node1"]
    assert ended.json[0]["graph"]["1"]["inputs"]["load_device"] == "main_device"


def test_a_worker_that_does_not_live_is_named(nobody: Callable[[], Farm], graph_file: GraphFile) -> None:
    ended = say(nobody, "optimize", graph_file(wrapper_graph()), "--worker", "gpu7")

    assert ended.code == ExitCode.USAGE
    assert "'gpu7'" in ended.err


@pytest.mark.parametrize(
    "wrong", [("--limit", "widht=8"), ("--limit", "width=few"), ("--limit", "width=2"), ("--gpu", "Voodoo 3")]
)
def test_an_option_that_does_not_exist_is_refused_in_one_line(
    nobody: Callable[[], Farm], graph_file: GraphFile, wrong: tuple[str, str]
) -> None:
    ended = say(nobody, "optimize", graph_file(wan_graph()), *wrong)

    assert ended.code == ExitCode.USAGE
    assert len(ended.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("input_path", "value", "code"),
    [
        ("58.steps", 24, ExitCode.LINT_ERRORS),
        ("59.batch_size", 4, ExitCode.LINT_WARNINGS),
        ("6.text", "a crow", ExitCode.OK),
    ],
)
def test_lint_ends_with_the_worst_that_it_found(
    nobody: Callable[[], Farm], graph_file: GraphFile, input_path: str, value: object, code: ExitCode
) -> None:
    ended = say(nobody, "lint", graph_file(changed(wan_graph(), input_path, value)), "--vram", 80)

    assert ended.code == code


def test_lint_tells_programs_the_same(nobody: Callable[[], Farm], graph_file: GraphFile) -> None:
    ended = say(nobody, "lint", graph_file(changed(wan_graph(), "58.steps", 24)), "--vram", 80, "--json")

    (diagnostic,) = ended.json
    assert (diagnostic["rule"], diagnostic["severity"], diagnostic["node_id"]) == (
        "steps-differ",
        "error",
        "58",
    )


def test_lint_hears_of_a_worker_that_forgets_everything(
    nobody: Callable[[], Farm], store: MemoryJobStore, graph_file: GraphFile
) -> None:
    announce(store, "gpu0@node1", comfyui_flags=["--cache-none"])

    ended = say(nobody, "lint", graph_file(wan_graph()))

    assert "gpu0@node1 was started with --cache-none" in ended.out


def test_a_graph_that_is_none_is_refused(nobody: Callable[[], Farm], tmp_path: Path) -> None:
    file = tmp_path / "graph.json"
    file.write_text("{", encoding="utf-8")

    for command in ("lint", "optimize"):
        ended = say(nobody, command, file)
        assert ended.code == ExitCode.USAGE
        assert "no JSON" in ended.err
