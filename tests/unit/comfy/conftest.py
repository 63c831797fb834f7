from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_RUNS = Path(__file__).parents[2] / "data" / "comfyui" / "runs"


@pytest.fixture
def capture() -> Callable[[str], dict[str, Any]]:
    """Read what a real ComfyUI 0.3.64 said: graph, prompt_id, messages as [type, data], history."""

    def read(name: str) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads((_RUNS / f"{name}.json").read_text())
        return loaded

    return read
