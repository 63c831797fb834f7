from __future__ import annotations

import math
import re
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfy.log import lines
from comfy.log.facts import (
    AttentionFact,
    AttentionFailedFact,
    BarFact,
    DeviceFact,
    DynamicVramFact,
    LoadState,
    LogFact,
    MemoryFact,
    ModelLoadedFact,
    ModelRequestedFact,
    ModuleOnCardFact,
    OutOfMemoryFact,
    PromptDoneFact,
    ReadyFact,
    VaeRetryFact,
    VersionFact,
    VramStateFact,
    WorkingFact,
)
from comfy.log.form import LineForm
from comfy.log.lines import BAR_SAMPLE, FORMS, HEAD, form_of, read_bar, read_line
from tests.support.mangled import each_mangled
from tests.support.tables import for_each


@for_each(
    "line, fact",
    [
        ("ComfyUI version: 0.3.64", VersionFact(version="0.3.64")),
        ("Total VRAM 24106 MB, total RAM 64000 MB", MemoryFact(vram_mib=24106, ram_mib=64000)),
        ("Set vram state to: NORMAL_VRAM", VramStateFact(state="NORMAL_VRAM")),
        ("Device: cpu", DeviceFact(device="cpu")),
        (
            "Device: cuda:0 NVIDIA L40S : cudaMallocAsync",
            DeviceFact(device="cuda:0 NVIDIA L40S : cudaMallocAsync"),
        ),
        ("Using pytorch attention", AttentionFact(name="pytorch")),
        ("Using sage attention", AttentionFact(name="sage")),
        ("Using Flash Attention", AttentionFact(name="flash")),
        (
            "Error running sage attention: SM89 kernel is not available, using pytorch attention instead.",
            AttentionFailedFact(name="sage"),
        ),
        ("Flash Attention failed, using default SDPA: no kernel image", AttentionFailedFact(name="flash")),
        (
            "Using sub quadratic optimization for attention, if you have memory or speed issues try using: x",
            AttentionFact(name="sub quadratic"),
        ),
        ("Using split attention in VAE", WorkingFact()),
        ("Using pytorch attention in VAE", WorkingFact()),
        ("DynamicVRAM support detected and enabled", DynamicVramFact(enabled=True)),
        (
            "No working comfy-aimdo install detected. x",
            DynamicVramFact(enabled=False, why="comfy-aimdo is missing or does not work"),
        ),
        ("To see the GUI go to: http://127.0.0.1:8188", ReadyFact()),
        ("Starting server", None),
        ("Requested to load WAN21", ModelRequestedFact(model_class="WAN21")),
        (
            "loaded completely 9.5367431640625e+25 12.419189453125 True",
            ModelLoadedFact(state=LoadState.COMPLETE, loaded_mib=12.419189453125),
        ),
        (
            "loaded completely;  12.42 MB loaded, full load: True",
            ModelLoadedFact(state=LoadState.COMPLETE, loaded_mib=12.42),
        ),
        (
            "loaded completely; 17000.50 MB usable, 13629.00 MB loaded, full load: True",
            ModelLoadedFact(state=LoadState.COMPLETE, usable_mib=17000.5, loaded_mib=13629),
        ),
        (
            "loaded partially 5000.0 4900.5 12",
            ModelLoadedFact(state=LoadState.PARTIAL, usable_mib=5000, loaded_mib=4900.5, patches=12),
        ),
        (
            (
                "loaded partially; 9700.00 MB usable, 9600.00 MB loaded, 4029.00 MB offloaded, "
                "135.00 MB buffer reserved, lowvram patches: 0"
            ),
            ModelLoadedFact(
                state=LoadState.PARTIAL, usable_mib=9700, loaded_mib=9600, offloaded_mib=4029, patches=0
            ),
        ),
        (
            "Model WAN21 prepared for dynamic VRAM loading. 13629MB Staged. 400 patches attached.",
            ModelLoadedFact(state=LoadState.DYNAMIC, model_class="WAN21", patches=400, staged_mib=13629),
        ),
        ("Got an OOM, unloading all loaded models.", OutOfMemoryFact()),
        (
            "Warning: Ran out of memory when regular VAE decoding, retrying with tiled VAE decoding.",
            VaeRetryFact(decoding=True),
        ),
        ("Prompt executed in 3.64 seconds", PromptDoneFact(seconds=3.64)),
        ("Prompt executed in 00:12:34", PromptDoneFact(seconds=754)),
        ("lowvram: loaded module regularly blocks.0.ffn.0 Linear()", ModuleOnCardFact()),
        ("", None),
    ],
)
def test_a_line_says_what_it_says(line: str, fact: LogFact | None) -> None:
    assert read_line(line) == fact


