from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.doctor import CORPUS
from comfy.doctor.html import COLOURS
from comfy.doctor.report import Phase
from farm.cli.jobs.diagnose_views import MARKS
from farm.cli.main import run
from farm.cli.terminal.door import Door, PlainConsole
from farm.cli.terminal.exits import ExitCode

ORIGIN = str(CORPUS / "origin-450s.log")


def diagnose(*arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    door = Door(out=PlainConsole(file=out, width=160), err=PlainConsole(file=err, width=160))
    return run(["diagnose", *arguments], door=door), out.getvalue(), err.getvalue()


def test_a_log_is_shown_as_a_picture_first_then_findings_by_seconds_lost() -> None:
    code, out, _ = diagnose(ORIGIN)

    assert code == ExitCode.OK
    lines = out.splitlines()
    assert lines[0].startswith("Prompt 1: done, 7 min 22 s")
    assert set(lines[1].strip()) == {"S", "?"}
    wanted = (
        "gguf-where-fp8-fits",
        "base64-return",
        "view-instead-of-disk",
        "Not the cause",
        "Not concluded",
    )
    places = [out.index(words) for words in wanted]
    assert places == sorted(places)
    assert "442 s would be 393 s" in out


def test_json_is_the_documented_schema() -> None:
    code, out, _ = diagnose(ORIGIN, "--json")

    report: dict[str, Any] = json.loads(out)
    assert code == ExitCode.OK
    assert report["version"] == 1
    page = (Path(__file__).parents[4] / "docs" / "doctor.md").read_text(encoding="utf-8")
    for value in (report, report["server"], report["prompts"][0], report["findings"][0], report["log"]):
        assert all(f"`{name}`" in page for name in value)


def test_html_is_written_to_a_file(tmp_path: Path) -> None:
    code, _, err = diagnose(ORIGIN, "--html", str(tmp_path / "report.html"))

    assert code == ExitCode.OK
    assert "report.html" in err
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_log_comes_from_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.BytesIO(b"got prompt\nPrompt executed in 3.00 seconds\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(log))

    code, out, _ = diagnose("-")

    assert code == ExitCode.OK
    assert "Prompt 1: done, 3.00 s" in out


def test_graph_and_card_say_what_the_log_does_not(tmp_path: Path) -> None:
    (tmp_path / "graph.json").write_text(
        json.dumps({"1": {"class_type": "UnetLoaderGGUF", "inputs": {"unet_name": "a", "load_device": "x"}}})
    )

    _, out, _ = diagnose(ORIGIN, "--graph", str(tmp_path / "graph.json"), "--card", "A100 80GB")

    assert "has no such input" in out
    assert "no gain was measured" in out


def test_what_a_log_says_cannot_act_on_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "evil.log").write_bytes(b"[ERROR] a\x1b]0;title\x07b\x1b[2J\n")

    _, out, _ = diagnose(str(tmp_path / "evil.log"))

    assert "\x1b" not in out
    assert "\x07" not in out


def test_a_name_that_is_neither_a_file_nor_a_job_is_a_mistake() -> None:
    code, _, err = diagnose("no-such-file.log")

    assert code == ExitCode.USAGE
    assert "no such file" in err


def test_what_is_found_in_many_prompts_is_told_once_for_all(tmp_path: Path) -> None:
    log, html = tmp_path / "long.log", tmp_path / "long.html"
    failed = "got prompt\n!!! Exception during processing !!! {}\nPrompt executed in 30.00 seconds\n"
    log.write_text(
        "".join(failed.format("the shapes differ") for _ in range(100)) + failed.format("no sound")
    )

    _, out, _ = diagnose(str(log), "--html", str(html))

    for told in (out, html.read_text(encoding="utf-8")):
        assert told.count("a node failed: the shapes differ") == 1
        assert "100 prompts, 1 to 100; 50 min 00 s in all" in told
        assert told.count("a node failed: no sound") == 1
        assert "(prompt 101)" in told


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without a stack, where no farm answers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FARM_REDIS_URL", "redis://127.0.0.1:1/0")
    return tmp_path


@pytest.mark.parametrize("name", ["logs", "deadbeef", "my logs", "comfyui.logs"])
def test_a_folder_is_told_as_that_whatever_its_name_is_like(nowhere: Path, name: str) -> None:
    (nowhere / name).mkdir()

    code, _, err = diagnose(name)

    assert code == ExitCode.USAGE
    assert f"{name}: that is a folder, not a log" in err
    assert "Redis" not in err


def test_a_folder_that_a_jobs_whole_id_names_is_of_that_job(nowhere: Path) -> None:
    job_id = "0123456789abcdef0123456789abcdef"
    (nowhere / job_id).mkdir()

    code, _, err = diagnose(job_id)

    assert code == ExitCode.UNREACHABLE
    assert "folder, not a log" not in err


@pytest.mark.usefixtures("nowhere")
def test_where_no_farm_answers_a_name_may_have_been_meant_as_a_files() -> None:
    code, _, err = diagnose("comfyui-log")

    assert code == ExitCode.UNREACHABLE
    assert "comfyui-log: there is no such file here" in err


def test_a_graph_that_cannot_be_read_is_a_mistake_of_the_caller(tmp_path: Path) -> None:
    code, _, err = diagnose(ORIGIN, "--graph", str(tmp_path / "none.json"))

    assert code == ExitCode.USAGE
    assert "none.json" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((ORIGIN, "--html", "/nonexistent/x.html"), "cannot write /nonexistent/x.html: No such file"),
        (("/",), "/: that is a folder, not a log"),
        ((ORIGIN, "--card", "RTX 9999"), "no card 'RTX 9999' is known"),
    ],
)
def test_what_cannot_be_read_written_or_known_is_told(arguments: tuple[str, ...], words: str) -> None:
    code, _, err = diagnose(*arguments)

    assert code == ExitCode.USAGE
    assert words in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("3f2a9c00", "--card", "RTX 4090"),
        ("3f2a9c00", "--graph", "graph.json"),
        ("--fleet", "--card", "RTX 4090"),
        ("--fleet", "3f2a9c00"),
        ("--fleet", "--html", "report.html"),
    ],
)
def test_what_would_change_nothing_is_refused(arguments: tuple[str, ...]) -> None:
    code, _, err = diagnose(*arguments)

    assert code == ExitCode.USAGE
    assert any(name in err for name in ("--card", "--graph", "--fleet"))


def test_every_phase_has_a_mark_and_a_colour() -> None:
    assert set(MARKS) == set(COLOURS) == set(Phase)


def test_of_a_very_long_log_it_is_said_what_is_left_out(tmp_path: Path) -> None:
    log = tmp_path / "long.log"
    log.write_text("got prompt\nPrompt executed in 90.00 seconds\n" * 1000)

    _, out, _ = diagnose(str(log))

    assert "800 earlier prompts are left out of this report, which is of the last 200" in out
    assert "195 shorter prompts are not shown" in out
    assert len(out.splitlines()) < 50
