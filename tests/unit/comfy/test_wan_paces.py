"""What is kept of the farm's own seconds."""

from __future__ import annotations

import statistics
from dataclasses import replace

import pytest

from comfy.wan.paces import FIRST, REMEMBERED_JOBS, PaceKey, read_key

A_KEY = PaceKey(
    what="step",
    gpu="NVIDIA GeForce RTX 4090",
    family="14B",
    precision="fp8",
    size="832x480x81",
    passes=2,
    mode="balanced",
    attention="default",
    loras=0,
    comfyui="0.12.1",
)


def test_mean_and_spread_are_those_of_the_samples() -> None:
    samples = [12.1, 11.8, 12.4, 12.0, 30.0]
    pace = FIRST
    for seconds in samples:
        pace = pace.with_sample(seconds)

    assert pace.count == 5
    assert pace.mean_s == pytest.approx(statistics.fmean(samples))
    assert pace.spread_s == pytest.approx(statistics.pstdev(samples))


def test_a_mean_follows_what_has_changed() -> None:
    pace = FIRST
    for seconds in [30.0] * 500 + [10.0] * 3 * REMEMBERED_JOBS:
        pace = pace.with_sample(seconds)

    assert pace.mean_s == pytest.approx(10.0, abs=1.5)


@pytest.mark.parametrize("gpu", ["NVIDIA H100 80GB HBM3", "odd|name", "x" * 200])
def test_a_key_is_read_back_from_its_name(gpu: str) -> None:
    key = replace(A_KEY, gpu=gpu)

    read = read_key(key.name())

    assert read == replace(A_KEY, gpu=gpu.replace("|", "/")[:60])
    assert read is not None
    assert read.name() == key.name()


@pytest.mark.parametrize("name", ["", "step|x", "a|b|c|d|e|f|g|h|i|j|k", "|" * 10])
def test_what_another_version_wrote_is_no_key(name: str) -> None:
    assert read_key(name) is None
