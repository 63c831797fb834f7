"""The way to NVML: opened anew for each reading, and every failure a named state."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any, Final

import pynvml

from worker.errors import GpuUnusable


class GpuState(StrEnum):
    """Why there is no card to use."""

    NO_LIBRARY = "no_library"  # libnvidia-ml.so.1 is not there: no driver, or a container without it
    DRIVER_NOT_LOADED = "driver_not_loaded"  # the library is there, the kernel module is not
    DRIVER_MISMATCH = "driver_mismatch"  # library and kernel module are of different versions
    LOST = "lost"  # the card fell off the bus, or needs a reset
    MEMORY_ERRORS = "memory_errors"  # errors that ECC could not correct, new ones since the worker began
    NOT_PERMITTED = "not_permitted"
    NO_DEVICE = "no_device"  # NVML works and knows no card
    UNKNOWN_DEVICE = "unknown_device"  # CUDA_VISIBLE_DEVICES names a card that is not there
    TOO_SMALL = "too_small"  # for the smallest VRAM class
    FAILED = "failed"  # anything else that NVML says


_lock = threading.Lock()  # initialising and shutting down counts calls; readings are short


@contextlib.contextmanager
def nvml() -> Iterator[None]:
    """NVML, initialised anew each time: a driver that went away is noticed, one that came back too.

    Raises:
        GpuUnusable: NVML cannot be opened, or says something within the block that nobody caught.
    """
    with _lock:
        try:
            pynvml.nvmlInit()
            try:
                yield
            finally:
                with contextlib.suppress(pynvml.NVMLError):
                    pynvml.nvmlShutdown()
        except pynvml.NVMLError as exc:
            raise unusable(_STATES.get(exc.value, GpuState.FAILED), f"NVML says: {exc}") from exc


def optional(read: Callable[[], Any]) -> Any:
    """A fact that not every driver and card gives; None when this one does not."""
    try:
        return read()
    except pynvml.NVMLError as exc:
        if exc.value in _NOT_GIVEN:
            return None
        raise


def unusable(state: GpuState, what: str) -> GpuUnusable:
    """The error for a state, with what to do about it."""
    return GpuUnusable(state, what, _ADVICE[state])


_NOT_GIVEN: Final = frozenset(
    {
        pynvml.NVML_ERROR_NOT_SUPPORTED,
        pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
        pynvml.NVML_ERROR_NO_PERMISSION,
        pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
    }
)

_STATES: Final = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: GpuState.NO_LIBRARY,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: GpuState.DRIVER_NOT_LOADED,
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: GpuState.DRIVER_MISMATCH,
    pynvml.NVML_ERROR_GPU_IS_LOST: GpuState.LOST,
    pynvml.NVML_ERROR_RESET_REQUIRED: GpuState.LOST,
    pynvml.NVML_ERROR_NO_PERMISSION: GpuState.NOT_PERMITTED,
}

_ADVICE: Final = {
    GpuState.NO_LIBRARY: (
        "install the NVIDIA driver, or start the container with GPUs (docker run --gpus …); "
        "to render on the CPU on purpose set CUDA_VISIBLE_DEVICES=-1"
    ),
    GpuState.DRIVER_NOT_LOADED: "load the NVIDIA kernel module (nvidia-smi must work), or reboot",
    GpuState.DRIVER_MISMATCH: "the driver was upgraded under a running kernel module: reboot",
    GpuState.LOST: "reset the card or reboot; the kernel log (Xid lines) says more",
    GpuState.MEMORY_ERRORS: "reset the card or reboot; when they come back, replace the card",
    GpuState.NOT_PERMITTED: "give this user access to /dev/nvidia*",
    GpuState.NO_DEVICE: "check nvidia-smi and CUDA_VISIBLE_DEVICES",
    GpuState.UNKNOWN_DEVICE: "correct CUDA_VISIBLE_DEVICES",
    GpuState.TOO_SMALL: "set FARM_VRAM_CLASS to have it take jobs that may be too large for it",
    GpuState.FAILED: (
        "check nvidia-smi; in a container that worked before, its access to the card was "
        "withdrawn: start it again"
    ),
}
