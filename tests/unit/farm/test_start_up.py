"""What a command or an import loads: a module that nobody uses costs every start its time."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

from farm.asking.prepare import build
from farm.asking.request import JobRequest
from farm.cli.commands import COMMANDS, function_of
from farm.process.child import free_port
from tests.support.tables import for_each

# Each takes a noticeable part of a second to import, on a machine that has nothing else to do.
HEAVY = {"redis", "celery", "kombu", "boto3", "botocore", "asyncio", "aiohttp", "pydantic", "rich.markdown"}

# The farm's own modules that each start may load: as many as it does load, and five more.
MOST_OF_OURS = {
    "from farm import Farm": 132,
    "--help": 20,
    "inspect": 115,
    "lint": 184,
    "plan": 148,
}

LOADED = """
import sys
try:
    exec(sys.argv[1])
finally:
    print(*sys.modules, sep="\\n", file=sys.stderr)
"""


def loaded_after(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded once it ran `code`."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, code], capture_output=True, text=True, check=True, timeout=120
    )
    return set(done.stderr.split())


def heavy_after(code: str) -> set[str]:
    return HEAVY & loaded_after(code)


def heavy_after_command(*arguments: str) -> set[str]:
    return heavy_after(f"from farm.cli.main import run; assert run({list(arguments)!r}) in (0, 11)")


@pytest.fixture
def graph(tmp_path: Path) -> str:
    request = JobRequest(template="wan22-t2v-a14b", parameters={"prompt": "a fox"})
    file = tmp_path / "graph.json"
    file.write_text(json.dumps(build(request).graph), encoding="utf-8")
    return str(file)


def test_to_import_the_farm_loads_no_client_of_a_server() -> None:
    assert heavy_after("from farm import Farm") <= {"pydantic"}


def test_help_loads_no_command() -> None:
    assert heavy_after_command("--help") <= {"rich.markdown"}  # Typer's own


@pytest.mark.parametrize("name", ["inspect", "lint", "optimize"])
def test_a_command_that_reads_a_graph_loads_no_client_of_a_server(name: str, graph: str) -> None:
    target = [] if name == "inspect" else ["--gpu", "RTX 4090"]

    assert heavy_after_command(name, graph, *target) <= {"pydantic"}


def test_the_list_of_templates_loads_no_client_of_a_server() -> None:
    assert heavy_after_command("templates") <= {"pydantic"}


@pytest.fixture
def nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")


@pytest.mark.usefixtures("nobody_listens")
@pytest.mark.parametrize("name", ["plan", "validate"])
def test_a_command_that_finds_no_farm_loads_no_client_of_a_server(name: str, graph: str) -> None:
    loaded = heavy_after(f"from farm.cli.main import run; assert run([{name!r}, {graph!r}]) in (0, 5)")

    assert loaded <= {"pydantic"}


@pytest.mark.usefixtures("nobody_listens")
@pytest.mark.parametrize("start", MOST_OF_OURS)
def test_a_start_loads_no_more_of_ours_than_it_needs(start: str, graph: str) -> None:
    card = ["--gpu", "RTX 4090"] if start in ("lint", "plan") else []
    arguments = [start] if start == "--help" else [start, graph, *card]
    code = f"from farm.cli.main import run; assert run({arguments!r}) in (0, 11)"

    loaded = loaded_after(start if start.startswith("from") else code)

    ours = [name for name in loaded if name.partition(".")[0] in ("farm", "comfy", "worker")]
    assert len(ours) <= MOST_OF_OURS[start]


@for_each("name", COMMANDS)
def test_the_line_of_a_command_in_the_help_is_what_its_function_says(name: str) -> None:
    told = inspect.getdoc(function_of(name))

    assert told is not None
    assert told.splitlines()[0] == COMMANDS[name].summary


@pytest.mark.parametrize("module", ["farm.errors", "typer", "rich.console"])
def test_an_interrupt_while_the_command_line_is_loaded_ends_it_without_a_traceback(
    tmp_path: Path, module: str
) -> None:
    code = f"""
import os, signal, sys

class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupted())
from farm.cli.__main__ import main
main()
"""

    ended = subprocess.run(
        [sys.executable, "-c", code, "--version"], capture_output=True, text=True, timeout=120, check=False
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")
