"""What NVML says of the graphics card: read by UUID, every failure a named state."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
import pynvml

from comfy.wan.cards import known_card, vram_class_gib
from farm.job import VRAM_CLASSES_GIB
from worker.errors import GpuUnusable
from worker.gpu.nvml import GpuState, nvml, optional, unusable

log = logging.getLogger(__name__)

GIB: Final = 2**30
# Bits of NVML's reasons for a clock below the highest. Source: nvml.h, nvmlClocksEventReason….
_SLOWED: Final = {0x20 | 0x40: "heat", 0x80: "power supply", 0x08: "heat or power supply"}


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
    temperature_c: int | None = None
    slowed_by: str = (
        ""  # why it slows itself down now: "heat", "power supply"; "": it does not, or does not say
    )
    ecc: bool | None = None  # whether memory errors are corrected; None: the card has no such thing
    ecc_uncorrected: int | None = None  # memory errors since the driver was loaded that could not be
    has_nvenc: bool | None = None  # whether it can encode video; None: nobody knows

    @property
    def vram_class_gib(self) -> int | None:
        """The largest class that the card belongs to; None when it is smaller than all of them."""
        return vram_class_gib(self.total_bytes)


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
        raise unusable(GpuState.TOO_SMALL, f"{card.name} has {card.total_bytes / GIB:.1f} GiB")
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
    with nvml():
        handles, broken = _all_handles()
        if not handles:
            raise broken[0] if broken else unusable(GpuState.NO_DEVICE, "the driver finds no card")
        if visible is None:
            return [_read(handle) for handle in handles]
        chosen = [_matching(entry, handles, broken) for entry in _entries(visible)]
        unique = {handle.uuid: handle for handle in chosen}
        if not unique:
            raise unusable(GpuState.NO_DEVICE, f"CUDA_VISIBLE_DEVICES={visible} hides all cards")
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
                "The card cannot be read", extra={"event": "gpu_unreadable", "gpu": index, "reason": str(exc)}
            )
            broken.append(exc)
    return handles, broken


def _slices(card: _Handle) -> list[_Handle]:
    """Its MIG slices; none when it is not cut."""
    mode = optional(lambda: pynvml.nvmlDeviceGetMigMode(card.device)[0])
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
        raise unusable(GpuState.UNKNOWN_DEVICE, f"there is no card {entry!r} (there are: {there})")
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
        compute_capability=optional(
            lambda: tuple(pynvml.nvmlDeviceGetCudaComputeCapability(handle.parent or handle.device))
        ),
        driver=pynvml.nvmlSystemGetDriverVersion(),
        processes=_processes(handle.device),
        parent_uuid=handle.parent_uuid,
        **_health(handle.parent or handle.device),
        has_nvenc=_has_nvenc(handle),
    )


def _health(device: Any) -> dict[str, Any]:
    """Of the whole card: a slice has neither a thermometer nor a count of errors of its own."""
    return {
        "temperature_c": optional(
            lambda: pynvml.nvmlDeviceGetTemperature(device, pynvml.NVML_TEMPERATURE_GPU)
        ),
        "slowed_by": _slowed_by(device),
        "ecc": optional(lambda: bool(pynvml.nvmlDeviceGetEccMode(device)[0])),
        "ecc_uncorrected": optional(
            lambda: pynvml.nvmlDeviceGetTotalEccErrors(
                device, pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC
            )
        ),
    }


def _slowed_by(device: Any) -> str:
    """Its power limit alone is no reason: most cards run at it whenever they have much to do."""
    reasons = optional(lambda: pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(device)) or 0
    return next((name for mask, name in _SLOWED.items() if reasons & mask), "")


def _has_nvenc(handle: _Handle) -> bool | None:
    if handle.parent is not None:
        return False  # MIG gives no slice the encoder
    known = known_card(pynvml.nvmlDeviceGetName(handle.device))
    if known is not None:
        return known.has_nvenc
    capacity = optional(
        lambda: pynvml.nvmlDeviceGetEncoderCapacity(handle.device, pynvml.NVML_ENCODER_QUERY_H264)
    )
    # 0 is also what a card says whose encoder is busy: it proves nothing.
    return True if capacity else None


def _memory(device: Any) -> tuple[int, int, int]:
    # The newer call counts what the driver keeps for itself apart from what is used.
    info = optional(lambda: pynvml.nvmlDeviceGetMemoryInfo(device, version=pynvml.nvmlMemory_v2))
    if info is None:
        info = pynvml.nvmlDeviceGetMemoryInfo(device)
    return int(info.total), int(info.free), int(info.used)


def _processes(device: Any) -> tuple[GpuProcess, ...]:
    listed = optional(lambda: pynvml.nvmlDeviceGetComputeRunningProcesses_v3(device)) or []
    return tuple(
        GpuProcess(pid=item.pid, name=_process_name(item.pid), used_bytes=item.usedGpuMemory)
        for item in listed
    )


def others_bytes(card: GpuCard) -> int:
    """Memory that processes hold beside the largest one; inside a container nobody can tell whose it is."""
    held = sorted(process.used_bytes or 0 for process in card.processes)
    return sum(held[:-1])


def _process_name(pid: int) -> str | None:
    try:
        return psutil.Process(pid).name()
    except psutil.Error:
        return None


def _sign_of_card(environ: Mapping[str, str], root: Path) -> bool:
    """Whether something speaks for a card although its library is missing."""
    asked = environ.get("NVIDIA_VISIBLE_DEVICES", "").strip().lower() not in ("", "void", "none")
    return (
        asked
        or "CUDA_VISIBLE_DEVICES" in environ
        or (root / "dev/nvidiactl").exists()
        or (root / "proc/driver/nvidia/version").exists()
    )
