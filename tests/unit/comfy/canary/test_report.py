"""What follows from what a canary has seen."""

from __future__ import annotations

import json
from typing import Any

import pytest

from comfy.canary.report import CanaryReport, CancelBy, Seen, Trait, TraitRow, Verdict


def a_report(*failed: Trait, **facts: Any) -> CanaryReport:
    """A report in which all was seen, and these did not hold."""
    rows = tuple(
        TraitRow(trait=trait, seen=Seen.FAILED, expected="a cat", came="a dog")
        if trait in failed
        else TraitRow(trait=trait, seen=Seen.HELD, expected="a cat")
        for trait in Trait
    )
    known: dict[str, Any] = {"version": "0.46.0", "taken_for": "0.33.0", "is_newer": True, "rows": rows}
    return CanaryReport(**(known | facts))


@pytest.mark.parametrize("trait", Trait)
def test_a_trait_that_is_needed_stops_the_work_and_one_that_informs_does_not(trait: Trait) -> None:
    report = a_report(trait)

    assert report.verdict is (Verdict.UNUSABLE if trait.is_needed else Verdict.UNPROVEN)
    assert [row.trait for row in (*report.broken, *report.strange)] == [trait]


def test_one_sentence_tells_all_that_held() -> None:
    report = a_report(log_known=9, log_expected=11, cancel_by=CancelBy.JOB)

    assert report.verdict is Verdict.PROVEN
    assert report.sentence == (
        "ComfyUI 0.46.0: protocol as 0.33.0, being newer than all that is known; "
        "log: 9 of 11 lines known; cancel by job id"
    )


def test_one_sentence_tells_what_came_and_what_was_expected() -> None:
    report = a_report(Trait.HISTORY, Trait.EVENTS)

    assert report.sentence == (
        "ComfyUI 0.46.0: cannot be used; history: expected a cat; came a dog; "
        "events: expected a cat; came a dog"
    )


def test_a_busy_server_is_neither_good_nor_bad() -> None:
    report = a_report(busy="2 prompts of others are before ours")

    assert report.verdict is Verdict.BUSY
    assert "busy, not proven yet (2 prompts of others are before ours)" in report.sentence


def test_what_does_not_hold_counts_for_more_than_being_busy() -> None:
    assert a_report(Trait.POST, busy="a queue").verdict is Verdict.UNUSABLE


def test_another_program_reads_all_of_it_with_what_follows() -> None:
    report = a_report(Trait.LOG, log_known=4, log_expected=10, cancel_by=CancelBy.QUEUE)

    read = json.loads(json.dumps(report.to_json()))

    assert read["verdict"] == "unproven"
    assert read["sentence"] == report.sentence
    assert [row["seen"] for row in read["rows"] if row["trait"] == "log"] == ["failed"]
