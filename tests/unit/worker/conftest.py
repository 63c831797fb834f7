"""What the worker's unit tests share."""

from __future__ import annotations

import pynvml
import pytest

from tests.support.fake_nvml import FakeCard, FakeDriver


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    """The driver library of a machine with one RTX 4090."""
    fake = FakeDriver(FakeCard())
    monkeypatch.setattr(pynvml, "nvmlLib", fake)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    return fake
