"""The picture of who imports whom stays true: every import statement is read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVERS = {"celery", "kombu", "redis", "boto3", "botocore"}
# The farm checks graphs with these; none of them opens a socket.
SOCKETS_OF_COMFY = {
    "comfy.protocol.client",
    "comfy.protocol.follow",
    "comfy.protocol.line",
    "comfy.protocol.listener",
    "comfy.emulator",
}


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules_of(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found, f"no modules of {package}"
    return found


def offenders(package: str, forbidden: set[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules_of(package)
        for name in imports_of(path)
        if any(name == root or name.startswith(f"{root}.") for root in forbidden)
    ]


def test_comfy_knows_neither_us_nor_our_servers() -> None:
    assert offenders("comfy", {"farm", "worker", *SERVERS}) == []


def test_farm_does_not_know_the_worker() -> None:
    assert offenders("farm", {"worker"}) == []


def test_farm_opens_no_socket_to_comfyui() -> None:
    assert offenders("farm", SOCKETS_OF_COMFY) == []


def test_comfy_stays_a_namespace_package() -> None:
    assert not (ROOT / "comfy" / "__init__.py").exists()


@pytest.mark.parametrize("package", ["farm", "worker", "comfy"])
def test_imports_are_absolute(package: str) -> None:
    relative = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in modules_of(package)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]

    assert relative == []
