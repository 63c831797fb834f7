"""Loaded by the workers of an arena before anything else: a clock that is wrong, and a card that can be lost.

The arena puts this folder on their PYTHONPATH. ``CHAOS_STANDSTILL`` names the file in which a worker notes
when its machine gave it no time. Clock and card are ordered through files, which are read again and again, so
that a clock steps and a card falls off the bus under a running worker:

- ``CHAOS_CLOCK`` holds the seconds by which `time.time` is wrong. `datetime.now` stays right: botocore signs
  with it, and an S3 that is asked with a clock an hour off refuses, whatever the farm does.
- ``CHAOS_CARD`` holds the NVML error code of every answer; 0 when the card is well.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

_READ_AGAIN_S = 0.1


class _Order:
    """A number in a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._value = 0.0
        self._read_at = -_READ_AGAIN_S

    def value(self) -> float:
        if time.monotonic() - self._read_at >= _READ_AGAIN_S:
            self._read_at = time.monotonic()
            with contextlib.suppress(OSError, ValueError):  # it is being written
                self._value = float(self._file.read_text() or 0)
        return self._value


def _skew(wrong_by: _Order) -> None:
    right = time.time
    time.time = lambda: right() + wrong_by.value()
    time.time_ns = lambda: int(time.time() * 1e9)


def _fake_card(error: _Order) -> None:
    import pynvml

    from tests.support.fake_nvml import FakeCard, FakeDriver

    class Card(FakeCard):
        def __getattribute__(self, name: str) -> Any:
            return int(error.value()) if name == "error" else super().__getattribute__(name)

    library: Any = FakeDriver(Card(encoder_capacity=None))
    pynvml.nvmlLib = library
    pynvml._nvmlGetFunctionPointer_cache.clear()


if "CHAOS_STANDSTILL" in os.environ:
    from tests.chaos.standstill import watch

    watch(Path(os.environ["CHAOS_STANDSTILL"]), time.time)
if "CHAOS_CLOCK" in os.environ:
    _skew(_Order(Path(os.environ["CHAOS_CLOCK"])))
if "CHAOS_CARD" in os.environ:
    _fake_card(_Order(Path(os.environ["CHAOS_CARD"])))
