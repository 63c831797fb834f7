"""Logs of real servers, of the emulator, and rebuilt ones: each is read as it is known to be."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bench.doctor import CORPUS, UNSEEN, facts_of, score
from comfy.doctor.diagnose import diagnose
from comfy.doctor.html import page
from comfy.doctor.registry import RULES
from comfy.doctor.report import Phase, Report
from tests.support.mangled import some_mangled
from tests.support.tables import for_each

EXPECTED: dict[str, dict[str, Any]] = json.loads((CORPUS / "expected.json").read_text(encoding="utf-8"))
HEALTHY = [name for name, each in EXPECTED.items() if not each["findings"]]


@cache
def report_of(name: str) -> Report:
    with (CORPUS / f"{name}.log").open("rb") as log:
        return diagnose(log, card=EXPECTED[name].get("card"))


def test_every_log_has_its_expectation_and_there_are_enough_of_them() -> None:
    assert sorted(EXPECTED) == sorted(path.stem for path in CORPUS.glob("*.log"))
    assert len(EXPECTED) >= 40
    assert sum(each["source"].startswith("a real ComfyUI") for each in EXPECTED.values()) >= 15


@pytest.mark.parametrize("name", EXPECTED)
def test_a_log_is_diagnosed_as_it_is(name: str) -> None:
    report, expected = report_of(name), EXPECTED[name]

    assert sorted({finding.id for finding in report.findings}) == expected["findings"]
    assert [what for what, is_right in facts_of(report, expected) if not is_right] == []
    if "folklore" in expected:
        assert sorted(each.id for each in report.folklore) == expected["folklore"]


@for_each("name", HEALTHY)
def test_nothing_is_found_in_a_healthy_log(name: str) -> None:
    assert report_of(name).findings == ()


@for_each("name", EXPECTED)
def test_phases_add_up_to_the_wall_time(name: str) -> None:
    for prompt in report_of(name).prompts:
        if prompt.wall_s is not None:
            assert sum(phase.seconds for phase in prompt.phases) == pytest.approx(prompt.wall_s, abs=0.01)


@for_each("name", EXPECTED)
def test_every_seconds_figure_has_a_formula_and_what_is_estimated_its_source(name: str) -> None:
    for finding in report_of(name).findings:
        assert finding.evidence, finding.id
        assert finding.remedy, finding.id
        if finding.cost is not None:
            assert finding.cost.formula, finding.id
            assert finding.cost.low <= finding.cost.seconds <= finding.cost.high
            assert finding.cost.measured or finding.cost.source, finding.id


@pytest.mark.parametrize("path", [*CORPUS.glob("*.log"), *UNSEEN.glob("*.log")], ids=lambda path: path.stem)
def test_a_log_of_mangled_numbers_ends_no_report_and_its_figures_mean_something(path: Path) -> None:
    text = path.read_text(encoding="utf-8", errors="replace")[:20_000]
    for seed, part in enumerate((0.02, 0.2, 0.7)):
        report = diagnose(some_mangled(text, seed, part), card="RTX 4090")

        json.dumps(asdict(report), default=str, allow_nan=False)
        page(report, "mangled")
        for prompt in report.prompts:
            assert all(phase.seconds >= 0 for phase in prompt.phases)


def test_findings_come_by_seconds_lost() -> None:
    for name in EXPECTED:
        costs = [each.cost.seconds if each.cost else 0.0 for each in report_of(name).findings]
        assert costs == sorted(costs, reverse=True)


def test_most_rules_are_shown_by_a_log_of_the_corpus() -> None:
    shown = {found for each in EXPECTED.values() for found in each["findings"]}
    # These need a graph or a worker's times, and have tests of their own.
    others = {
        "queue-wait", "slow-upload", "slower-than-predicted", "more-passes-than-needed",
        "attention-wrong-node", "rendered-again", "gpu-shared", "gpu-throttled", "state-left-behind",
        "lease-wait", "retry-wait", "storage-wait", "attempt-lost", "rendered-in-less-memory", "time-limit",
        # These are seen in the frames: tests/unit/worker/results/test_look.py.
        "video-black", "video-one-colour", "video-noise", "video-frozen", "video-patches", "video-wrong-size",
        "video-wrong-length", "video-wrong-rate", "video-silent",
    }  # fmt: skip

    assert {rule.id for rule in RULES} - shown == others


def test_the_benchmark_counts_what_the_tests_see() -> None:
    counted = score(CORPUS)

    assert (counted.precision, counted.recall, counted.notes) == (1.0, 1.0, [])
    assert counted.facts_right == counted.facts > 100


def test_logs_that_were_labelled_before_they_were_read_are_read_as_well_as_is_aimed_at() -> None:
    counted = score(UNSEEN)

    assert len(list(UNSEEN.glob("*.log"))) >= 30
    assert counted.precision >= 0.95, counted.notes
    assert counted.recall >= 0.9, counted.notes
    assert counted.facts_right >= 0.97 * counted.facts, counted.notes


def test_the_slow_job_that_it_began_with_is_told_truthfully() -> None:
    report = report_of("origin-450s")

    prompt = report.prompts[0]
    by_phase = {phase.phase: phase.seconds for phase in prompt.phases}
    assert by_phase[Phase.SAMPLING] == pytest.approx(135, abs=1)
    # What nobody could see is said to be unexplained, and what would decide it.
    assert by_phase[Phase.UNEXPLAINED] == pytest.approx(307, abs=1)
    assert any("stamps" in question.decides for question in report.questions)
    assert {each.id for each in report.folklore} >= {"lowvram-line", "sage-is-slow", "long-steps"}
    assert not any("sage" in finding.id or "low-vram" in finding.id for finding in report.findings)
    base64 = next(each for each in report.findings if each.id == "base64-return")
    assert base64.cost is not None
    assert base64.cost.high < 1
