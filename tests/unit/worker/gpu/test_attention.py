"""The trial of attention back-ends: a real child, over packages that stand in for torch and its kernels.

The stand-in's tensors are numbers that know which function made them, so what is tested is which back-ends
are called, what is made of right, wrong, slow and deadly ones, and what is remembered.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from worker.gpu.attention import AttentionProbe

TORCH = '''
import contextlib, enum, os, types
CALLS = os.environ.get("CALLS")
class Tensor:
    """One number; every operation that the trial uses leaves it, but for what a kernel makes of it."""
    def __init__(self, quality=1.0):
        self.quality, self.shape = quality, (1, 40, 8, 128)
        self.device = types.SimpleNamespace(type=os.environ.get("DEVICE", "cuda"))
        self.T = self
    def __getitem__(self, _): return self
    def __matmul__(self, _): return self
    def __truediv__(self, _): return self
    def transpose(self, *_): return self
    def float(self): return self
    def flatten(self): return self
class Generator:
    def __init__(self, device): pass
    def manual_seed(self, _): return self
def randn(*_, **__): return Tensor()
def softmax(x, dim): return x
def stack(rows): return rows[0]
bfloat16 = float32 = None
inference_mode = contextlib.nullcontext
def is_available(): return os.environ.get("DEVICE", "cuda") == "cuda"
cuda = types.SimpleNamespace(is_available=is_available, synchronize=lambda: None)
def attend(q, k, v): return Tensor()
def similarity(one, other, dim): return one.quality
functional = types.SimpleNamespace(scaled_dot_product_attention=attend, cosine_similarity=similarity)
class SDPBackend(enum.Enum):
    FLASH_ATTENTION = 1
    CUDNN_ATTENTION = 2
    EFFICIENT_ATTENTION = 3
@contextlib.contextmanager
def sdpa_kernel(chosen):
    if chosen is SDPBackend.CUDNN_ATTENTION:
        raise RuntimeError("No available kernel. Aborting execution.\\nsecond line")
    yield
attention = types.SimpleNamespace(SDPBackend=SDPBackend, sdpa_kernel=sdpa_kernel)
nn = types.SimpleNamespace(functional=functional, attention=attention)
if CALLS:
    open(CALLS, "a").write("torch\\n")
print("a package that prints what it likes {")
'''


class Machine:
    """An interpreter's extra packages, and a probe over them."""

    def __init__(self, folder: Path) -> None:
        self.packages = folder / "packages"
        self.work = folder / "work"
        self.calls = folder / "calls"
        self.packages.mkdir()
        self.work.mkdir()
        self.install("torch", TORCH, version="2.9.1")

    def install(self, name: str, text: str, *, version: str = "1.0") -> None:
        (self.packages / f"{name}.py").write_text(text)
        facts = self.packages / f"{name}-{version}.dist-info"
        facts.mkdir(exist_ok=True)
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")

    def probe(self, *, driver: str = "580.1", deadline_s: float = 60.0, **environ: str) -> AttentionProbe:
        return AttentionProbe(
            [sys.executable],
            self.work / "attention.json",
            card={"uuid": "GPU-1", "driver": driver},
            environ={**os.environ, "PYTHONPATH": str(self.packages), "CALLS": str(self.calls), **environ},
            tokens=8,
            deadline_s=deadline_s,
        )

    @property
    def trials(self) -> int:
        """How often torch was imported."""
        return len(self.calls.read_text().splitlines()) if self.calls.exists() else 0


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


SAGE = "import torch\ndef sageattn(q, k, v, tensor_layout, is_causal):\n    {}\n"


