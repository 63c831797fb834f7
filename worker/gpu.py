"""What NVML says of the graphics card: read by UUID, every failure a named state."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import psutil
import pynvml

from farm.job import VRAM_CLASSES_GIB
from worker.errors import GpuUnusable

log = logging.getLogger(__name__)

GIB: Final = 2**30
# ECC takes a sixteenth of GDDR6: an "24 GB" L4 reports 23,034 MiB, a "48 GB" A40 46,068 MiB.
_LEAST_PART_OF_CLASS: Final = 0.93


class GpuState(StrEnum):
    """Why there is no card to use."""

    NO_LIBRARY = "no_library"  # libnvidia-ml.so.1 is not there: no driver, or a container without it
    DRIVER_NOT_LOADED = "driver_not_loaded"  # the library is there, the kernel module is not
    DRIVER_MISMATCH = "driver_mismatch"  # library and kernel module are of different versions
    LOST = "lost"  # the card fell off the bus, or needs a reset
    NOT_PERMITTED = "not_permitted"
    NO_DEVICE = "no_device"  # NVML works and knows no card
    UNKNOWN_DEVICE = "unknown_device"  # CUDA_VISIBLE_DEVICES names a card that is not there
    TOO_SMALL = "too_small"  # for the smallest VRAM class
    FAILED = "failed"  # anything else that NVML says


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuProcess:
    """A process that holds memory of the card."""

    pid: int  # as the driver counts; inside a container it may be nobody that we can see
    name: str | None
    used_bytes: int | None  # None: the driver does not say


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuCard:
    """One card, or one MIG slice of a card, at one moment."""

    uuid: str  # "GPU-…" or "MIG-…": what CUDA_VISIBLE_DEVICES takes
    index: int  # of the card in PCI order, as nvidia-smi counts
    name: str
    total_bytes: int
    free_bytes: int
    used_bytes: int  # without what the driver keeps for itself, where it tells the two apart
    compute_capability: tuple[int, int] | None
    driver: str
    processes: tuple[GpuProcess, ...] = ()
    parent_uuid: str | None = None  # of the card that a MIG slice is cut from

    @property
    def vram_class_gib(self) -> int | None:
        """The largest class that the card belongs to; None when it is smaller than all of them."""
        return vram_class_gib(self.total_bytes)


def vram_class_gib(total_bytes: int) -> int | None:
    """The largest VRAM class that so much memory stands for; None when it is less than all of them."""
    fitting = [gib for gib in VRAM_CLASSES_GIB if total_bytes >= gib * GIB * _LEAST_PART_OF_CLASS]
    return max(fitting, default=None)


def class_to_serve(
    asked_gib: int | None, card: GpuCard | None, *, host_ram_bytes: int, emulated: bool
) -> int:
    """The VRAM class whose jobs a worker takes, with those of all smaller ones.

    Args:
        asked_gib: the operator's word, which counts above all.
        host_ram_bytes: what a worker without a card has in its place.

    Raises:
        GpuUnusable: the card is smaller than the smallest class.
    """
    if asked_gib is not None:
        return asked_gib
    if emulated:
        return VRAM_CLASSES_GIB[-1]
    if card is None:
        return vram_class_gib(host_ram_bytes) or VRAM_CLASSES_GIB[0]
    if card.vram_class_gib is None:
        raise _unusable(GpuState.TOO_SMALL, f"{card.name} has {card.total_bytes / GIB:.1f} GiB")
    return card.vram_class_gib


def find_card(environ: Mapping[str, str] = os.environ, *, root: Path = Path("/")) -> GpuCard | None:
    """The first card that this process may use, or None on a machine that has none.

    None is for a machine without any sign of a card, and for one whose cards were hidden on purpose
    (``CUDA_VISIBLE_DEVICES=`` or ``-1``). A card that ought to be there and is not is an error:
    rendering on the CPU instead would look like a very slow GPU.

    Raises:
        GpuUnusable: there should be a card, but it cannot be used.
    """
    wanted = environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is not None and _hides_all(wanted):
        return None
    try:
        return read_cards(wanted)[0]
    except GpuUnusable as exc:
        if exc.state == GpuState.NO_LIBRARY and not _sign_of_card(environ, root):
            return None
        raise


def read_cards(visible: str | None = None) -> list[GpuCard]:
    """The cards in the order of `visible`, a MIG card as its slices; at least one.

    Args:
        visible: as in CUDA_VISIBLE_DEVICES: indexes, UUIDs or beginnings of them, MIG UUIDs, with
            commas between; None: all. An index counts in PCI order, as nvidia-smi does (CUDA's own
            order may differ; ComfyUI is given the UUID).

    Raises:
        GpuUnusable: NVML fails, there is no card, or one that is named does not exist.
    """
    with _nvml():
        handles, broken = _all_handles()
        if not handles:
            raise broken[0] if broken else _unusable(GpuState.NO_DEVICE, "the driver finds no card")
        if visible is None:
            return [_read(handle) for handle in handles]
        chosen = [_matching(entry, handles, broken) for entry in _entries(visible)]
        unique = {handle.uuid: handle for handle in chosen}
        if not unique:
            raise _unusable(GpuState.NO_DEVICE, f"CUDA_VISIBLE_DEVICES={visible} hides all cards")
        return [_read(handle) for handle in unique.values()]


def read_card(uuid: str) -> GpuCard:
    """The same card again, as it is now.

    Raises:
        GpuUnusable: it cannot be read any more.
    """
    return read_cards(uuid)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Handle:
    device: Any
    uuid: str
    index: int
    parent: Any = None
    parent_uuid: str | None = None


_lock = threading.Lock()  # initialising and shutting down counts calls; readings are short


@contextlib.contextmanager
def _nvml() -> Iterator[None]:
    """NVML, initialised anew each time: a driver that went away is noticed, one that came back too."""
    with _lock:
        try:
            pynvml.nvmlInit()
            try:
                yield
            finally:
                with contextlib.suppress(pynvml.NVMLError):
                    pynvml.nvmlShutdown()
        except pynvml.NVMLError as exc:
            raise _unusable(_STATES.get(exc.value, GpuState.FAILED), f"NVML says: {exc}") from exc


def _all_handles() -> tuple[list[_Handle], list[pynvml.NVMLError]]:
    """The cards that answer, and what the others say: one lost card must not hide the rest."""
    handles: list[_Handle] = []
    broken: list[pynvml.NVMLError] = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        try:
            device = pynvml.nvmlDeviceGetHandleByIndex(index)
            card = _Handle(device=device, uuid=pynvml.nvmlDeviceGetUUID(device), index=index)
            handles += _slices(card) or [card]
        except pynvml.NVMLError as exc:
            log.warning(
                "Card cannot be read", extra={"event": "gpu_unreadable", "gpu": index, "reason": str(exc)}
            )
            broken.append(exc)
    return handles, broken


def _slices(card: _Handle) -> list[_Handle]:
    """Its MIG slices; none when it is not cut."""
    mode = _optional(lambda: pynvml.nvmlDeviceGetMigMode(card.device)[0])
    if mode != pynvml.NVML_DEVICE_MIG_ENABLE:
        return []
    found = []
    for number in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(card.device)):
        try:
            device = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(card.device, number)
        except pynvml.NVMLError_NotFound:  # the numbers of slices have gaps
            continue
        found.append(
            _Handle(
                device=device,
                uuid=pynvml.nvmlDeviceGetUUID(device),
                index=card.index,
                parent=card.device,
                parent_uuid=card.uuid,
            )
        )
    return found


def _entries(visible: str) -> list[str]:
    """What is named, up to a negative number: CUDA ignores all that follows one."""
    entries = []
    for entry in (part.strip() for part in visible.split(",")):
        if entry.startswith("-"):
            break
        if entry:
            entries.append(entry)
    return entries


def _hides_all(visible: str) -> bool:
    return not _entries(visible) or visible.strip().lower() in ("none", "void", "nodevfiles")


def _matching(entry: str, handles: list[_Handle], broken: list[pynvml.NVMLError]) -> _Handle:
    if entry.isdigit():
        found = [handle for handle in handles if handle.index == int(entry)]
    else:
        found = [handle for handle in handles if handle.uuid.lower().startswith(entry.lower())]
        found = found or [h for h in handles if (h.parent_uuid or "").lower().startswith(entry.lower())]
    if not found and broken:
        raise broken[0]  # most likely the one that is asked for
    if not found:
        there = ", ".join(f"{handle.index} = {handle.uuid}" for handle in handles)
        raise _unusable(GpuState.UNKNOWN_DEVICE, f"there is no card {entry!r} (there are: {there})")
    # Of a card that is cut into slices CUDA takes the first one only.
    return found[0]


def _read(handle: _Handle) -> GpuCard:
    total, free, used = _memory(handle.device)
    return GpuCard(
        uuid=handle.uuid,
        index=handle.index,
        name=pynvml.nvmlDeviceGetName(handle.device),
        total_bytes=total,
        free_bytes=free,
        used_bytes=used,
        compute_capability=_optional(
            lambda: tuple(pynvml.nvmlDeviceGetCudaComputeCapability(handle.parent or handle.device))
        ),
        driver=pynvml.nvmlSystemGetDriverVersion(),
        processes=_processes(handle.device),
        parent_uuid=handle.parent_uuid,
    )


def _memory(device: Any) -> tuple[int, int, int]:
    # The newer call counts what the driver keeps for itself apart from what is used.
    info = _optional(lambda: pynvml.nvmlDeviceGetMemoryInfo(device, version=pynvml.nvmlMemory_v2))
    if info is None:
        info = pynvml.nvmlDeviceGetMemoryInfo(device)
    return int(info.total), int(info.free), int(info.used)


def _processes(device: Any) -> tuple[GpuProcess, ...]:
    listed = _optional(lambda: pynvml.nvmlDeviceGetComputeRunningProcesses_v3(device)) or []
    return tuple(
        GpuProcess(pid=item.pid, name=_process_name(item.pid), used_bytes=item.usedGpuMemory)
        for item in listed
    )


def _process_name(pid: int) -> str | None:
    try:
        return psutil.Process(pid).name()
    except psutil.Error:
        return None


def _optional(read: Callable[[], Any]) -> Any:
    """A fact that not every driver and card gives; None when this one does not."""
    try:
        return read()
    except pynvml.NVMLError as exc:
        if exc.value in _NOT_GIVEN:
            return None
        raise


def _sign_of_card(environ: Mapping[str, str], root: Path) -> bool:
    """Whether something speaks for a card although its library is missing."""
    asked = environ.get("NVIDIA_VISIBLE_DEVICES", "").strip().lower() not in ("", "void", "none")
    return (
        asked
        or "CUDA_VISIBLE_DEVICES" in environ
        or (root / "dev/nvidiactl").exists()
        or (root / "proc/driver/nvidia/version").exists()
    )


def _unusable(state: GpuState, what: str) -> GpuUnusable:
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
    GpuState.NOT_PERMITTED: "give this user access to /dev/nvidia*",
    GpuState.NO_DEVICE: "check nvidia-smi and CUDA_VISIBLE_DEVICES",
    GpuState.UNKNOWN_DEVICE: "correct CUDA_VISIBLE_DEVICES",
    GpuState.TOO_SMALL: "set FARM_VRAM_CLASS to have it take jobs that may be too large for it",
    GpuState.FAILED: (
        "check nvidia-smi; in a container that worked before, its access to the card was "
        "withdrawn: start it again"
    ),
}
