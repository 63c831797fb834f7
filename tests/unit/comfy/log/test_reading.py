"""What of a log was understood is counted, and a warning that nobody knows is kept."""

from __future__ import annotations

from comfy.log.facts import ModelLoadedFact, PromptDoneFact, VramStateFact
from comfy.log.reading import AT_START, OF_A_RUN, LogReader, kind_of
from comfy.log.text import plain_lines

START = """\
Total VRAM 24080 MB, total RAM 64000 MB
Set vram state to: NORMAL_VRAM
Device: cuda:0 NVIDIA L40S : cudaMallocAsync
Using pytorch attention
ComfyUI version: 0.33.0
To see the GUI go to: http://127.0.0.1:8188
"""


def read(printed: str) -> LogReader:
    return LogReader.of(plain_lines(printed))


def test_a_log_that_is_known_misses_nothing() -> None:
    reading = read(START + "got prompt\nsome words\nPrompt executed in 1.00 seconds\n").reading(
        (*AT_START, *OF_A_RUN)
    )

    assert (reading.known, reading.of, reading.missing) == (8, 8, ())
    assert (reading.lines, reading.known_lines) == (9, 8)


def test_each_kind_that_does_not_come_is_named() -> None:
    reading = read(START.replace("Set vram", "Now vram")).reading()

    assert reading.missing == ("vram state",)
    assert str(reading) == "5 of 6 kinds of line known"


def test_another_prefix_leaves_nothing_known() -> None:
    reading = read("\n".join(f"<6> {line}" for line in START.splitlines())).reading()

    assert (reading.known, reading.of, reading.known_lines) == (0, 6, 0)


def test_unknown_warnings_and_errors_are_kept_once_each_and_not_without_end() -> None:
    lines = [f"\x1b[33m[WARNING]\x1b[0m new thing {number}" for number in range(100)]
    reader = read(
        "\n".join(
            [
                "[ERROR] Traceback (most recent call last):",
                "[WARNING] No target revision found.",
                "[INFO] good news",
                "WARNING: an old server's words",
                *lines,
                *lines[-2:],
            ]
        )
    )

    unknown = reader.reading().unknown_warnings

    assert len(unknown) == 20
    assert unknown[-1] == "new thing 99"
    assert unknown[0] == "new thing 80"


def test_a_load_is_named_by_the_request_before_it_and_the_last_word_counts() -> None:
    reader = read(
        "Set vram state to: LOW_VRAM\nSet vram state to: NO_VRAM\n"
        "Requested to load WAN21\nloaded completely;  7.92 MB loaded, full load: True\n"
        "Requested to load WanVAE\nloaded completely;  13.74 MB loaded, full load: True\n"
    )

    assert [load.model_class for load in reader.all(ModelLoadedFact)] == ["WAN21", "WanVAE"]
    assert reader.last(VramStateFact) == VramStateFact(state="NO_VRAM")
    assert reader.last(PromptDoneFact) is None
    assert reader.count(VramStateFact) == 2
    assert kind_of(ModelLoadedFact) == "model loaded"
