"""How the farm's processes log."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from farm.settings.environment import FromEnvironment, variable


class LogSettings(FromEnvironment):
    """How the farm's processes log."""

    level: str = Field(
        "INFO",
        pattern=r"(?i)^(debug|info|warning|error|critical)$",
        validation_alias=variable("FARM_LOG_LEVEL"),
        description="Least level that is logged: DEBUG, INFO, WARNING, ERROR.",
    )
    form: Literal["text", "json"] = Field(
        "text",
        validation_alias=variable("FARM_LOG_FORMAT"),
        description="`text` for people, `json` for a collector.",
    )
