"""Finding the farm from where one stands: the environment first, then the local stack found from here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from farm.local.running import local_environment
from farm.settings.environment import FromEnvironment

_Settings = TypeVar("_Settings", bound=FromEnvironment)


def settings_here(group: type[_Settings], folder: Path | None = None) -> _Settings:
    """A group of settings: from the environment, else as the running stack has it.

    Args:
        folder: of the stack (`.farm`); default: the one that is found from here, as `stack_folder` does.

    Raises:
        SettingsError: a variable is wrong; the message names it.
    """
    stack = {name: value for name, value in local_environment(folder).items() if not os.environ.get(name)}
    return group.read(**stack)
