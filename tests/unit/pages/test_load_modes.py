"""The page about load modes is what the plan says, and a benchmark's results are shown on it."""

from __future__ import annotations

import json
from pathlib import Path

from pages.load_modes import page


def test_a_row_for_each_card_says_what_is_known_of_it(tmp_path: Path) -> None:
    rows = [line for line in page(tmp_path / "none").splitlines() if " GB | " in line]

    assert [row.split()[1] for row in rows] == ["8", "12", "16", "24", "32", "48", "80", "141"] * 2
    legacy, dynamic = rows[:8], rows[8:]
    assert "streams 27%" in legacy[3]  # fp8 at 720p on 24 GB
    assert legacy[6].count("`resident`") == 2
    assert not any("--highvram" in row for row in dynamic)


def test_measurements_are_shown_with_what_failed(tmp_path: Path) -> None:
    run = {
        "card": "NVIDIA H200",
        "comfyui": "0.33.0",
        "torch": "2.9.1",
        "weights": "14B fp8",
        "clip": "832x480x81",
        "mode": "balanced",
        "seconds_per_step": 3.25,
        "peak_vram_bytes": 21 * 2**30,
        "differences": [],
        "error": None,
    }
    failed = run | {
        "mode": "streamed",
        "seconds_per_step": None,
        "peak_vram_bytes": None,
        "error": "out of memory",
    }
    results = tmp_path / "results.json"
    results.write_text(json.dumps({"runs": [run, failed]}))

    text = page(results)

    assert "| `balanced` | 3.25 | 21.0 | as planned |" in text
    assert "| `streamed` | out of memory | – |" in text
    assert "Not measured yet" not in text
