"""``docs/json.md``: what `--json` prints, read off from what commands print over a small farm in memory."""

from __future__ import annotations

import io
import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from farm.cli.commands import COMMANDS
from farm.cli.main import run
from farm.cli.terminal.door import Door, PlainConsole
from farm.client import Farm
from farm.job import Progress
from farm.testing import FolderStorage, MemoryJobStore
from tests.support.fleet import TEMPLATE, announce, render
from tests.support.jobs import an_error

# What depends on the graph, the job or the machine, and is not told field by field.
FREE: Final[Mapping[str, str]] = {
    "graph": "a graph in ComfyUI's API format",
    "workflow": "the editor's file",
    "parameters": "{name: value}",
    "template_parameters": "{name: value}",
    "inputs": "{node.input: address}",
    "data": "{what events of this kind say}",
    "details": "{what is known of it}",
    "timings_s": "{part: seconds}",
    "model_bytes": "{model file: bytes}",
    "model_files": "{folder: [file]}",
    "by_state": "{state: jobs}",
    "wishes": "{option of the rewrites: value}",
    "rewrite_options": "{option of the rewrites: value}",
    "presets": "{preset: its values}",
    "default": "a value",
    "value": "a value",
    "before": "a value",
    "after": "a value",
}
BY_HAND: Final[Mapping[str, str]] = {
    "up": "One line, once all runs: where each part is, and whether the emulator renders.",
    "demo": "`job`, `files`, `url`, and `result` as in `farm show`.",
    "env": "Each variable with its value, passwords among them.",
    "plan-gpu": "How ComfyUI would be started: mode, flags and the reasons for them.",
    "diagnose": "The report: where the seconds went, and each finding with evidence, cost and remedy.",
    "keys": "What is known of each key; of a new one the key itself, once.",
}
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
_ID: Final = re.compile(r"[0-9a-f]{32}")
_HEAD: Final = """# What `--json` prints

Made from what the commands print (`make docs`). One document each; `farm watch` prints one on each line.
A field that only some have is marked `?`; one that is `null` here alone, or an empty list, holds more on a
farm that is at work. Fields are added now and then: take those that you know. Errors are lines on the other
stream, and the exit code tells their kind (`farm --help`).
"""


@dataclass(kw_only=True)
class _Desk:
    """The command line over a farm in memory."""

    store: MemoryJobStore
    storage: FolderStorage
    folder: Path
    printed: dict[str, list[Any]] = field(default_factory=dict)

    def __call__(self, name: str, *arguments: str, of: str = "") -> Any:
        """What a command prints; it is remembered as a sample, of the command with that argument."""
        door = _MemoryDoor(self)
        run([name, *arguments, "--json"], door=door)
        assert isinstance(door.out.file, io.StringIO)
        text = door.out.file.getvalue()
        # Of lines each is a document.
        values = [json.loads(line) for line in text.splitlines()] if name == "watch" else [json.loads(text)]
        self.printed.setdefault(f"{name} {of}".strip(), []).extend(values)
        return values[-1]


class _MemoryDoor(Door):
    def __init__(self, desk: _Desk) -> None:
        super().__init__(
            out=PlainConsole(file=io.StringIO(), width=200),
            err=PlainConsole(file=io.StringIO(), width=200),
            folder=desk.folder / ".farm",
        )
        self.desk = desk

    def farm(self) -> Farm:
        return Farm(store=self.desk.store, storage=self.desk.storage)


def page() -> str:
    """The page."""
    with tempfile.TemporaryDirectory() as folder:
        before = Path.cwd()
        os.chdir(folder)  # what a command writes, it writes here
        try:
            printed = samples(Path(folder))
        finally:
            os.chdir(before)
    parts = [_HEAD]
    for name in COMMANDS:
        parts += [
            f"## farm {said}\n\n```text\n{shape(values)}\n```\n"
            for said, values in printed.items()
            if said.split()[0] == name
        ]
        if name in BY_HAND:
            parts.append(f"## farm {name}\n\n{BY_HAND[name]}\n")
    return "\n".join(parts)


