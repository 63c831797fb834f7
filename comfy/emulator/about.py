"""What a server of each generation says of itself: data (``about-<generation>.json``) from real ones."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
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


@cache
def about(generation: Generation) -> About:
    """What is known of a generation's own words."""
    path = Path(__file__).parent / f"about-{generation.version}.json"
    return About(**json.loads(path.read_text(encoding="utf-8")))
