"""A fake NVIDIA driver library for tests: put instead of the real one under the real pynvml binding.

Use: ``pynvml.nvmlLib = FakeDriver(FakeCard())`` and clear ``pynvml._nvmlGetFunctionPointer_cache``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import pynvml

MIB: Final = 2**20


@dataclass
class FakeCard:
    """What the fake driver says of one card; `error` is an NVML error code for every question."""

    total_mib: int = 24564
    used_mib: int = 300
    name: str = "NVIDIA GeForce RTX 4090"
    capability: tuple[int, int] = (8, 9)
    error: int = 0
    processes: list[tuple[int, int]] = field(default_factory=list)  # pid, MiB
    slices: list[FakeCard] = field(default_factory=list)
    uuid: str = ""
    temperature_c: int = 45
    slowed: int | None = 0  # bits of the reasons; None: it does not tell
    ecc_uncorrected: int | None = None  # None: a card without ECC
    encoder_capacity: int | None = 100  # percent; None: no encoder

    @property
    def everything(self) -> list[FakeCard]:
        return [self, *self.slices]


class FakeDriver:
    """The C functions of libnvidia-ml that we use, as callables on pointers."""

    def __init__(self, *cards: FakeCard) -> None:
        self.cards = list(cards)
        self.init_error = 0
        self.old = False  # a driver without nvmlDeviceGetMemoryInfo_v2
        self._initialised = 0

    def __getattr__(self, name: str) -> Callable[..., int | bytes]:
        function = FakeDriver.__dict__.get(f"c_{name}")
        if function is None or (self.old and name == "nvmlDeviceGetMemoryInfo_v2"):
            raise AttributeError(name)

        def call(*args: Any) -> int | bytes:
            if name not in ("nvmlInitWithFlags", "nvmlErrorString") and not self._initialised:
                return int(pynvml.NVML_ERROR_UNINITIALIZED)
            answer = function(self, *args)
            return answer if isinstance(answer, bytes) else int(answer or 0)

        return call

    def _named(self) -> list[FakeCard]:
        for number, card in enumerate(self.cards):
            card.uuid = card.uuid or f"GPU-{number:08d}-0000-0000-0000-000000000000"
            for position, piece in enumerate(card.slices):
                piece.uuid = piece.uuid or f"MIG-{number:04d}{position:04d}-0000-0000-0000-000000000000"
        return [item for card in self.cards for item in card.everything]

    def _of(self, device: Any) -> FakeCard:
        number = ctypes.cast(device, ctypes.c_void_p).value or 0
        return self._named()[number - 1]

    def _point(self, pointer: Any, card: FakeCard) -> int:
        number = next(n for n, item in enumerate(self._named(), 1) if item is card)
        pointer._obj.contents = ctypes.cast(number, type(pointer._obj)).contents
        return card.error

    def c_nvmlInitWithFlags(self, _flags: int) -> int:  # noqa: N802
        if not self.init_error:
            self._initialised += 1
        return self.init_error

    def c_nvmlShutdown(self) -> None:  # noqa: N802
        self._initialised -= 1

    def c_nvmlErrorString(self, code: int) -> bytes:  # noqa: N802
        return f"error {code} of the fake driver".encode()

    def c_nvmlSystemGetDriverVersion(self, buffer: Any, _length: Any) -> None:  # noqa: N802
        buffer.value = b"580.95.05"

    def c_nvmlDeviceGetCount_v2(self, count: Any) -> None:  # noqa: N802
        count._obj.value = len(self.cards)

    def c_nvmlDeviceGetHandleByIndex_v2(self, index: Any, device: Any) -> int:  # noqa: N802
        return self._point(device, self.cards[index.value])

    def c_nvmlDeviceGetUUID(self, device: Any, buffer: Any, _length: Any) -> int:  # noqa: N802
        card = self._of(device)
        buffer.value = card.uuid.encode()
        return card.error

    def c_nvmlDeviceGetName(self, device: Any, buffer: Any, _length: Any) -> int:  # noqa: N802
        card = self._of(device)
        buffer.value = card.name.encode()
        return card.error

    def c_nvmlDeviceGetMemoryInfo(self, device: Any, info: Any) -> int:  # noqa: N802
        card = self._of(device)
        info._obj.total = card.total_mib * MIB
        info._obj.used = card.used_mib * MIB
        info._obj.free = (card.total_mib - card.used_mib) * MIB
        return card.error

    def c_nvmlDeviceGetMemoryInfo_v2(self, device: Any, info: Any) -> int:  # noqa: N802
        info._obj.reserved = 256 * MIB
        error = self.c_nvmlDeviceGetMemoryInfo(device, info)
        info._obj.free -= 256 * MIB
        return error

    def c_nvmlDeviceGetCudaComputeCapability(self, device: Any, major: Any, minor: Any) -> int:  # noqa: N802
        card = self._of(device)
        major._obj.value, minor._obj.value = card.capability
        return card.error

    def c_nvmlDeviceGetTemperature(self, device: Any, _sensor: Any, celsius: Any) -> int:  # noqa: N802
        card = self._of(device)
        celsius._obj.value = card.temperature_c
        return card.error

    def c_nvmlDeviceGetCurrentClocksThrottleReasons(self, device: Any, reasons: Any) -> int:  # noqa: N802
        card = self._of(device)
        if card.slowed is None:
            return card.error or int(pynvml.NVML_ERROR_NOT_SUPPORTED)
        reasons._obj.value = card.slowed
        return card.error

    def c_nvmlDeviceGetEccMode(self, device: Any, current: Any, pending: Any) -> int:  # noqa: N802
        card = self._of(device)
        if card.ecc_uncorrected is None:
            return card.error or int(pynvml.NVML_ERROR_NOT_SUPPORTED)
        current._obj.value = pending._obj.value = 1
        return card.error

    def c_nvmlDeviceGetTotalEccErrors(self, device: Any, _type: Any, _since: Any, count: Any) -> int:  # noqa: N802
        card = self._of(device)
        if card.ecc_uncorrected is None:
            return card.error or int(pynvml.NVML_ERROR_NOT_SUPPORTED)
        count._obj.value = card.ecc_uncorrected
        return card.error

    def c_nvmlDeviceGetEncoderCapacity(self, device: Any, _codec: Any, percent: Any) -> int:  # noqa: N802
        card = self._of(device)
        if card.encoder_capacity is None:
            return card.error or int(pynvml.NVML_ERROR_NOT_SUPPORTED)
        percent._obj.value = card.encoder_capacity
        return card.error

    def c_nvmlDeviceGetMigMode(self, device: Any, current: Any, pending: Any) -> int:  # noqa: N802
        card = self._of(device)
        if not card.slices:
            return card.error or int(pynvml.NVML_ERROR_NOT_SUPPORTED)
        current._obj.value = pending._obj.value = 1
        return card.error

    def c_nvmlDeviceGetMaxMigDeviceCount(self, _device: Any, count: Any) -> None:  # noqa: N802
        count._obj.value = 7

    def c_nvmlDeviceGetMigDeviceHandleByIndex(self, device: Any, index: Any, slice_: Any) -> int:  # noqa: N802
        card = self._of(device)
        # Real slices leave gaps in the numbering.
        numbered = dict(zip(range(1, 7, 2), card.slices, strict=False))
        if index.value not in numbered:
            return int(pynvml.NVML_ERROR_NOT_FOUND)
        return self._point(slice_, numbered[index.value])

    def c_nvmlDeviceGetComputeRunningProcesses_v3(self, device: Any, count: Any, found: Any) -> int:  # noqa: N802
        card = self._of(device)
        count._obj.value = len(card.processes)
        if found is None:
            return int(pynvml.NVML_ERROR_INSUFFICIENT_SIZE) if card.processes else 0
        for position, (pid, used_mib) in enumerate(card.processes):
            found[position].pid = pid
            found[position].usedGpuMemory = used_mib * MIB
        return card.error
