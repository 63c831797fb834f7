"""The table of faults: whose it is decides whether, where and when a job is tried again."""

from __future__ import annotations

import errno

import pytest

from comfy.errors import (
    Blocked,
    GraphProblem,
    GraphRejected,
    NothingToShow,
    OutOfMemory,
    RunFailed,
    RunLost,
    ServerForbids,
    ServerUnreachable,
)
from farm.errors import InputUnavailable, StorageUnavailable
from farm.job import ErrorKind
from worker.errors import BrokenOutput, ComfyDied, CrashLoop, ServerLost, TimeLimitReached
from worker.jobs.faults import MachineTrouble, sort_fault

NATIVE = "return torch.nn.functional.linear(input, weight, bias)"


def a_failed_run(exception_type: str, message: str, *, kind: type[RunFailed] = RunFailed) -> RunFailed:
    return kind(
        prompt_id="p",
        exception_type=exception_type,
        exception_message=message,
        node_id="57",
        node_type="KSampler",
        traceback=(f'  File "nodes.py", line 7, in run\n    {NATIVE}\n',),
    )


def rejected(*kinds: str) -> GraphRejected:
    problems = [GraphProblem(kind=kind, message="m", node_id="37", class_type="UNETLoader") for kind in kinds]
    return GraphRejected(problems, status=400)


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (rejected("value_bigger_than_max"), ErrorKind.JOB, "graph_rejected"),
        (rejected("missing_node_type"), ErrorKind.UNSUITABLE, "missing_here"),
        (rejected("missing_node_type", "missing_model"), ErrorKind.UNSUITABLE, "missing_here"),
        (rejected("missing_node_type", "cycle"), ErrorKind.JOB, "graph_rejected"),
        (a_failed_run("ValueError", "bad shape"), ErrorKind.JOB, "node_failed"),
        (a_failed_run("torch.OutOfMemoryError", "x", kind=OutOfMemory), ErrorKind.TRANSIENT, "out_of_memory"),
        (
            a_failed_run("RuntimeError", "CUDA error: an illegal memory access was encountered"),
            ErrorKind.MACHINE,
            "cuda_context_lost",
        ),
        (
            a_failed_run("RuntimeError", "CUDA error: uncorrectable ECC error encountered"),
            ErrorKind.MACHINE,
            "cuda_context_lost",
        ),
        (a_failed_run("pynvml.NVMLError_GpuIsLost", "GPU is lost"), ErrorKind.MACHINE, "cuda_context_lost"),
        (
            a_failed_run(
                "RuntimeError", "CUDA error: no kernel image is available for execution on the device"
            ),
            ErrorKind.UNSUITABLE,
            "wrong_build",
        ),
        (a_failed_run("OSError", "[Errno 28] No space left on device"), ErrorKind.TRANSIENT, "io_error"),
        (NothingToShow("p"), ErrorKind.JOB, "no_output"),
        (RunLost("p"), ErrorKind.TRANSIENT, "comfy_forgot_the_run"),
        (ServerUnreachable("http://c", "frozen"), ErrorKind.TRANSIENT, "comfy_unreachable"),
        (ComfyDied(-9), ErrorKind.TRANSIENT, "comfy_died"),
        (CrashLoop(3, retry_in_s=60.0), ErrorKind.MACHINE, "worker_broken"),
        (ServerLost("it is away"), ErrorKind.MACHINE, "server_lost"),
        (ServerForbids("http://c", 401, "who are you?"), ErrorKind.MACHINE, "comfy_forbids"),
        (TimeLimitReached("j", 10.0), ErrorKind.TIME_LIMIT, "time_limit"),
        (InputUnavailable("s3://b/k", "gone"), ErrorKind.JOB, "input_unavailable"),
        (StorageUnavailable("http://s3", "refused"), ErrorKind.TRANSIENT, "storage_unavailable"),
        (OSError(errno.ENOSPC, "No space left"), ErrorKind.MACHINE, "disk_full"),
        (KeyError("surprise"), ErrorKind.TRANSIENT, "unexpected"),
    ],
)
def test_an_error_is_sorted_by_whose_fault_it_is(error: Exception, kind: ErrorKind, code: str) -> None:
    fault = sort_fault(error)

    assert (fault.error.kind, fault.error.code) == (kind, code)


