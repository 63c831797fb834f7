"""The command `farm` as a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from farm.process.child import Child

ROOT: Final = Path(__file__).parents[2]


def run_farm(
    *arguments: str, environ: Mapping[str, str] | None = None, cwd: Path = ROOT, within_s: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """Run it to its end, as a person does."""
    return subprocess.run(
        [sys.executable, "-m", "farm.cli", *arguments],
        env=environ,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=within_s,
    )


class FarmProcess:
    """One of its commands that serve until they are told to end."""

    def __init__(self, environ: Mapping[str, str], *arguments: str) -> None:
        self.lines: list[str] = []
        self.child = Child.start(
            [sys.executable, "-m", "farm.cli", *arguments],
            name=arguments[0],
            env=environ,
            cwd=ROOT,
            on_line=lambda line: self.lines.append(line.text),
            grace_s=10.0,
        )

    @property
    def url(self) -> str | None:
        """Where it said that it is."""
        found = [re.search(r"http://\S+", line) for line in self.lines]
        return next((match[0] for match in found if match), None)
