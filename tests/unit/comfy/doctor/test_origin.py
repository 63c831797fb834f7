"""The slow job that it all began with: the emulator plays its log line by line, and the doctor reads it."""

from __future__ import annotations

from typing import Any

from bench.doctor import CORPUS
from comfy.doctor.diagnose import diagnose
from comfy.doctor.html import page
from comfy.doctor.report import Phase, Report
from comfy.doctor.words import after_words, wall_of
from comfy.wan.templates import get_template
from tests.support.emulator_thread import EmulatorThread
from tests.support.valkey import eventually

LINES = (CORPUS / "origin-450s.log").read_bytes().decode().replace("\r\n", "\n").rstrip("\n").split("\n")


def played(server: EmulatorThread) -> str:
    """What the emulator has printed, once it has played the job."""
    for line in LINES:
        server.misbehave("print", message=line)

    def printed() -> str:
        return "".join(entry["m"] for entry in server.ask("/internal/logs/raw")["entries"])

    eventually(lambda: LINES[-1] in printed())
    whole = printed()
    return whole[whole.index(LINES[0]) :]


def test_the_slow_job_is_played_and_told_as_its_log_is(emulator_thread: EmulatorThread) -> None:
    report = diagnose(played(emulator_thread))

    assert report.findings == report_of().findings
    assert report.folklore == report_of().folklore


def report_of(**more: Any) -> Report:
    with (CORPUS / "origin-450s.log").open("rb") as log:
        return diagnose(log, **more)


def test_what_is_proven_is_told_with_what_the_job_would_take_after_each_remedy() -> None:
    report = report_of()

    after = {
        finding.id: after_words(finding.cost, wall_of(report, finding.prompt)) for finding in report.findings
    }
    assert after["gguf-where-fp8-fits"] == "442 s would be 393 s"
    # Transport costs less than a second: nobody is told that it would help.
    assert after["base64-return"] == after["view-instead-of-disk"] == ""
    gguf = next(each for each in report.findings if each.id == "gguf-where-fp8-fits")
    assert gguf.cost is not None
    assert "1 − 1/1.57" in gguf.cost.formula
    assert "442 s would be 393 s" in page(report, "The job")


def test_what_its_author_blamed_and_is_not_the_cause_is_named() -> None:
    claims = {each.id: each.truth for each in report_of().folklore}

    assert set(claims) >= {"lowvram-line", "sage-is-slow", "websocket-silence", "long-steps"}
    assert "lies on the card whole" in claims["lowvram-line"]
    assert all(each.source for each in report_of().folklore)


def test_what_nobody_saw_is_the_largest_part_and_is_said_to_be_unexplained() -> None:
    (prompt,) = report_of().prompts

    seconds = {phase.phase: phase.seconds for phase in prompt.phases}
    assert max(seconds, key=lambda phase: seconds[phase]) is Phase.UNEXPLAINED
    assert any("docker logs -t" in question.decides for question in report_of().questions)


def test_with_its_graph_a_smaller_clip_is_named_with_what_it_would_save() -> None:
    graph = get_template("wan21-i2v-14b").build(
        prompt="a fox", image="fox.png", width=1280, height=720, steps=2
    )

    (smaller,) = report_of(graph=graph.graph, card="RTX 4090").levers

    assert "832×480 in place of 1280×720" in smaller.what
    assert smaller.saves.formula.startswith("135.0 s of sampling × (1 −")
    assert 80 < smaller.saves.seconds < 120