@given(st.text(max_size=200))
def test_no_line_raises(line: str) -> None:
    read_line(line)


@for_each("form, sample", [(form, text) for form in FORMS for text in form.samples])
def test_each_sample_of_the_table_is_read_by_its_own_row(form: LineForm, sample: str) -> None:
    found = form_of(sample)

    assert found is not None
    assert found[0] is form
    assert read_line(sample) is not None


SAMPLES = [text for form in FORMS for text in form.samples]


def figures_of(fact: LogFact) -> list[float]:
    values = (getattr(fact, each.name) for each in fields(fact))
    return [value for value in values if isinstance(value, int | float)]


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_mangled_number_fits_no_row_or_is_read_as_one_that_means_something(sample: str) -> None:
    for text in each_mangled(sample):
        found = form_of(text)
        if found is not None:
            # Not by `read_line`, which forgives.
            figures = figures_of(found[0].read(found[1]))
            assert all(math.isfinite(each) for each in figures), text[:200]


@pytest.mark.parametrize("text", [BAR_SAMPLE, "Fetching 3 files: 66%|██ | 2/3 [1:02:03<00:01,  1.03s/it]"])
def test_a_mangled_bar_is_none_or_has_figures_that_mean_something(text: str) -> None:
    for each in each_mangled(text):
        bar = read_bar(each)
        if bar is not None:
            assert all(math.isfinite(figure) for figure in figures_of(bar)), each[:200]
            assert 0 <= bar.done <= bar.total


def test_two_figures_over_each_other_are_not_read_as_the_first_of_them() -> None:
    assert read_line("Transformer blocks on cpu: 82.00.45MB") is None
    assert read_line("Enabled pinned memory 573.44.1") is None
    assert read_line(
        "Model WAN21 prepared for dynamic VRAM loading. 13629MB Staged. 4.00 patches attached."
    ) == (ModelLoadedFact(state=LoadState.DYNAMIC, model_class="WAN21", staged_mib=13629))
    bar = read_bar("50%|█| 10/20 [02:15<02:15, 13.51.2s/it]")
    assert bar is not None
    assert bar.seconds_per_step is None


def test_a_line_whose_reading_fails_costs_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_found: re.Match[str]) -> LogFact:
        raise ValueError

    row = next(each for each in FORMS if each.name == "version")
    monkeypatch.setitem(lines._BY_HEAD, "Com", (replace(row, read=fails),))

    assert read_line("ComfyUI version: 0.3.64") is None
    assert read_line("got prompt") is not None


def test_names_of_the_table_are_unique_and_every_beginning_has_a_sample() -> None:
    names = [form.name for form in FORMS]

    assert sorted(set(names)) == sorted(names)
    for form in FORMS:
        assert all(any(text.startswith(words) for text in form.samples) for words in form.begins), form.name
        assert all(len(words) >= HEAD for words in form.begins), form.name


@pytest.mark.parametrize(
    ("text", "bar"),
    [
        (
            BAR_SAMPLE,
            BarFact(label="", done=10, total=20, elapsed_s=135, first_s=None, seconds_per_step=13.51),
        ),
        (
            "100%|██████████| 2/2 [00:04<00:00,  1.25s/it]",
            BarFact(label="", done=2, total=2, elapsed_s=4, first_s=None, seconds_per_step=1.25),
        ),
        (
            " 50%|#####     | 1/2 [1:02:03<1:02:03, 3723.00s/it]",
            BarFact(label="", done=1, total=2, elapsed_s=3723, first_s=3723, seconds_per_step=3723),
        ),
        (
            "  0%|          | 0/2 [00:00<?, ?it/s]",
            BarFact(label="", done=0, total=2, elapsed_s=0, first_s=None, seconds_per_step=None),
        ),
        (
            "Generating tokens:  25%|██▌       | 64/256 [00:04<00:12, 16.00it/s]",
            BarFact(
                label="Generating tokens", done=64, total=256, elapsed_s=4, first_s=None,
                seconds_per_step=1 / 16,
            ),
        ),
        # No sampler is so fast.
        (
            "100%|██████████| 60/60 [00:00<00:00, 300.00it/s]",
            BarFact(
                label="items", done=60, total=60, elapsed_s=0, first_s=None, seconds_per_step=1 / 300
            ),
        ),
        ("Loading 50% of it | 1/2", None),
    ],
)  # fmt: skip
def test_a_bar_is_read_as_it_was_drawn(text: str, bar: BarFact | None) -> None:
    assert read_bar(text) == bar
