"""No text that the author of a job can write makes a fault of the card, the disk or the memory of it."""

from __future__ import annotations

import itertools
from typing import Final

import pytest

from comfy.errors import RunFailed
from comfy.protocol.causes import Cause, cause_of
from farm.job import ErrorKind
from worker.jobs.faults import sort_fault

# What native libraries and the system say, each word for word.
_REAL: Final = (
    "CUDA out of memory. Tried to allocate 2.50 GiB",
    "CUDA error: out of memory",
    "Allocation on device 0 would exceed allowed memory. (out of memory)",
    "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
    "CUDA error: an illegal memory access was encountered",
    "CUDA error: device-side assert triggered",
    "CUDA error: uncorrectable ECC error encountered",
    "NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus",
    "GPU is lost",
    "CUDA error: no kernel image is available for execution on the device",
    "[Errno 28] No space left on device",
    "[Errno 122] Disk quota exceeded",
)
# How a value of a graph gets into the message of an exception.
_AROUND: Final = (
    "[Errno 36] File name too long: '/w/output/{}_00001_.webm'",
    "[Errno 2] No such file or directory: '/w/input/{}'",
    "Invalid image file: {}",
    "open file failed because of errno 36 on fopen: File name too long, file path: {}",
    "prompt: \n{}",
    "'{}' is no valid value",
    "'{}'",
)
_TYPES: Final = ("OSError", "FileNotFoundError", "RuntimeError", "ValueError", "Exception", "KeyError")
_CALL: Final = '  File "nodes.py", line 7, in save\n    with open(path, "wb") as file:\n'
_RAISE: Final = '  File "nodes.py", line 7, in save\n    raise RuntimeError(text)\n'
_OWN: Final = (ErrorKind.JOB, "node_failed")


def sorted_as(exception_type: str, message: str, *traceback: str) -> tuple[ErrorKind, str]:
    error = RunFailed(
        prompt_id="p",
        exception_type=exception_type,
        exception_message=message,
        node_id="9",
        node_type="SaveWEBM",
        traceback=traceback,
    )
    fault = sort_fault(error)
    return fault.error.kind, fault.error.code


@pytest.mark.parametrize("words", _REAL)
def test_words_within_a_message_are_the_jobs_own(words: str) -> None:
    for around, exception_type in itertools.product(_AROUND, _TYPES):
        assert sorted_as(exception_type, around.format(words), _CALL) == _OWN, (around, exception_type)


@pytest.mark.parametrize("words", _REAL)
def test_a_message_that_python_code_raised_is_the_jobs_own(words: str) -> None:
    tracebacks = [(_RAISE,), (), (_CALL, _RAISE), ('  File "x.py", line 1, in f\n',)]

    for traceback, exception_type in itertools.product(tracebacks, (*_TYPES, "torch.AcceleratorError")):
        assert sorted_as(exception_type, words, *traceback) == _OWN, (traceback, exception_type)


@pytest.mark.parametrize("name", ["MyOutOfMemoryErrorNode", "nodes.NoMemoryErrors", "x.OutOfMemoryError"])
def test_a_type_that_only_sounds_like_one_is_the_jobs_own(name: str) -> None:
    assert sorted_as(name, "bad", _CALL) == _OWN


@pytest.mark.parametrize(
    ("exception_type", "message", "cause"),
    [
        ("torch.OutOfMemoryError", "whatever", Cause.OUT_OF_MEMORY),
        ("torch.cuda.OutOfMemoryError", "whatever", Cause.OUT_OF_MEMORY),
        ("MemoryError", "", Cause.OUT_OF_MEMORY),
        ("numpy._core._exceptions._ArrayMemoryError", "Unable to allocate", Cause.OUT_OF_MEMORY),
        ("torch.AcceleratorError", "CUDA error: out of memory\nCUDA kernel errors …", Cause.OUT_OF_MEMORY),
        ("RuntimeError", _REAL[3], Cause.OUT_OF_MEMORY),
        ("RuntimeError", _REAL[4], Cause.OUT_OF_MEMORY),
        ("RuntimeError", _REAL[5], Cause.CONTEXT_LOST),
        ("torch.AcceleratorError", f"{_REAL[6]}\nCUDA kernel errors …", Cause.CONTEXT_LOST),
        ("RuntimeError", _REAL[8], Cause.CARD_GONE),
        ("pynvml.NVMLError_GpuIsLost", "GPU is lost", Cause.CARD_GONE),
        ("RuntimeError", _REAL[11], Cause.WRONG_BUILD),
        ("OSError", _REAL[12], Cause.SYSTEM),
        ("OSError", "[Errno 28] No space left on device: '/w/output/a.webm'", Cause.SYSTEM),
        ("OSError", "[Errno 36] File name too long: '/w/output/a.webm'", Cause.OTHER),
    ],
)
def test_what_native_code_and_the_system_say_is_known(
    exception_type: str, message: str, cause: Cause
) -> None:
    assert cause_of(exception_type, message, (_CALL,)) is cause
