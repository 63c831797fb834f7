"""A day of a person's work over one local stack, by commands as they are typed; a promise in each test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from farm.cli.terminal.exits import ExitCode
from farm.local.stack import LocalStack
from tests.support.farm_process import run_farm

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
DEADLINE_S = 240.0
CLIP = ("-t", "wan22-t2v-a14b", "-p", "width=64", "-p", "height=64", "-p", "frames=5", "-p", "steps=4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a stack in it; commands are run in a folder below."""
    folder = tmp_path_factory.mktemp("everyday")
    (folder / "work").mkdir()
    environ = {**os.environ, "FARM_EMULATOR_ARGS": "--step-seconds 0.05 --load-seconds 0.01"}
    with LocalStack(folder / ".farm", environ=environ):
        yield folder / "work"


def farm(folder: Path, *arguments: str, code: int = ExitCode.OK) -> subprocess.CompletedProcess[str]:
    """Run a command; it has to end with this code."""
    ran = run_farm(*arguments, cwd=folder, within_s=DEADLINE_S)
    assert ran.returncode == code, f"{arguments}\n{ran.stdout}{ran.stderr}"
    return ran


def as_json(folder: Path, *arguments: str, code: int = ExitCode.OK) -> Any:
    return json.loads(farm(folder, *arguments, "--json", code=code).stdout)


def submitted(folder: Path, *arguments: str) -> list[str]:
    ids: list[str] = as_json(folder, "submit", *CLIP, *arguments)["jobs"]
    return ids


def test_a_matrix_is_submitted_watched_told_apart_and_fetched(folder: Path) -> None:
    ids = submitted(folder, "-p", "prompt=a red fox", "-p", "seed=7", "--count", "3", "--label", "matrix")

    watched = farm(folder, "watch", "--label", "matrix")
    listed = farm(folder, "ls", "--label", "matrix", "--columns", "job,seed,title").stdout
    found = as_json(folder, "ls", "--where", "seed=8", "--search", "FOX")
    for _ in range(2):  # the second time everything is there
        pulled = as_json(folder, "pull", "--label", "matrix", "--into", "clips", "--with", "poster,manifest")

    assert "3 of 3 done" in watched.stdout
    assert "a red fox · seed 8" in listed
    assert [job["job_id"] for job in found] == [ids[1]]
    files = [Path(file) for job in pulled["jobs"] for file in job["files"]]
    assert len(files) == len(set(files)) == 9  # a clip, its poster and its manifest of each
    assert sorted(path.name for path in (folder / "clips").iterdir()) == sorted(each.name for each in files)


def test_a_queue_is_steered_by_selection(folder: Path) -> None:
    (worker,) = [each["name"] for each in as_json(folder, "workers")]
    farm(folder, "drain", worker)
    ids = submitted(folder, "-p", "prompt=a crow", "--count", "7", "--label", "queue", "--park")

    asked = farm(folder, "cancel", "--label", "queue", code=ExitCode.USAGE)
    would = as_json(folder, "cancel", "--label", "queue", "--dry-run")
    farm(folder, "pause", ids[0])
    farm(folder, "priority", ids[1], "--to", "0")
    refused = farm(folder, "rm", ids[0], code=ExitCode.NOT_NOW)
    shown = as_json(folder, "show", "--label", "queue", "--where", "priority=0")
    canceled = as_json(folder, "cancel", "--label", "queue", "--yes")
    removed = as_json(folder, "rm", "--label", "queue", "--yes")
    farm(folder, "drain", worker, "--undo")

    assert "give --yes" in asked.stderr
    assert set(would["jobs"]) == set(ids)
    assert "not removed: it is queued" in refused.stdout
    assert [job["job_id"] for job in shown] == [ids[1]]
    assert set(canceled) == set(removed) == set(ids)
    assert as_json(folder, "ls", "--label", "queue") == []
    farm(folder, "show", ids[0], code=ExitCode.NOT_FOUND)


def test_a_held_job_does_not_hold_who_watches(folder: Path) -> None:
    (worker,) = [each["name"] for each in as_json(folder, "workers")]
    farm(folder, "drain", worker)
    (job_id,) = submitted(folder, "-p", "prompt=x", "--park")
    farm(folder, "pause", job_id)

    watched = farm(folder, "watch", job_id, code=ExitCode.TIMED_OUT)

    assert "paused" in watched.stdout
    farm(folder, "cancel", job_id)
    farm(folder, "drain", worker, "--undo")


def test_what_belongs_together_moves_together(folder: Path) -> None:
    farm(folder, "templates", "wan22-t2v-a14b", "-o", "graph.json")

    together = farm(folder, "validate", "graph.json", "-p", "steps=8")
    apart = farm(folder, "validate", "graph.json", "-p", "57.steps=8")

    assert "the stages hand over at step 4 of 8" in together.stderr
    assert "57.end_at_step stays 10" in apart.stderr


def test_a_template_in_either_form_is_a_workflow_to_submit(folder: Path) -> None:
    for name, form in (("api.json", ()), ("editor.json", ("--editor",))):
        farm(folder, "templates", "wan22-t2v-a14b", "-o", name, *form, *CLIP[2:])

        ended = farm(folder, "submit", name, "-p", "prompt=a crow", "--wait")

        assert "5 frames" in ended.stdout


def test_python_does_it_in_one_line(folder: Path) -> None:
    program = (
        "from farm import Farm, __version__\n"
        "with Farm() as farm:\n"
        "    print(*farm.render(template='wan22-t2v-a14b', folder='one', parameters="
        "{'prompt': 'x', 'width': 64, 'height': 64, 'frames': 5, 'steps': 2}))\n"
    )

    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )

    assert Path(folder, ran.stdout.strip()).suffix == ".mp4"
