"""Fixtures that every folder of tests may use."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings

from farm.process.garbage import look_seldom

look_seldom()  # to collect the tests is a start, too

# A deadline for each example would measure who else uses the machine.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")

pytest_plugins = [
    "tests.support.fleet",
    "tests.support.s3",
    "tests.support.valkey",
    "tests.support.sentinel",
    "tests.support.shop",
    "tests.support.emulator_thread",
    "tests.support.station",
    "tests.support.gateway",
    "tests.support.environment",
    "tests.support.whole_farm",
]


def pytest_collection(session: pytest.Session) -> None:
    """Have each process of a fresh checkout's run rewrite the asserts of a share of the files.

    All begin with the same file otherwise, and each rewrites every one: a third of what their start takes.
    What one has rewritten the others read.
    """
    number = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    if not number:
        return
    asked = [session.config.invocation_params.dir / each.partition("::")[0] for each in session.config.args]
    files = sorted(file for each in asked for file in (each.rglob("test_*.py") if each.is_dir() else [each]))
    root = session.config.rootpath
    for file in files[int(number) :: int(os.environ["PYTEST_XDIST_WORKER_COUNT"])]:
        with contextlib.suppress(Exception, pytest.skip.Exception):  # collecting it tells
            importlib.import_module(".".join(file.relative_to(root).with_suffix("").parts))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread each folder's tests over the whole run, a module at a time.

    Whole farms wait more than they compute. Together they would leave the cores idle; among the tests of
    other folders they wait while those compute.
    """
    folders = ["/".join(item.nodeid.split("/")[:2]) for item in items]
    of_folder, seen = Counter(folders), Counter[str]()
    begins: dict[Path, float] = {}  # by module: the part of its folder's tests that come before it
    for item, folder in zip(items, folders, strict=True):
        begins.setdefault(item.path, seen[folder] / of_folder[folder])
        seen[folder] += 1
    items.sort(key=lambda item: begins[item.path])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell how long farms lived under a virtual clock (`tests/virtual`)."""
    told: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            told[name] += value
    if told["played_s"]:
        terminalreporter.write_line(
            f"{told['farm_hours']:.0f} farm-hours under a virtual clock, "
            f"{told['moves']} moves, {60 * told['moves'] / told['played_s']:.0f} a minute"
        )
