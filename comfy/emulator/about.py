"""What a server of each generation says of itself: data (``about-<generation>.json``) from real ones."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from comfy.generations import Generation


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """The names and numbers that a release brings along."""

    frontend: str  # version of its front end
    templates: str  # version of its workflow templates
    features: Mapping[str, Any]  # the body of GET /features
    os: str = sys.platform
    packages: Mapping[str, str] | None = None  # those that /system_stats names, with their versions
    first_lines: Sequence[str] = ()  # of the log, before it tells of the machine
    last_lines: Sequence[str] = ()  # before it tells of custom nodes

    def package_lines(self) -> tuple[str, ...]:
        """What the log says of the front end, and of other packages where it names them."""
        if self.packages is None:
            return (f"ComfyUI frontend version: {self.frontend}",)
        return tuple(f"{name} version: {version}" for name, version in self.packages.items())


@cache
def about(generation: Generation) -> About:
    """What is known of a generation's own words."""
    path = Path(__file__).parent / f"about-{generation.version}.json"
    return About(**json.loads(path.read_text(encoding="utf-8")))
