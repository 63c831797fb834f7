"""Fixtures that every folder of tests may use."""

from __future__ import annotations

pytest_plugins = [
    "tests.support.fleet",
    "tests.support.s3",
    "tests.support.valkey",
    "tests.support.sentinel",
    "tests.support.shop",
    "tests.support.emulator_thread",
    "tests.support.station",
]
