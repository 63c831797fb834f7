"""What the doctor is told of the worker that took a job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from comfy.doctor.diagnose import diagnose
from comfy.doctor.report import Phase, Report, Status
from comfy.doctor.times import PastAttempt
from comfy.protocol.events import Executing, ExecutionStart
from comfy.protocol.run import PromptRun
from comfy.wan.templates import get_template
from farm.history import Before
from farm.job import ErrorKind, JobError, JobSpec
from farm.status.worker import WorkerFacts
from worker.errors import TimeLimitReached
from worker.jobs.faults import sort_fault
from worker.jobs.report import Course, Seen, report_of_failure

AT_START = ("Total VRAM 24080 MB, total RAM 16000 MB", "Device: cuda:0 NVIDIA GeForce RTX 4090 : native")
PRINTED = ("got prompt", "Requested to load WAN21", "!!! Exception during processing !!! no sound is there")
BEFORE: Before = ({"queue": 1.0}, ())
COURSE = Course(began_s=0.0, ended_s=9.0, first_render_s=0.1, last_render_s=0.1, left_s=9.0)


@pytest.mark.parametrize(
    ("emulated", "expected"),
    [(False, {"host-ram-short", "prompt-failed"}), (True, {"prompt-failed"})],
)
def test_what_an_emulators_log_says_of_memory_is_no_finding(emulated: bool, expected: set[str]) -> None:
    report = report_of_failure(
        JobError(kind=ErrorKind.JOB, code="node_failed", message="no sound is there"),
        JobSpec(graph=get_template("wan22-t2v-a14b").build(prompt="a fox").graph),
        COURSE,
        Seen(
            worker=WorkerFacts(name="w1", emulated=emulated),
            before=BEFORE,
            at_start=AT_START,
            printed=PRINTED,
        ),
    )

    assert {finding.id for finding in report.findings} == expected


def test_the_node_that_ran_out_of_memory_decides_what_is_to_be_done() -> None:
    report = report_of_failure(
        JobError(kind=ErrorKind.JOB, code="out_of_memory", message="no memory left", node_type="VAEDecode"),
        JobSpec(graph={}),
        COURSE,
        Seen(
            worker=WorkerFacts(name="w1"),
            before=BEFORE,
            printed=("got prompt", "!!! Exception during processing !!! Allocation on device"),
        ),
    )

    (finding,) = report.findings
    assert finding.remedy.startswith("VAEDecodeTiled")


def a_run(*nodes: tuple[str, float], ended_s: float | None = None) -> PromptRun:
    """A run that began at second 1, and whose nodes began then; it ended with an error, if it did."""
    graph = {name: {"class_type": name, "inputs": {}} for name, _ in nodes}
    run = PromptRun("p", graph)
    run.feed(ExecutionStart(prompt_id="p", timestamp_ms=0), 1.0)
    for name, at_s in nodes:
        run.feed(Executing(prompt_id="p", node=name), at_s)
    if ended_s is not None:
        run.feed(Executing(prompt_id="p", node=None), ended_s)
    return run


NODES = (("CLIPTextEncode", 2.0), ("KSamplerAdvanced", 4.0), ("VAEDecode", 6.0))


@pytest.mark.parametrize(
    ("course", "phases"),
    [
        (
            replace(COURSE, run=a_run(*NODES, ended_s=7.0)),
            {"preparing": 1.0, "text": 2.0, "sampling": 2.0, "vae": 1.0, "unexplained": 3.0},
        ),
        # Its server died: the node at work ended with it.
        (
            replace(COURSE, run=a_run(*NODES)),
            {"preparing": 1.0, "text": 2.0, "sampling": 2.0, "vae": 3.0, "unexplained": 1.0},
        ),
        (
            replace(COURSE, until_s=5.0, run=a_run(*NODES[:2])),
            {"preparing": 1.0, "text": 2.0, "sampling": 1.0, "stopping": 4.0, "unexplained": 1.0},
        ),
        (
            replace(COURSE, last_render_s=0.6, run=a_run(*NODES, ended_s=9.0)),
            {
                "discarded": 0.6,
                "preparing": 0.4,
                "text": 2.0,
                "sampling": 2.0,
                "vae": 3.0,
                "unexplained": 1.0,
            },
        ),
        (COURSE, {"preparing": 9.0, "unexplained": 0.0}),
        (replace(COURSE, until_s=8.0), {"preparing": 8.0, "stopping": 1.0, "unexplained": 0.0}),
        (Course(began_s=0.0, ended_s=9.0), {"preparing": 9.0, "unexplained": 0.0}),
    ],
    ids=["failed", "died", "too long", "tried before", "never ran", "never ran in time", "never on the card"],
)
def test_an_attempt_that_failed_tells_its_phases_as_far_as_it_came(
    course: Course, phases: dict[str, float]
) -> None:
    report = report_of_failure(
        JobError(kind=ErrorKind.JOB, code="any", message="no luck"),
        JobSpec(graph={}),
        course,
        Seen(worker=WorkerFacts(name="w1"), before=BEFORE),
    )

    (prompt,) = report.prompts
    assert prompt.wall_s == 10
    assert {each.phase.value: each.seconds for each in prompt.phases} == {"waiting": 1.0, **phases}
    assert [each.phase for each in prompt.phases] == sorted(
        (each.phase for each in prompt.phases), key=list(Phase).index
    )


@pytest.mark.parametrize(
    ("grace_s", "held", "remedy"),
    [
        (None, "ComfyUI went on for 4.0 s", "a higher --time-limit"),
        (
            4.0,
            "not yield, and had the worker for 4.0 s more: FARM_CANCEL_GRACE_S, 4 s",
            "FARM_CANCEL_GRACE_S",
        ),
    ],
    ids=["yielded", "did not"],
)
def test_what_the_farm_itself_ended_is_told_as_that_and_as_no_nodes_fault(
    grace_s: float | None, held: str, remedy: str
) -> None:
    report = report_of_failure(
        sort_fault(TimeLimitReached("j", 5, grace_s=grace_s)).error,
        JobSpec(graph={}, time_limit_s=5),
        replace(COURSE, until_s=5.0, run=a_run(*NODES[:2])),
        Seen(worker=WorkerFacts(name="w1"), before=BEFORE),
    )

    (finding,) = report.findings
    assert finding.id == "time-limit"
    assert "limit of 5 s ended it while node KSamplerAdvanced (KSamplerAdvanced) ran" in finding.message
    assert held in finding.message
    assert remedy in finding.remedy
    assert report.prompts[0].status is Status.INTERRUPTED


def test_a_log_that_cannot_be_read_costs_no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(log: Sequence[str], **more: Any) -> Report:
        if log:
            raise ValueError("13.51.2")
        return diagnose(log, **more)

    monkeypatch.setattr("worker.jobs.report.diagnose", fails)

    report = report_of_failure(
        JobError(kind=ErrorKind.JOB, code="node_failed", message="no luck"),
        JobSpec(graph={}),
        COURSE,
        Seen(worker=WorkerFacts(name="w1"), before=BEFORE, printed=PRINTED),
    )

    assert report.prompts[0].wall_s == 10
    assert [question.what for question in report.questions] == ["what 3 lines of ComfyUI say"]


def test_an_attempt_that_came_to_nothing_is_told_with_what_it_took() -> None:
    past = PastAttempt(number=1, worker="w7", outcome="lost", seconds=5.0, silent_s=15.0)

    report = report_of_failure(
        JobError(kind=ErrorKind.JOB, code="node_failed", message="no luck"),
        JobSpec(graph={}),
        COURSE,
        Seen(
            worker=WorkerFacts(name="w1"),
            before=({"queue": 1.0, "earlier": 5.0, "lease": 15.0}, (past,)),
        ),
    )

    lost = {finding.id: finding for finding in report.findings}
    assert (
        "attempt 1 on w7 was lost with its worker after 5.0 s, which was noticed 15.0 s later"
        in lost["attempt-lost"].message
    )
    assert report.seconds_lost()["lease-wait"] == 15
    assert report.prompts[0].wall_s == 30
    assert sum(phase.seconds for phase in report.prompts[0].phases) == pytest.approx(30)
