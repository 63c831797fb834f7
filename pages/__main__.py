"""``python -m pages``: write every page that is made from the code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from pages import (
    configuration,
    doctor,
    gateway_calls,
    json_shapes,
    limits,
    lint,
    load_modes,
    log_events,
    log_lines,
    metrics,
    not_fetching,
    rewrites,
    templates,
)

DOCS: Final = Path(__file__).parents[1] / "docs"
PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "configuration.md": configuration.page,
    "doctor.md": doctor.page,
    "gateway-calls.md": gateway_calls.page,
    "json.md": json_shapes.page,
    "limits.md": limits.page,
    "lint.md": lint.page,
    "load-modes.md": load_modes.page,
    "log-events.md": log_events.page,
    "log-lines.md": log_lines.page,
    "metrics.md": metrics.page,
    "models.md": templates.models_page,
    "not-fetching.md": not_fetching.page,
    "rewrites.md": rewrites.page,
    "templates.md": templates.templates_page,
}


if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")
