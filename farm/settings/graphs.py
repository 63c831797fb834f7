"""Which graphs are let in, and where templates of your own lie."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from farm.settings.environment import FromEnvironment, variable


class GateSettings(FromEnvironment):
    """What is let in: read by producers and, which counts, by workers."""

    allowed_nodes: str = Field(
        "",
        description="Node classes that graphs may use, with commas between, `*` for any letters "
        "(`WanVideo*`); empty: all that are installed.",
    )


class TemplateSettings(FromEnvironment):
    """Templates of your own."""

    folder: Path | None = Field(
        None,
        validation_alias=variable("FARM_TEMPLATES_DIR"),
        description="Folder in which `farm templates NAME --save FILE` keeps graphs, and finds them; "
        "default: `templates` in the local stack's folder (`.farm`, here or above).",
    )