def samples(folder: Path) -> Mapping[str, Sequence[Any]]:
    """What each command prints of jobs in every state."""
    desk = _Desk(store=MemoryJobStore(), storage=FolderStorage(folder / "s3"), folder=folder)
    announce(desk.store, vram_gib=24, state="ready", gpu={"name": "RTX 4090"}, load_plan={"mode": "high"})
    clip = ("-t", TEMPLATE, "-p", "prompt=a fox", "-p", "preset=draft")
    done, failed, running, waiting = desk("submit", *clip, "--count", "4", "--label", "a")["jobs"]
    parked = desk("submit", *clip, "--vram", "80", "--park")["jobs"][0]
    render(desk.store, desk.storage, done)
    desk.store.claim(failed, worker="w1")
    desk.store.fail(failed, 1, an_error(), retry_in_s=None)
    desk.store.claim(running, worker="w1")
    progress = Progress(
        phase="vae", fraction=0.9, node_id="8", step=1, steps=2, seconds_per_step=1.0, eta_s=2.0
    )
    desk.store.report(running, 1, [], progress=progress)
    for job_id in (done, failed, running, waiting, parked):
        desk("show", job_id)
    desk("ls")
    desk("watch", done, failed)
    desk("pull", done, "--into", str(folder / "clips"))
    desk("open", done)
    desk("validate", *clip)
    for command in ("inspect", "lint", "optimize", "plan"):
        desk(command, *clip)
    desk("templates")
    desk("templates", TEMPLATE, of="NAME")
    (worker,) = desk("workers")
    desk("workers", worker["name"], of="NAME")
    desk("queues")
    desk("check")
    desk("clean", "--dry-run")
    desk("down")
    for command in ("pause", "resume", "priority", "cancel", "retry", "rm"):
        desk(command, waiting, "--dry-run")
        desk(command, waiting)
    desk("drain", worker["name"])
    return desk.printed


def shape(values: Sequence[Any]) -> str:
    """What all these values have in common, in words: a shape a line for each field."""
    return "\n".join(_lines(list(values), ""))


def _lines(values: list[Any], name: str) -> list[str]:
    plain = sorted({_word(value) for value in values if not isinstance(value, dict | list)})
    lists = [value for value in values if isinstance(value, list)]
    maps = [value for value in values if isinstance(value, dict)]
    blocks: list[list[str]] = [[" | ".join(plain)]] if plain else []
    if lists:
        inner = _lines([each for value in lists for each in value], name)
        blocks.append(
            ["[" + (inner[0] if inner else ""), *inner[1:-1], (inner[-1] if inner[1:] else "") + "]"]
        )
        if len(inner) <= 1:
            blocks[-1] = ["[" + "".join(inner) + "]"]
    by_id = [value for value in maps if value and all(_ID.fullmatch(key) for key in value)]
    others = [value for value in maps if value not in by_id]
    if maps and name in FREE:
        blocks.append([FREE[name]])
        by_id = others = []
    if by_id:
        blocks.append(
            _wrapped("{job id: ", _lines([each for one in by_id for each in one.values()], ""), "}")
        )
    if others:
        blocks.append(_of_fields(others))
    found = blocks[0] if blocks else []
    for block in blocks[1:]:
        found = [*found[:-1], f"{found[-1]} | {block[0]}", *block[1:]]
    return found


def _of_fields(maps: Sequence[Mapping[str, Any]]) -> list[str]:
    keys = list(dict.fromkeys(key for each in maps for key in each))
    lines = ["{"]
    for key in keys:
        there = [each[key] for each in maps if key in each]
        mark = "?" if len(there) < len(maps) else ""
        lines += [f"  {line}" for line in _wrapped(f"{key}{mark}: ", _lines(there, key), "")]
    return [*lines, "}"] if keys else ["{}"]


def _wrapped(head: str, lines: list[str], tail: str) -> list[str]:
    found = [head + (lines[0] if lines else ""), *lines[1:]]
    return [*found[:-1], found[-1] + tail]


def _word(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "number"
    return "time" if _TIME.match(str(value)) else "text"
