"""The picture of who imports whom stays true: every import statement is read."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVERS = {"celery", "kombu", "redis", "boto3", "botocore"}
# The farm checks graphs with these; none of them opens a socket.
SOCKETS_OF_COMFY = {
    "comfy.protocol.client",
    "comfy.protocol.follow",
    "comfy.protocol.http",
    "comfy.protocol.line",
    "comfy.protocol.listener",
    "comfy.emulator",
}


# From the top floor down: a room imports only from floors below its own. Whoever adds one gives it a floor.
FLOORS = {
    "farm": [
        {"cli"},
        {"gateway"},
        {"aio"},
        {"client"},
        {"steering", "submission"},
        {"check", "upkeep"},
        {"notifier"},
        {"broker", "fleet"},
        {"asking", "handle", "plain_redis", "reports"},
        {"record_report"},
        {"history", "local", "testing"},
        {"outside", "storage", "store"},
        {"settings", "status"},
        {"job", "process", "redis_address", "s3_address"},
        {"arguments"},
        {"faults", "limits"},
        {"errors", "installed", "logs"},
    ],
    "worker": [
        {"__main__"},
        {"one"},
        {"app"},
        {"tasks"},
        {"runtime"},
        {"life"},
        {"service"},
        {"jobs", "machine"},
        {"comfyui", "results"},
        {"plan", "up"},
        {"gpu"},
        {"errors", "exits", "fetching", "inputs"},
    ],
    "comfy": [
        {"doctor"},
        {"canary", "lint"},
        {"emulator", "protocol", "rewrites", "ui"},
        {"judging", "wan"},
        {"graphs"},
        {"node_defs"},
        {"errors", "log"},
        {"generations", "words"},
    ],
}


@functools.cache
def imports_of(path: Path) -> tuple[str, ...]:
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(found)


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


@pytest.mark.parametrize("package", FLOORS)
def test_nothing_that_ships_needs_what_does_not(package: str) -> None:
    assert offenders(package, {"pages", "bench", "tests"}) == []


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


def modules_by_name() -> dict[str, Path]:
    """Dotted name -> file, of all that ships; a package goes by its own name."""
    found = {}
    for package in FLOORS:
        for path in modules_of(package):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@functools.cache
def arrows() -> dict[str, set[str]]:
    """Module -> the modules of ours that it imports, type-only imports included."""
    modules = modules_by_name()
    return {name: {each for each in imports_of(path) if each in modules} for name, path in modules.items()}


def room_of(module: str) -> tuple[str, str]:
    package, _, rest = module.partition(".")
    return package, rest.partition(".")[0]


@pytest.mark.parametrize("package", FLOORS)
def test_no_room_imports_from_its_own_floor_or_one_above(package: str) -> None:
    floor = {room: level for level, rooms in enumerate(FLOORS[package]) for room in rooms}
    upward = []
    for module, imported in arrows().items():
        owner, room = room_of(module)
        for other in imported:
            other_owner, other_room = room_of(other)
            within = owner == other_owner == package and room and other_room and room != other_room
            # A room that is not listed is a KeyError: give it a floor.
            if within and floor[room] >= floor[other_room]:
                upward.append(f"{module} imports {other}")

    assert upward == []


def test_no_two_modules_import_each_other_by_whatever_way() -> None:
    open_arrows = arrows()
    packages = {name for name, path in modules_by_name().items() if path.name == "__init__.py"}
    # A package's own page gathers what is below it; it is no module that could be in a circle with itself.
    below = {
        name: {other for other in imported if other not in packages and other != name}
        for name, imported in open_arrows.items()
    }
    while leaves := {name for name, imported in below.items() if not imported & below.keys()}:
        below = {name: imported for name, imported in below.items() if name not in leaves}

    assert below == {}
