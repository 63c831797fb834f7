"""What of the farm is installed here: its version, and how the rest would come."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from typing import Final

PROJECT: Final = "wan-farm"
# What of its extra a worker imports before it can say anything.
MODULES_OF_WORKER: Final = ("av", "psutil", "pynvml", "websocket")
_OF_AN_EXTRA: Final = re.compile(r"""([^;]+?)\s*;\s*extra == ['"](\w+)['"]""")


def own_version() -> str:
    """The version of the farm; empty when it runs from a folder that nothing was installed from."""
    try:
        return version(PROJECT)
    except PackageNotFoundError:
        return ""


def packages_of(extra: str) -> list[str]:
    """What an extra (`worker`, `flower`, …) adds to the base installation, as pip takes it; sorted."""
    try:
        parts = [_OF_AN_EXTRA.fullmatch(line) for line in requires(PROJECT) or ()]
    except PackageNotFoundError:
        return []
    return sorted(part[1] for part in parts if part is not None and part[2] == extra)


def is_installed(module: str) -> bool:
    """Whether a module of an extra can be imported."""
    return find_spec(module) is not None


def how_to_install(extra: str) -> str:
    """A command that adds an extra here. It names packages: the farm itself is on no package index."""
    packages = " ".join(f"'{package}'" for package in packages_of(extra))
    return f"pip install {packages}" if packages else f"install {PROJECT} with its extra {extra!r}"
