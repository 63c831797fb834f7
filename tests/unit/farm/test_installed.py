"""What is said of the installation: the version, and a command that adds what is missing."""

from __future__ import annotations

import re
import shlex
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

import farm
from farm import installed
from farm.installed import how_to_install, own_version, packages_of

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"
PROJECT: dict[str, Any] = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def test_the_version_is_that_of_the_project() -> None:
    assert farm.__version__ == own_version() == PROJECT["version"]


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_is_installed_by_packages_that_exist_and_not_by_the_farms_own_name(extra: str) -> None:
    pip, install, *packages = shlex.split(how_to_install(extra))

    assert (pip, install) == ("pip", "install")
    assert "wan-farm" not in how_to_install(extra)
    assert all(version(re.split("[<>=]", package)[0]) for package in packages)  # raises for one that is not


def test_an_extra_of_extras_has_the_packages_of_all() -> None:
    parts = {
        package for extra in ("worker", "emulator", "flower", "metrics") for package in packages_of(extra)
    }

    assert parts < set(packages_of("local"))


def test_a_farm_that_runs_from_a_folder_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_installed(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(installed, "requires", not_installed)
    monkeypatch.setattr(installed, "version", not_installed)

    assert how_to_install("flower") == "install wan-farm with its extra 'flower'"
    assert own_version() == ""
