"""Variables: without those of a farm, and with just those that some settings are."""

from __future__ import annotations

import os
from typing import Final

import pytest
from pydantic import SecretStr

from farm.settings.environment import FromEnvironment, variables_of

_OURS: Final = ("FARM_", "BUCKET_", "COMFYUI_", "COMFY_", "WEBSOCKET_", "AWS_")


def environment_of_others() -> dict[str, str]:
    """The variables of this process that lead nobody to a farm, a ComfyUI or S3."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}


def real_comfyui_named() -> dict[str, str]:
    """Those of this process that say which real ComfyUI to test with."""
    return {name: value for name, value in os.environ.items() if name.startswith("COMFYUI_")}


@pytest.fixture
def no_farm_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable leads anywhere."""
    for name in os.environ.keys() - environment_of_others().keys():
        monkeypatch.delenv(name)


def environment_of(settings: FromEnvironment) -> dict[str, str]:
    """The variables that make a child process read these same settings (secrets included)."""
    found: dict[str, str] = {}
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if value is not None:
            plain = value.get_secret_value() if isinstance(value, SecretStr) else value
            found[variables_of(field)[0]] = str(plain)
    return found
