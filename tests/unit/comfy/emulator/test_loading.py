from __future__ import annotations

import io
import re

import pytest

from comfy.emulator.console import Console, StepBar
from comfy.emulator.loading import Loadable, LoadMode, Residency
from comfy.generations import Generation

HIGH = Loadable(class_name="WAN21", file="high", size_mib=1000.0, is_diffusion_model=True, patches=400)
LOW = Loadable(class_name="WAN21", file="low", size_mib=1000.0, is_diffusion_model=True)
ENCODER = Loadable(class_name="WanTEModel", file="umt5", size_mib=600.0)


def lines(mode: LoadMode, *models: Loadable, generation: str = "0.12.1") -> list[str]:
    stream = io.StringIO()
    residency = Residency(Console(stream), mode, Generation.named(generation), load_s=0.0, budget_mib=8000.0)
    for model in models:
        residency.bring(model, pause=lambda _: None)
    return stream.getvalue().splitlines()


def test_a_resident_model_is_loaded_once() -> None:
    assert lines(LoadMode.RESIDENT, HIGH, LOW, HIGH, LOW).count("Requested to load WAN21") == 2


@pytest.mark.parametrize("mode", [LoadMode.PARTIAL, LoadMode.NOVRAM])
def test_without_room_each_expert_pushes_the_other_out(mode: LoadMode) -> None:
    assert lines(mode, HIGH, LOW, HIGH, LOW).count("Requested to load WAN21") == 4


def test_an_encoder_stays_beside_the_models_in_partial_mode() -> None:
    assert lines(LoadMode.PARTIAL, ENCODER, HIGH, ENCODER).count("Requested to load WanTEModel") == 1


@pytest.mark.parametrize(
    ("mode", "generation", "pattern"),
    [
        (LoadMode.RESIDENT, "0.3.64", r"loaded completely 8000\.0 1000\.0 True"),
        (LoadMode.CPU, "0.3.64", r"loaded completely 9\.5367431640625e\+25 1000\.0 True"),
        (LoadMode.PARTIAL, "0.3.64", r"loaded partially 600\.0 600\.0 400"),
        (LoadMode.RESIDENT, "0.12.1", r"loaded completely; 8000\.00 MB usable, 1000\.00 MB loaded.*"),
        (LoadMode.CPU, "0.12.1", r"loaded completely;  1000\.00 MB loaded, full load: True"),
        (
            LoadMode.PARTIAL,
            "0.12.1",
            r"loaded partially; 600\.00 MB usable, 600\.00 MB loaded, 400\.00 MB offloaded, 352\.00.*: 400",
        ),
        (LoadMode.NOVRAM, "0.12.1", r"loaded partially; 0\.00 MB usable, .*, 1000\.00 MB offloaded.*"),
        (
            LoadMode.DYNAMIC,
            "0.12.1",
            r"Model WAN21 prepared for dynamic VRAM loading\. 1000MB Staged\. 400 patches attached\.",
        ),
    ],
)  # fmt: skip
def test_the_line_is_that_of_the_mode_and_the_version(mode: LoadMode, generation: str, pattern: str) -> None:
    assert re.fullmatch(pattern, lines(mode, HIGH, generation=generation)[-1])


def test_the_bar_of_a_sampler_looks_like_tqdms() -> None:
    stream = io.StringIO()
    bar = StepBar(Console(stream), 2)
    bar.step(1, 65.0)
    bar.step(2, 130.0)
    bar.close()

    assert stream.getvalue() == (
        "\r  0%|          | 0/2 [00:00<?, ?it/s]"
        "\r 50%|█████     | 1/2 [01:05<01:05, 65.00s/it]"
        "\r100%|██████████| 2/2 [02:10<00:00, 65.00s/it]\n"
    )


def test_the_console_remembers_the_last_writes() -> None:
    console = Console(io.StringIO())
    for number in range(400):
        console.line(str(number))

    entries = console.raw()["entries"]

    assert len(entries) == 300
    assert entries[-1]["m"] == "399\n"
    assert console.text().endswith("399\n")
