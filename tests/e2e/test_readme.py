"""Every command of the README and of the pages under docs/ runs as it stands, in order, over one local stack.

What stands for something (`FILE`, `JOB`, `NAME`) is put in; what a reader brings along (a picture, a workflow
of the editor's) lies in the folder.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from farm.local.running import attach
from farm.local.stack import LocalStack

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))]
DEADLINE_S = 120.0
WORKER = "local"
# Kept running until somebody ends them: the stack that the others need, and servers with tests of their own.
SERVES = ("farm up", "farm demo", "farm steward", "farm metrics", "farm gateway")
LINTED = (0, 10, 11)  # what it found is in its exit code
# A page names a command in the middle of a sentence; this is all of it that can be typed.
INLINE = re.compile(r"`(farm [^`…]+)`")
# Only its name, where the reader knows the rest from elsewhere.
BARE = {
    "farm submit",
    "farm show",
    "farm drain",
    "farm plan",
    "farm lint",
    "farm inspect",
    "farm watch",
    "farm validate",
}

# Stands for the reader's, and keeps what it was shown.
BROWSER = "browser.py"
LOADS_IT = "import sys, urllib.request as r; r.urlretrieve(sys.argv[1], 'seen.html')"

# What changes a job, and what has to come before it.
STEERED: dict[str, tuple[str, ...]] = {
    "cancel": (),
    "pause": (),
    "priority": (),
    "resume": ("pause",),
    "retry": ("cancel",),
    "rm": ("cancel",),
}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)


def examples() -> list[str]:
    """Each command of the console examples, in order, without those that serve."""
    lines = [
        line.removeprefix("$ ")
        for page in (README, *DOCS)
        for block in blocks(page, "console")
        for line in block.splitlines()
        if line.startswith("$ ")
    ]
    found = [line.partition("  #")[0] for line in lines if not line.endswith(SERVES)]
    return [line for line in found if shutil.which(line.split()[0]) or not line.startswith("curl")]


def mentioned() -> list[str]:
    """Each command that a sentence names, once."""
    found = [" ".join(text.split()) for page in (README, *DOCS) for text in INLINE.findall(page)]
    return [each for each in dict.fromkeys(found) if each not in (*SERVES, *BARE)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("readme")
    shutil.copy(ROOT / "tests/data/graphs/core_t2v_a14b_subgraph.ui.json", folder / "my_workflow.json")
    Image.new("RGB", (64, 48), "orange").save(folder / "fox.png")
    (folder / BROWSER).write_text(LOADS_IT)
    environ = {**os.environ, "FARM_EMULATOR_ARGS": "--step-seconds 0.01 --load-seconds 0.01"}
    with LocalStack(folder / ".farm", environ=environ):
        yield folder


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    home = next(each for each in (folder, *folder.parents) if (each / ".farm").is_dir())
    stack = attach(home / ".farm")
    assert stack is not None
    environ["COMFY_BASE_URL"] = str(stack.gateway_url)  # as `farm env` prints it
    environ["BROWSER"] = f"{sys.executable} {home / BROWSER} %s"
    for screen in ("DISPLAY", "WAYLAND_DISPLAY"):
        environ.pop(screen, None)  # `farm open` prints the link then
    return subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )


def assert_runs(command: str, folder: Path) -> str:
    done = run(["sh", "-ec", command], folder)
    fine = LINTED if command.startswith("farm lint") else (0,)
    assert done.returncode in fine, f"{command}\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr, command
    return done.stdout


def test_there_are_examples_to_run() -> None:
    assert len(examples()) >= 14
    assert len(mentioned()) >= 20
    assert len(blocks(README, "python")) >= 4


def test_the_python_examples_work(folder: Path) -> None:
    # One after the other in one program: a later example may go on with what an earlier one made.
    (folder / "python").mkdir()
    program = "\n".join(blocks(README, "python"))
    assert_runs(
        "farm templates wan22-t2v-a14b -o workflow_api.json -p width=64 -p height=64", folder / "python"
    )

    done = run([sys.executable, "-W", "error", "-c", program], folder / "python")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "77 or 81" in done.stdout
    assert list((folder / "python" / "clips").glob("*.mp4"))


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_commands_work_in_order(folder: Path) -> None:
    (folder / "comfyui.log").write_text("got prompt\nPrompt executed in 4.00 seconds\n", encoding="utf-8")
    for command in examples():
        assert_runs(command, folder)
    assert "<title>" in (folder / "seen.html").read_text()

    submit = "farm submit -t wan22-t2v-a14b -p prompt=x -p preset=draft"
    one, two = (assert_runs(f"{submit} --wait", folder).split()[0] for _ in range(2))
    assert_runs(f"farm drain {WORKER}", folder)  # what is submitted now stays queued
    for command in sorted(mentioned(), key=lambda each: each.startswith("farm drain")):
        steered = ""
        if (verb := command.split()[1]) in STEERED:
            steered = assert_runs(f"{submit} --park", folder).strip()
            for before in STEERED[verb]:
                assert_runs(f"farm {before} {steered}", folder)
        assert_runs(filled(command, one=one, two=two, steered=steered), folder)

    assert list((folder / "clips").glob(f"*{one[:12]}*.mp4"))
    assert list((folder / "clips").glob(f"*{two[:12]}*.mp4"))


def filled(command: str, *, one: str, two: str, steered: str) -> str:
    """A command as a reader types it: two jobs that are done, and one that is in the state that it is for."""
    values = {"JOB1": one, "JOB2": two, "JOB": steered or one, "FILE": "workflow_api.json", "GIB": "24"}
    values["NAME"] = "wan22-t2v-a14b"
    match command.split()[1:]:
        case ["workers" | "drain", *_]:
            values["NAME"] = WORKER
        case ["templates", _, "--save", *_]:
            values["NAME"] = "mine"
        case ["templates", _, "-o", *_]:
            values["FILE"] = "another.json"
    return re.sub("|".join(rf"\b{word}\b" for word in values), lambda word: values[word[0]], command)
