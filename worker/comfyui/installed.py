"""What is installed: the revision of ComfyUI and the version of each custom node, read from their folders."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farm.settings.worker import WorkerSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """One folder with code."""

    version: str | None  # as its pyproject.toml says
    revision: str | None  # git's, of its check-out


def comfyui_installed(settings: WorkerSettings) -> Installed | None:
    """The ComfyUI that is started here; None when none is."""
    if settings.comfyui_dir is None or settings.comfyui_url is not None:
        return None
    return read_installed(settings.comfyui_dir.expanduser().absolute())


def custom_nodes(settings: WorkerSettings) -> dict[str, Installed]:
    """The custom nodes that this ComfyUI loads, by their folder's name.

    Source: ComfyUI nodes.py, ``init_external_custom_nodes``; ``--base-directory`` moves the folder.
    """
    base = settings.comfyui_base or settings.comfyui_dir
    if base is None or settings.comfyui_url is not None:
        return {}
    folder = base.expanduser().absolute() / "custom_nodes"
    return {path.name: read_installed(path) for path in sorted(_loaded_from(folder))}


def read_installed(folder: Path) -> Installed:
    """Version and revision of a folder, as far as it tells them."""
    return Installed(version=_version(folder / "pyproject.toml"), revision=_revision(folder))


def _loaded_from(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        switched_off = path.name.endswith(".disabled") or path.name.startswith((".", "__"))
        if not switched_off and (path.is_dir() or path.suffix == ".py"):
            yield path


def _version(file: Path) -> str | None:
    try:
        project: Any = tomllib.loads(file.read_text(encoding="utf-8")).get("project")
    except (OSError, ValueError):
        return None
    version = project.get("version") if isinstance(project, dict) else None
    return str(version) if version is not None else None


def _revision(folder: Path) -> str | None:
    """What git's HEAD points to; read without git, which an image may not have."""
    try:
        git = folder / ".git"
        if git.is_file():  # a worktree or a submodule: it names where its own part lies
            git = folder / git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
        if not head.startswith("ref:"):
            return head or None
        return _ref(git, head.removeprefix("ref:").strip())
    except (OSError, ValueError):
        return None


def _ref(git: Path, name: str) -> str | None:
    common = git / "commondir"
    shared = git / common.read_text(encoding="utf-8").strip() if common.is_file() else git
    for folder in (git, shared):
        if (folder / name).is_file():
            return (folder / name).read_text(encoding="utf-8").strip()
    for line in (shared / "packed-refs").read_text(encoding="utf-8").splitlines():
        revision, _, packed = line.partition(" ")
        if packed == name:
            return revision
    return None
