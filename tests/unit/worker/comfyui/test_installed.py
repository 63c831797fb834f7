"""Versions and revisions, read from folders as git and pip leave them."""

from __future__ import annotations

from pathlib import Path

import pytest

from farm.settings.worker import WorkerSettings
from worker.comfyui.installed import Installed, comfyui_installed, custom_nodes, read_installed

REVISION = "795e45156ece99afbc3efef911e63fcb46e6a20d"


def a_checkout(folder: Path, *, branch: str | None = "main", packed: bool = False) -> Path:
    git = folder / ".git"
    git.mkdir(parents=True)
    (git / "HEAD").write_text(f"ref: refs/heads/{branch}\n" if branch else f"{REVISION}\n")
    if packed:
        (git / "packed-refs").write_text(f"# pack-refs with: peeled\n{REVISION} refs/heads/{branch}\n")
    elif branch:
        (git / "refs/heads").mkdir(parents=True)
        (git / f"refs/heads/{branch}").write_text(f"{REVISION}\n")
    return folder


@pytest.mark.parametrize(("branch", "packed"), [("main", False), ("main", True), (None, False)])
def test_the_revision_is_read_however_git_keeps_it(tmp_path: Path, branch: str | None, packed: bool) -> None:
    assert read_installed(a_checkout(tmp_path / "node", branch=branch, packed=packed)).revision == REVISION


def test_the_revision_of_a_worktree_is_that_of_its_own_branch(tmp_path: Path) -> None:
    main = a_checkout(tmp_path / "main", packed=True)
    own = main / ".git/worktrees/wt"
    own.mkdir(parents=True)
    (own / "HEAD").write_text("ref: refs/heads/main\n")
    (own / "commondir").write_text("../..\n")
    (tmp_path / "wt").mkdir()
    (tmp_path / "wt/.git").write_text(f"gitdir: {own}\n")

    assert read_installed(tmp_path / "wt").revision == REVISION


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ('[project]\nname = "kjnodes"\nversion = "1.1.7"\n', "1.1.7"),
        ("[project]\nversion = 2\n", "2"),
        ('[tool.x]\nversion = "9"\n', None),
        ("project = 3\n", None),
        ("not toml at all [", None),
    ],
)
def test_the_version_is_that_of_the_project_file(tmp_path: Path, text: str, version: str | None) -> None:
    (tmp_path / "pyproject.toml").write_text(text)

    assert read_installed(tmp_path) == Installed(version=version, revision=None)


def test_custom_nodes_are_those_that_comfyui_loads(tmp_path: Path) -> None:
    nodes = tmp_path / "base/custom_nodes"
    a_checkout(nodes / "ComfyUI-GGUF")
    for name in ("old.disabled", ".git", "__pycache__"):
        (nodes / name).mkdir()
    (nodes / "single.py").touch()
    (nodes / "notes.txt").touch()
    a_checkout(tmp_path / "ComfyUI", branch=None)
    settings = WorkerSettings.read(comfyui_dir=tmp_path / "ComfyUI", comfyui_base=tmp_path / "base")

    assert custom_nodes(settings) == {
        "ComfyUI-GGUF": Installed(version=None, revision=REVISION),
        "single.py": Installed(version=None, revision=None),
    }
    assert comfyui_installed(settings) == Installed(version=None, revision=REVISION)


def test_nothing_is_told_of_a_comfyui_that_is_not_ours() -> None:
    attached = WorkerSettings.read(comfyui_url="http://elsewhere:8188")

    assert comfyui_installed(attached) is None
    assert custom_nodes(attached) == {}
