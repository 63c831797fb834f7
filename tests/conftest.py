"""Fixtures that every folder of tests may use."""

from __future__ import annotations

from hypothesis import settings

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
]
