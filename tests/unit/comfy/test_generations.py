from __future__ import annotations

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest

import farm
from comfy.generations import GENERATIONS, Generation, has_flag, is_newer_than_known
from comfy.node_defs.snapshot import FOLDER
from tests.support.tables import for_each

_ROOT = Path(farm.__file__).parents[1]
_MODULES = [path for name in ("comfy", "farm", "worker") for path in sorted((_ROOT / name).rglob("*.py"))]
# By its path, not by its name: another module of that name hid here once.
_OTHERS = [path for path in _MODULES if path != _ROOT / "comfy" / "generations.py"]


@pytest.mark.parametrize(
    ("version", "generation"),
    [
        ("0.3.64", "0.3.64"),
        ("v0.3.75", "0.3.64"),
        ("0.0.1", "0.3.64"),
        ("0.11.9", "0.3.64"),
        ("0.12.0", "0.12.1"),
        ("0.12.0rc1", "0.12.1"),
        ("0.22.3", "0.12.1"),
        ("0.23.0", "0.33.0"),
        ("0.33.0", "0.33.0"),
        ("v0.46.0", "0.33.0"),
        ("1.0", "0.33.0"),
        ("unknown", "0.33.0"),
        ("", "0.33.0"),
    ],
)
def test_a_version_belongs_to_a_generation(version: str, generation: str) -> None:
    assert Generation.of(version) is Generation.named(generation)


@pytest.mark.parametrize(
    ("version", "newer"),
    [
        ("0.3.64", False),
        ("0.33.0", False),
        ("0.33.1", False),
        ("0.34.0", True),
        ("v0.46.0", True),
        ("1.0", True),
        ("unknown", True),
        ("", True),
    ],
)
def test_a_server_newer_than_all_that_was_measured_is_known_as_such(version: str, newer: bool) -> None:
    assert is_newer_than_known(version) is newer


def test_a_generation_of_no_such_name_is_an_error_that_names_those_there_are() -> None:
    with pytest.raises(ValueError, match=re.escape("0.3.64, 0.12.1, 0.33.0")):
        Generation.named("0.12")


def test_generations_stand_in_order_and_their_facts_are_shipped() -> None:
    assert list(GENERATIONS) == sorted(GENERATIONS, key=lambda each: each.since)
    for each in GENERATIONS:
        assert Generation.of(each.version) is each
        assert all((FOLDER / f"{name}.json").is_file() for name in each.core_facts)


@for_each("trait", [each.name for each in fields(Generation)])
def test_every_trait_tells_generations_apart(trait: str) -> None:
    assert len({getattr(each, trait) for each in GENERATIONS}) > 1


@for_each("path", _OTHERS)
def test_nobody_else_compares_versions_of_comfyui(path: Path) -> None:
    names = {each.version for each in GENERATIONS}

    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert "release_of" not in {each.name for each in node.names}
        if isinstance(node, ast.Compare):
            constants = {each.value for each in ast.walk(node) if isinstance(each, ast.Constant)}
            assert not constants & names, ast.unparse(node)


def test_comfy_compares_no_version_and_names_no_generation_outside_their_rows() -> None:
    telling = re.compile(r"\b(version|release)\b|NEWEST|GENERATIONS")
    others = [path for path in _OTHERS if path.is_relative_to(_ROOT / "comfy")]

    found = [
        f"{path.relative_to(_ROOT)}: {ast.unparse(node)}"
        for path in others
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Compare) and telling.search(ast.unparse(node)))
        or (isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("GENERATIONS"))
    ]

    assert found == []


@pytest.mark.parametrize(
    ("flag", "version", "taken"),
    [
        ("--disable-dynamic-vram", "0.15.9", False),
        ("--disable-dynamic-vram", "0.16.0", True),
        ("--normalvram", "0.21.0", True),
        ("--normalvram", "0.22.0", False),
        ("--normalvram", "1.0.0", False),
        ("--vram-headroom", "0.24.9", False),
        ("--vram-headroom", "1.0.0", True),
        ("--lowvram", "0.1.0", True),
    ],
)
def test_a_flag_is_known_from_the_release_it_came_with_to_the_one_it_went_with(
    flag: str, version: str, taken: bool
) -> None:
    assert has_flag(flag, version) is taken


def test_flags_of_no_version_are_an_error_that_names_two() -> None:
    with pytest.raises(ValueError, match=r"0\.3\.64 or 0\.33\.0"):
        has_flag("--lowvram", "today")
