"""What ComfyUI holds after a job, and after what empties it."""

from __future__ import annotations

import time
from typing import Any

from comfy.wan.templates import get_template
from farm.process.logpump import LogLine
from worker.comfyui.warm_models import WarmModels


class SomeComfy:
    """What is asked of the supervisor: which start it is, and its lines."""

    def __init__(self) -> None:
        self.generation = 1
        self.lines: list[LogLine] = []

    def say(self, *texts: str) -> None:
        for text in texts:
            self.lines.append(a_line(text))

    def lines_since(self, monotonic_s: float) -> list[LogLine]:
        return [line for line in self.lines if line.monotonic_s >= monotonic_s]


def a_line(text: str) -> LogLine:
    return LogLine(monotonic_s=time.monotonic(), wall_s=time.time(), text=text)


def a_graph() -> dict[str, Any]:
    return get_template("wan22-t2v-a14b").build(prompt="a fox", seed=1).graph


def test_the_models_of_the_last_graph_are_warm_until_a_restart_or_an_unload() -> None:
    comfy = SomeComfy()
    warm = WarmModels(comfy)  # type: ignore[arg-type]

    warm.rendered(a_graph())

    assert "vae/wan_2.1_vae.safetensors" in warm.files()
    assert sum("diffusion_models/wan2.2_t2v" in file for file in warm.files()) == 2
    comfy.generation = 2
    assert warm.files() == []
    warm.rendered(a_graph())
    assert warm.files()
    warm.forget()
    assert warm.files() == []


def test_each_kind_of_model_is_told_as_it_was_loaded_last() -> None:
    comfy = SomeComfy()
    warm = WarmModels(comfy)  # type: ignore[arg-type]
    comfy.say(
        "Requested to load WanTEModel",
        "loaded completely;  6419.48 MB loaded, full load: True",
        "Requested to load WAN21",
        "loaded partially; 9000.00 MB usable, 8800.00 MB loaded, 4829.00 MB offloaded, 135.00 MB buffer "
        "reserved, lowvram patches: 0",
    )
    warm.rendered(a_graph())
    comfy.say("Model WAN21 prepared for dynamic VRAM loading. 13629MB Staged. 400 patches attached.")
    warm.rendered(a_graph())

    loads = warm.loads()

    assert loads["WanTEModel"].loaded_mib == 6419.48
    assert loads["WAN21"].state == "dynamic"


def test_an_out_of_memory_leaves_nothing_loaded() -> None:
    comfy = SomeComfy()
    warm = WarmModels(comfy)  # type: ignore[arg-type]
    comfy.say(
        "Requested to load WAN21",
        "loaded completely;  13629.0 MB loaded, full load: True",
        "Got an OOM, unloading all loaded models.",
        "Requested to load WanVAE",
        "loaded completely;  242.0 MB loaded, full load: True",
    )

    warm.rendered(a_graph())

    assert list(warm.loads()) == ["WanVAE"]
