"""All settings together: what is wrong, unknown or secret among the variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from farm.errors import SettingsError
from farm.process.environment import is_service_link
from farm.settings.environment import secrets_of, variables_for
from farm.settings.gateway import GatewaySettings
from farm.settings.graphs import GateSettings, TemplateSettings
from farm.settings.logs import LogSettings
from farm.settings.redis import RedisSettings, StoreSettings
from farm.settings.s3 import CleanSettings, S3Settings
from farm.settings.worker import WorkerSettings

GROUPS: Final = (
    RedisSettings,
    StoreSettings,
    S3Settings,
    CleanSettings,
    WorkerSettings,
    GateSettings,
    LogSettings,
    TemplateSettings,
    GatewaySettings,
)


def wrong_settings() -> list[str]:
    """What cannot be read of the environment, group by group, with its variables; empty: all can."""
    found = []
    for group in GROUPS:
        try:
            group.read()
        except SettingsError as exc:
            found.append(str(exc))
    return found


def known_variables() -> set[str]:
    """Names of all variables that any group, or the command line, reads."""
    return {"FARM_DEBUG", *variables_for(*GROUPS)}


def secret_variables() -> set[str]:
    """Names of those that hold a secret.

    What boto3 looks for by itself (``AWS_…``) it looks for again, and is not among them.
    """
    return secrets_of(*GROUPS)


def misspelt_variables(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Variables that begin with ``FARM_`` and that nobody reads: most likely a typing error."""
    return sorted(
        name
        for name, value in environ.items()
        if name.startswith("FARM_") and name not in known_variables() and not is_service_link(name, value)
    )
