"""tcmalloc, where the machine has it: with glibc's allocator host memory grows with each swap of models."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_NAMES: Final = ("libtcmalloc_minimal.so.4", "libtcmalloc.so.4")
_FOLDERS: Final = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/lib64",
)


def find_tcmalloc(environ: Mapping[str, str], *, folders: tuple[str, ...] = _FOLDERS) -> str | None:
    """The path to preload; None when there is none, or when the operator preloads something already."""
    if environ.get("LD_PRELOAD"):
        return None
    usual = (Path(folder, name) for name in _NAMES for folder in folders)
    return next((str(path) for path in usual if path.is_file()), None) or _from_linker()


def _from_linker() -> str | None:
    """What the dynamic linker knows: libraries in places of their own."""
    try:
        listed = subprocess.run(
            ["ldconfig", "-p"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None  # not every system has it on an ordinary user's path
    rows = [row.split() for row in listed.splitlines() if "=>" in row]
    return next((row[-1] for name in _NAMES for row in rows if row and row[0] == name), None)
