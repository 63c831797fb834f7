"""Cards of every size, cut, half-used, lost and vanishing, by the real binding from a compiled driver."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.compiled_nvml import LOST, MISMATCH, NOT_LOADED, a_card, build, seen
from worker.gpu.nvml import GpuState

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")

MIB = 2**20
SIZES = {
    8: (8188, "NVIDIA GeForce RTX 4060"),
    12: (12282, "NVIDIA GeForce RTX 4070"),
    16: (16376, "NVIDIA GeForce RTX 4080"),
    24: (24564, "NVIDIA GeForce RTX 4090"),
    32: (32607, "NVIDIA GeForce RTX 5090"),
    48: (46068, "NVIDIA L40S"),
    80: (81559, "NVIDIA H100 80GB HBM3"),
    141: (143771, "NVIDIA H200"),
}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


def test_a_card_of_every_class_is_read_whole_and_half_used(library: Path) -> None:
    whole = ["0\n" + a_card(*SIZES[gib]) for gib in SIZES]
    half = ["0\n" + a_card(*SIZES[gib], used_mib=SIZES[gib][0] // 2) for gib in SIZES]

    told = seen(library, [*whole, *half])

    for (gib, (total, name)), [fresh], [used] in zip(
        SIZES.items(), told[: len(SIZES)], told[len(SIZES) :], strict=True
    ):
        assert (fresh["gib"], fresh["name"], fresh["total"]) == (gib, name, total * MIB)
        assert fresh["capability"] == [8, 9]
        assert fresh["free"] == (total - 300 - 256) * MIB
        assert used["gib"] == gib  # its class is what it has, its plan what is free
        assert used["free"] == (total - total // 2 - 256) * MIB


def test_a_cut_card_is_read_as_its_slices_beside_a_whole_one(library: Path) -> None:
    state = (
        "0\n"
        + a_card(81920, "NVIDIA A100-SXM4-80GB")
        + a_card(9728, "NVIDIA A100 MIG 1g.10gb", kind="mig")
        + a_card(40192, "NVIDIA A100 MIG 3g.40gb", kind="mig")
        + a_card(24564, "NVIDIA GeForce RTX 4090")
    )

    ((small, large, whole),) = seen(library, [state])

    assert [card["gib"] for card in (small, large, whole)] == [8, 32, 24]
    assert small["uuid"].startswith("MIG-")
    assert small["parent"] == large["parent"] == "GPU-00000001-0000"
    assert whole["parent"] is None


def test_a_card_that_is_lost_or_whose_driver_vanishes_under_a_living_process_is_a_named_state_each_time(
    library: Path,
) -> None:
    well = "0\n" + a_card(24564, "NVIDIA GeForce RTX 4090")

    told = seen(
        library,
        [well, "0\n" + a_card(24564, "NVIDIA GeForce RTX 4090", rc=LOST), well, None, well],
        keep=True,
    )

    assert [each["state"] if isinstance(each, dict) else "well" for each in told] == [
        "well",
        GpuState.LOST,
        "well",
        GpuState.DRIVER_NOT_LOADED,
        "well",
    ]


@pytest.mark.parametrize(
    ("code", "state"), [(NOT_LOADED, GpuState.DRIVER_NOT_LOADED), (MISMATCH, GpuState.DRIVER_MISMATCH)]
)
def test_a_driver_that_does_not_begin_is_a_named_state_with_advice(
    library: Path, code: int, state: GpuState
) -> None:
    (told,) = seen(library, [f"{code}\n"])

    assert told["state"] == state
    assert len(told["words"]) > 20
