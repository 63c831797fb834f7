"""Why a node failed, by what the author of a graph cannot write: exception type, traceback, whole messages.

An exception's text often repeats a value of the graph: a file's name, a prompt. So no word *within* a text
counts. What an allocator, CUDA or the operating system say counts when it is their exception's type, or a
message that begins as theirs does and that no Python code raised.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Final


class Cause(StrEnum):
    """What a node failed of."""

    OUT_OF_MEMORY = "out_of_memory"  # the card's, or the host's
    CONTEXT_LOST = "context_lost"  # every later call of this process to the card fails
    CARD_GONE = "card_gone"  # … and of every other process: the card cannot be used
    WRONG_BUILD = "wrong_build"  # what is installed has no code for this card
    SYSTEM = "system"  # the operating system had no room, no file handles, a disk that cannot be read
    OTHER = "other"  # the node's own affair


# Source: torch 2.13 names it ``torch.OutOfMemoryError``, older torch ``torch.cuda.OutOfMemoryError``; numpy's
# ``_ArrayMemoryError`` is Python's own.
_OUT_OF_MEMORY_TYPE: Final = re.compile(r"(torch\.(cuda\.)?OutOfMemoryError|(\w+\.)*_?(Array)?MemoryError)")
# Source: nvidia-ml-py ``_extractNVMLErrorsAsClasses``.
_CARD_GONE_TYPE: Final = re.compile(r"(\w+\.)*NVMLError_(GpuIsLost|ResetRequired)")
# What calls into the driver raise; a RuntimeError is every C++ extension's. Source: torch 2.13.
_NATIVE_TYPES: Final = frozenset({"RuntimeError", "torch.AcceleratorError"})
_SYSTEM_TYPES: Final = frozenset({"OSError", "av.error.OSError", "av.error.FFmpegError"})
# What is the system's affair and not the name's that was given: EIO, ENOMEM, ENFILE, EMFILE, ENOSPC, EROFS,
# ESTALE, EDQUOT. Source: Python's ``OSError.__str__``.
_SYSTEM: Final = re.compile(r"\[Errno (5|12|23|24|28|30|116|122)\] ")

# How messages of native code begin. Source: torch c10/cuda/CUDAException.cpp, c10/core/impl/alloc_cpu.cpp,
# ATen/cuda/CUDABlas.cpp and ATen/cudnn/Exceptions.h; CUDA's codes 2, 46, 100, 209, 214, 700, 710, 716, 719.
_BEGINNINGS: Final = {
    Cause.OUT_OF_MEMORY: re.compile(
        r"(CUDA|HIP) error: out of memory|MPS backend out of memory"
        r"|(CUDA|cuBLAS) error: CUBLAS_STATUS_ALLOC_FAILED|cuDNN error: CUDNN_STATUS_ALLOC_FAILED"
        r"|\[enforce fail at alloc_cpu\.cpp:\d+\] [^\n]{0,40}DefaultCPUAllocator: can't allocate memory"
    ),
    Cause.CONTEXT_LOST: re.compile(
        r"(CUDA|HIP) error: (an illegal memory access was encountered|device-side assert triggered"
        r"|unspecified launch failure|misaligned address|CUBLAS_STATUS_(INTERNAL_ERROR|EXECUTION_FAILED))"
        r"|cuDNN error: CUDNN_STATUS_(INTERNAL_ERROR|EXECUTION_FAILED)"
    ),
    Cause.CARD_GONE: re.compile(
        r"CUDA error: (uncorrectable ECC error encountered|unknown error|unspecified driver error"
        r"|(all )?CUDA-capable device(s|\(s\))? (is|are|is/are) busy or unavailable"
        r"|no CUDA-capable device is detected)|No CUDA GPUs are available|CUDA driver error:"
    ),
    Cause.WRONG_BUILD: re.compile(
        r"CUDA error: (no kernel image is available for execution|device kernel image is invalid)"
    ),
}
_RAISED: Final = re.compile(r"(raise|assert)\b")


def cause_of(exception_type: str, message: str, traceback: Sequence[str]) -> Cause:
    """Tell why a node failed.

    Args:
        exception_type: with its module, as ComfyUI sends it: "torch.OutOfMemoryError".
        message: may hold anything.
        traceback: as ``traceback.format_tb`` gives it, the innermost frame last.
    """
    if _OUT_OF_MEMORY_TYPE.fullmatch(exception_type):
        return Cause.OUT_OF_MEMORY
    if _CARD_GONE_TYPE.fullmatch(exception_type):
        return Cause.CARD_GONE
    if not _is_native(traceback):
        return Cause.OTHER
    if exception_type in _SYSTEM_TYPES:
        return Cause.SYSTEM if _SYSTEM.match(message) else Cause.OTHER
    if exception_type not in _NATIVE_TYPES:
        return Cause.OTHER
    return next((cause for cause, begins in _BEGINNINGS.items() if begins.match(message)), Cause.OTHER)


def _is_native(traceback: Sequence[str]) -> bool:
    """Whether the innermost Python line called something that raised, rather than raised by itself.

    Without that line nobody knows.
    """
    if not traceback:
        return False
    _, newline, code = traceback[-1].partition("\n")
    line = code.strip()
    return bool(newline and line) and _RAISED.match(line) is None
