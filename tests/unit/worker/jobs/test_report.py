"""What the doctor is told of the worker that took a job."""

from __future__ import annotations

import pytest

from comfy.wan.templates import get_template
from farm.job import ErrorKind, JobError
from farm.status.worker import WorkerFacts
from worker.jobs.report import report_of_failure

AT_START = ("Total VRAM 24080 MB, total RAM 16000 MB", "Device: cuda:0 NVIDIA GeForce RTX 4090 : native")
PRINTED = ("got prompt", "Requested to load WAN21", "!!! Exception during processing !!! no sound is there")


@pytest.mark.parametrize(
    ("emulated", "expected"),
    [(False, {"host-ram-short", "prompt-failed"}), (True, {"prompt-failed"})],
)
def test_what_an_emulators_log_says_of_memory_is_no_finding(emulated: bool, expected: set[str]) -> None:
    report = report_of_failure(
        JobError(kind=ErrorKind.JOB, code="node_failed", message="no sound is there"),
        get_template("wan22-t2v-a14b").build(prompt="a fox").graph,
        {"queue": 1.0, "attempt": 9.0},
        WorkerFacts(name="w1", emulated=emulated),
        at_start=AT_START,
        printed=PRINTED,
    )

    assert {finding.id for finding in report.findings} == expected


def test_the_node_that_ran_out_of_memory_decides_what_is_to_be_done() -> None:
    report = report_of_failure(
        JobError(kind=ErrorKind.JOB, code="out_of_memory", message="no memory left", node_type="VAEDecode"),
        {},
        {"queue": 1.0, "attempt": 9.0},
        WorkerFacts(name="w1"),
        at_start=(),
        printed=("got prompt", "!!! Exception during processing !!! Allocation on device"),
    )

    (finding,) = report.findings
    assert finding.remedy.startswith("VAEDecodeTiled")