def test_right_back_ends_are_timed_wrong_ones_refused_and_absent_ones_left_out(machine: Machine) -> None:
    machine.install("sageattention", SAGE.format("return torch.Tensor(0.31)"))
    machine.install("flash_attn", "def flash_attn_func(q, k, v):\n    return q, None\n")

    found = machine.probe().find()

    assert set(found.proven) == {"sdpa", "sdpa_flash", "sdpa_efficient", "flash2"}
    assert all(seconds > 0 for seconds in found.proven.values())
    assert found.refused == {
        "sdpa_cudnn": "RuntimeError: No available kernel. Aborting execution.",
        "sage": "wrong: its cosine to the right answer is 0.3100",
    }
    assert machine.trials == 1


def test_noise_that_is_no_number_is_wrong(machine: Machine) -> None:
    machine.install("sageattention", SAGE.format("return torch.Tensor(float('nan'))"))

    assert "nan" in machine.probe().find().refused["sage"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("import os; os._exit(139)", "the process ended with 139"),
        ("raise RuntimeError('CUDA error: no kernel image is available')", "no kernel image"),
        ("import time; time.sleep(60)", "it did not end within"),
    ],
)
def test_one_that_breaks_the_process_or_hangs_does_not_cost_the_others(
    machine: Machine, line: str, words: str
) -> None:
    machine.install("sageattention", SAGE.format(line))
    machine.install("flash_attn", "def flash_attn_func(q, k, v):\n    return q\n")
    hangs = "sleep" in line

    found = machine.probe(deadline_s=5.0 if hangs else 60.0).find()

    assert words in found.refused["sage"]
    assert "sdpa" in found.proven
    assert ("flash2" in found.proven) is not hangs  # no time was left for it
    assert found.passing is hangs


def test_what_was_found_is_remembered_until_card_driver_or_packages_change(machine: Machine) -> None:
    first = machine.probe().find()

    again = machine.probe()
    again.recall()
    assert again.known == first
    assert machine.trials == 1
    other_driver = machine.probe(driver="590.2")
    other_driver.recall()
    assert other_driver.known is None
    machine.install("sageattention", SAGE.format("return q"), version="2.2.0")
    assert "sage" in machine.probe().find().proven
    assert machine.trials == 2


def test_it_is_tried_once_however_many_ask(machine: Machine) -> None:
    probe = machine.probe()
    assert probe.known is None

    assert probe.find() is probe.find()

    assert machine.trials == 1


def test_a_full_card_refuses_for_now_and_nothing_is_remembered(machine: Machine) -> None:
    machine.install("sageattention", SAGE.format("raise RuntimeError('CUDA error: out of memory')"))

    found = machine.probe().find()

    assert found.passing
    assert "out of memory" in found.refused["sage"]
    assert not (machine.work / "attention.json").exists()


def test_without_a_card_or_without_torch_nothing_is_proven_and_nothing_is_remembered(
    machine: Machine,
) -> None:
    assert machine.probe(DEVICE="cpu").find().proven == {}
    (machine.packages / "torch.py").write_text("raise ImportError('libcudart.so.13: cannot open')")

    found = machine.probe().find()

    assert (found.proven, found.refused, found.passing) == ({}, {}, True)
    assert not (machine.work / "attention.json").exists()


def test_a_result_that_cannot_be_read_is_found_anew(machine: Machine) -> None:
    (machine.work / "attention.json").write_text('{"key": 1')
    probe = machine.probe()

    probe.recall()

    assert probe.known is None
    assert probe.find().proven


def test_a_real_torch_proves_its_own_back_ends(tmp_path: Path) -> None:
    python = os.environ.get("COMFYUI_PYTHON")
    if python is None or subprocess.run([python, "-c", "import torch"], check=False).returncode:
        pytest.skip("COMFYUI_PYTHON names no interpreter with torch")

    probe = AttentionProbe(
        [python], tmp_path / "attention.json", card={}, environ=dict(os.environ), device="cpu", tokens=256
    )

    found = probe.find()
    assert {"sdpa", "sdpa_flash"} <= set(found.proven)
    assert json.loads((tmp_path / "attention.json").read_text())["key"]["packages"]["torch"]
