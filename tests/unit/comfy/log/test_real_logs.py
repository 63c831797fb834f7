"""Logs of real servers of each generation are understood, and each form of a line is really there.

`rebuilt.log` of each generation holds what a machine without a GPU does not print, made from ComfyUI's format
strings. All others are what real servers printed, with other paths, and without lists of kernels and carets.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from comfy.generations import GENERATIONS, Generation
from comfy.log.facts import (
    CacheFact,
    CancelFact,
    DatabaseFact,
    DynamicVramFact,
    InterruptedFact,
    LogFact,
    ModelLoadedFact,
    ModelRequestedFact,
    NodeFailedFact,
    OutOfMemoryFact,
    PackageFact,
    PromptDoneFact,
    PromptQueuedFact,
    PromptRefusedFact,
    ReadyFact,
    ResidencyFact,
    VersionFact,
    VramStateFact,
)
from comfy.log.form import LineForm, Printer
from comfy.log.lines import FORMS, form_of
from comfy.log.reading import AT_START, OF_A_CANCEL, OF_A_RUN, LogReader, kind_of
from comfy.log.text import LogLevel, PlainLine, plain_lines

LOGS = Path(__file__).parents[3] / "data" / "comfyui" / "logs"
NAMES = [each.version for each in GENERATIONS]
EXPECTED = (*AT_START, *OF_A_RUN, *OF_A_CANCEL, ModelRequestedFact, ModelLoadedFact)


@cache
def lines_of(generation: str, name: str = "*.log") -> tuple[PlainLine, ...]:
    return tuple(
        line
        for path in sorted((LOGS / generation).glob(name))
        for line in plain_lines(path.read_bytes().decode())
        if not line.text.startswith("#")
    )


def reading(generation: str, name: str) -> LogReader:
    return LogReader.of(lines_of(generation, name))


def test_there_are_logs_of_every_generation() -> None:
    assert sorted(path.name for path in LOGS.iterdir()) == sorted(NAMES)


@pytest.mark.parametrize(
    ("generation", "form"),
    [
        pytest.param(generation.version, form, id=f"{generation}-{form.name}")
        for form in FORMS
        for generation in form.seen_in
    ],
)
def test_each_form_of_a_line_is_in_the_log_of_each_generation_that_it_names(
    generation: str, form: LineForm
) -> None:
    found = (form_of(line.text) for line in lines_of(generation))

    assert any(each is not None and each[0] is form for each in found)


@pytest.mark.parametrize("generation", NAMES)
def test_no_form_is_in_the_log_of_a_generation_that_it_does_not_name(generation: str) -> None:
    found = [each[0] for line in lines_of(generation) if (each := form_of(line.text)) is not None]

    of_comfyui = {form.name for form in found if form.printer is Printer.COMFYUI}
    assert of_comfyui == {form.name for form in FORMS if Generation.named(generation) in form.seen_in}


@pytest.mark.parametrize("generation", NAMES)
def test_of_a_real_run_every_kind_of_line_is_known_and_no_warning_is_new(generation: str) -> None:
    log = reading(generation, "run.log")

    told = log.reading(EXPECTED)
    assert told.missing == ()
    assert told.known == told.of == len(EXPECTED)
    assert told.unknown_warnings == ()
    assert log.last(VersionFact) == VersionFact(version=generation)
    assert log.last(VramStateFact) == VramStateFact(state="DISABLED")


@pytest.mark.parametrize("generation", NAMES)
def test_a_real_run_is_counted_as_it_was(generation: str) -> None:
    log = reading(generation, "run.log")

    counts = {
        kind: log.count(kind)
        for kind in (ReadyFact, PromptQueuedFact, PromptRefusedFact, NodeFailedFact, OutOfMemoryFact)
    }
    # Three renders, an error, an out-of-memory error, two refusals, six interrupts and one more render.
    assert counts == {
        ReadyFact: 1,
        PromptQueuedFact: 14,
        PromptRefusedFact: 2,
        NodeFailedFact: 2,
        OutOfMemoryFact: 1,
    }
    assert log.count(InterruptedFact) == 5
    assert log.count(CancelFact) >= 5
    assert log.count(PromptDoneFact) == 11
    assert {"WAN21", "WanVAE", "WanTEModel"} <= {load.model_class for load in log.all(ModelLoadedFact)}
    assert any(package.name == "comfyui-frontend-package" for package in log.all(PackageFact))


@pytest.mark.parametrize(
    ("generation", "name", "fact"),
    [
        *((generation, "start-lru.log", CacheFact(name="lru")) for generation in NAMES),
        *((generation, "start-no-cache.log", CacheFact(name="none")) for generation in NAMES),
        ("0.33.0", "run.log", CacheFact(name="ram pressure")),
        (
            "0.33.0",
            "start-no-cache.log",
            DynamicVramFact(enabled=False, why="an argument switches it off"),
        ),
    ],
)
def test_a_real_start_says_how_it_was_started(generation: str, name: str, fact: LogFact) -> None:
    assert reading(generation, name).last(type(fact)) == fact


@pytest.mark.parametrize(
    ("generation", "name", "words"),
    [
        *((generation, "database-unusable.log", "unable to open database file") for generation in NAMES),
        ("0.33.0", "database-locked.log", "Could not acquire lock on database"),
        ("0.33.0", "database-locked-with-assets.log", "Could not acquire lock on database"),
    ],
)
def test_a_database_that_cannot_be_used_is_told(generation: str, name: str, words: str) -> None:
    fact = reading(generation, name).last(DatabaseFact)

    assert fact is not None
    assert words in fact.reason


def test_the_file_of_a_second_verbose_tells_what_is_on_the_card() -> None:
    lines = lines_of("0.33.0", "detail-file.log")
    residency = LogReader.of(lines).all(ResidencyFact)

    assert {line.level for line in lines} >= {LogLevel.INFO, LogLevel.DETAIL, LogLevel.WARNING}
    assert ("WAN21", True) in {(fact.model_class, fact.ram_mib > 1) for fact in residency}


def test_what_the_server_remembers_of_its_log_is_read_as_its_output_is() -> None:
    body = json.loads((LOGS / "0.33.0" / "internal-logs-raw.json").read_text(encoding="utf-8"))
    written = "".join(entry["m"] for entry in body["entries"])

    told = LogReader.of(plain_lines(written)).reading(EXPECTED)

    assert told.missing == ()
    assert told.unknown_warnings == ()


def test_levels_are_told_since_0_23_and_not_before() -> None:
    told = {generation: any(line.level for line in lines_of(generation, "run.log")) for generation in NAMES}

    assert told == {"0.3.64": False, "0.12.1": False, "0.33.0": True}


def test_kinds_have_names_for_people() -> None:
    assert [kind_of(kind) for kind in EXPECTED] == [
        "version",
        "memory",
        "vram state",
        "device",
        "attention",
        "ready",
        "prompt queued",
        "prompt done",
        "cancel",
        "interrupted",
        "model requested",
        "model loaded",
    ]