def test_the_jobs_own_fault_is_never_tried_again() -> None:
    assert sort_fault(rejected("cycle")).retry_in_s(0) is None


def test_a_transient_fault_waits_longer_each_time_and_never_for_ever() -> None:
    fault = sort_fault(StorageUnavailable("http://s3", "refused"))

    waits = [fault.retry_in_s(failed) for failed in range(12)]

    assert all(wait is not None for wait in waits)
    assert waits[0] is not None
    assert waits[5] is not None
    assert waits[0] < waits[5]
    assert all(wait is not None and wait <= 360 for wait in waits)


def test_what_another_worker_may_have_is_tried_there_at_once() -> None:
    assert sort_fault(rejected("missing_node_type")).retry_in_s(0) == 0.0


def test_a_dead_cuda_context_restarts_comfyui() -> None:
    assert sort_fault(a_failed_run("RuntimeError", "CUDA error: device-side assert triggered")).restart_comfy


def test_the_failing_node_is_named() -> None:
    error = sort_fault(a_failed_run("ValueError", "bad")).error

    assert (error.node_id, error.node_type) == ("57", "KSampler")


def test_a_blocked_job_fails_with_the_blockers_reason() -> None:
    blocked = Blocked(node_id="9", node_type="SaveImage", message="no face found")

    fault = sort_fault(NothingToShow("p", blocked=[blocked]))

    assert (fault.error.kind, fault.error.code, fault.retry) == (ErrorKind.JOB, "blocked", False)
    assert (fault.error.node_id, fault.error.node_type) == ("9", "SaveImage")
    assert "no face found" in fault.error.message


@pytest.mark.parametrize("code", ["gpu_lost", "disk_full"])
@pytest.mark.parametrize(
    "error",
    [
        a_failed_run("ValueError", "bad shape"),
        ComfyDied(-9),
        ServerUnreachable("http://c", "frozen"),
        BrokenOutput("a.mp4", "it is empty"),
        OSError(errno.EIO, "Input/output error"),
    ],
)
def test_what_the_machine_confirms_is_laid_to_the_machine(error: Exception, code: str) -> None:
    fault = sort_fault(error, MachineTrouble(code=code, reason="in figures"))

    assert (fault.error.kind, fault.error.code) == (ErrorKind.MACHINE, code)
    assert "in figures" in fault.error.message
    assert str(error) in fault.error.message


@pytest.mark.parametrize(
    "error", [rejected("cycle"), InputUnavailable("s3://b/k", "gone"), NothingToShow("p")]
)
def test_what_no_machine_can_cause_stays_the_jobs_own(error: Exception) -> None:
    fault = sort_fault(error, MachineTrouble(code="disk_full", reason="in figures"))

    assert fault.error.kind is ErrorKind.JOB


def test_what_a_broken_worker_could_bring_about_is_in_doubt_by_type_and_node_and_not_by_text() -> None:
    one, other = (sort_fault(a_failed_run("ImportError", text)) for text in ("no libGL", "at 0x7f31"))

    assert (one.doubt, one.retry_in_s(0)) == ("ImportError in KSampler 57", 0.0)
    assert other.doubt == one.doubt
    assert sort_fault(InputUnavailable("https://a/b", "its name cannot be resolved")).doubt


@pytest.mark.parametrize("error", [rejected("cycle"), NothingToShow("p"), TimeLimitReached("j", 10.0)])
def test_what_is_proven_the_jobs_own_is_not_in_doubt(error: Exception) -> None:
    assert (sort_fault(error).doubt, sort_fault(error).retry_in_s(0)) == ("", None)
