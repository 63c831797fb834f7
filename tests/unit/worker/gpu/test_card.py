"""What the worker learns of its card, through the real pynvml binding over a fake driver."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pynvml
import pytest

from comfy.wan.cards import vram_class_gib
from tests.support.fake_nvml import FakeCard, FakeDriver
from worker.errors import GpuUnusable
from worker.gpu.card import class_to_serve, find_card, read_card, read_cards
from worker.gpu.nvml import GpuState

MIB = 2**20


@pytest.mark.parametrize(
    ("name", "total_mib", "expected"),
    [
        ("GTX 1660", 6144, None),
        ("RTX 4060", 8188, 8),
        ("RTX 3080", 10240, 8),
        ("RTX 2080 Ti", 11264, 8),
        ("RTX 4070", 12282, 12),
        ("T4 with ECC", 15360, 16),
        ("RTX 4080", 16376, 16),
        ("RTX 4000 Ada", 20475, 16),
        ("L4 with ECC", 23034, 24),
        ("RTX 4090", 24564, 24),
        ("RTX 5090", 32607, 32),
        ("A100 40 GB", 40960, 32),
        ("A40 with ECC", 46068, 48),
        ("RTX 6000 Ada", 49140, 48),
        ("H100", 81559, 80),
        ("GH200", 97871, 80),
        ("H200", 143771, 141),
        ("B200", 183359, 141),
        ("A100 slice 1g.10gb", 9728, 8),
        ("A100 slice 3g.40gb", 40192, 32),
    ],
)
def test_a_card_belongs_to_the_largest_class_that_it_stands_for(
    name: str, total_mib: int, expected: int | None
) -> None:
    assert vram_class_gib(total_mib * MIB) == expected, name


@pytest.mark.parametrize(
    ("asked", "total_mib", "ram_gib", "emulated", "expected"),
    [
        (None, 24564, 64, False, 24),
        (48, 24564, 64, False, 48),
        (8, 6144, 64, False, 8),
        (None, None, 64, False, 48),
        (None, None, 4, False, 8),
        (None, None, 4, True, 141),
        (16, None, 4, True, 16),
    ],
)
def test_a_worker_serves_the_class_of_its_card_unless_told_otherwise(
    driver: FakeDriver,
    asked: int | None,
    total_mib: int | None,
    ram_gib: int,
    emulated: bool,
    expected: int,
) -> None:
    driver.cards = [FakeCard(total_mib=total_mib or 1)]
    card = read_cards()[0] if total_mib else None

    assert class_to_serve(asked, card, host_ram_bytes=ram_gib * 2**30, emulated=emulated) == expected


def test_a_card_below_all_classes_serves_none_unasked(driver: FakeDriver) -> None:
    driver.cards = [FakeCard(total_mib=6144)]

    with pytest.raises(GpuUnusable, match=r"6\.0 GiB.*FARM_VRAM_CLASS"):
        class_to_serve(None, read_cards()[0], host_ram_bytes=2**36, emulated=False)


def test_a_card_is_read_with_all_its_facts(driver: FakeDriver) -> None:
    driver.cards = [FakeCard(used_mib=1000, processes=[(os.getpid(), 700), (4_000_000, 20)])]

    card = find_card({})

    assert card is not None
    assert card.uuid == "GPU-00000000-0000-0000-0000-000000000000"
    assert (card.index, card.name, card.driver) == (0, "NVIDIA GeForce RTX 4090", "580.95.05")
    assert card.total_bytes == 24564 * MIB
    assert card.used_bytes == 1000 * MIB
    assert card.free_bytes == (24564 - 1000 - 256) * MIB
    assert card.compute_capability == (8, 9)
    assert card.vram_class_gib == 24
    assert [(p.pid, p.used_bytes) for p in card.processes] == [
        (os.getpid(), 700 * MIB),
        (4_000_000, 20 * MIB),
    ]
    assert card.processes[0].name is not None
    assert card.processes[1].name is None


def test_what_tells_of_a_cards_health_is_read_too(driver: FakeDriver) -> None:
    driver.cards = [FakeCard(temperature_c=81, ecc_uncorrected=2), FakeCard()]

    sick, well = read_cards()

    assert (sick.temperature_c, sick.ecc, sick.ecc_uncorrected) == (81, True, 2)
    assert (well.ecc, well.ecc_uncorrected) == (None, None)


@pytest.mark.parametrize(
    ("name", "capacity", "expected"),
    [
        ("NVIDIA GeForce RTX 4090", 0, True),
        ("NVIDIA H100 80GB HBM3", 100, False),
        ("NVIDIA A100-SXM4-80GB", None, False),
        ("NVIDIA Something New", 100, True),
        ("NVIDIA Something New", 0, None),
        ("NVIDIA Something New", None, None),
    ],
)
def test_whether_a_card_encodes_video_is_known_by_its_name_or_asked(
    driver: FakeDriver, name: str, capacity: int | None, expected: bool | None
) -> None:
    driver.cards = [FakeCard(name=name, encoder_capacity=capacity)]

    assert read_cards()[0].has_nvenc is expected


def test_an_old_driver_is_read_too(driver: FakeDriver) -> None:
    driver.old = True

    assert read_cards()[0].free_bytes == (24564 - 300) * MIB


def test_memory_is_read_anew_each_time(driver: FakeDriver) -> None:
    card = read_cards()[0]
    driver.cards[0].used_mib = 20_000

    assert read_card(card.uuid).used_bytes == 20_000 * MIB


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, [0, 1, 2]),
        ("2", [2]),
        ("1,0", [1, 0]),
        (" 0 , 2 ", [0, 2]),
        ("0,-1,2", [0]),
        ("1,1", [1]),
        ("GPU-00000002-0000-0000-0000-000000000000", [2]),
        ("GPU-00000001", [1]),
        ("gpu-00000001", [1]),
    ],
)
def test_the_cards_are_those_that_cuda_visible_devices_names(
    driver: FakeDriver, visible: str | None, expected: list[int]
) -> None:
    driver.cards = [FakeCard(), FakeCard(), FakeCard()]

    assert [card.index for card in read_cards(visible)] == expected


@pytest.mark.parametrize("hidden", ["", "-1", " ", "-1,0", "none", "NoDevFiles"])
def test_hidden_cards_mean_the_cpu_on_purpose(driver: FakeDriver, hidden: str) -> None:
    assert find_card({"CUDA_VISIBLE_DEVICES": hidden}) is None


@pytest.mark.parametrize("wrong", ["3", "GPU-99", "MIG-1", "0,7", "gpu0"])
def test_a_card_that_does_not_exist_is_an_error_that_lists_those_that_do(
    driver: FakeDriver, wrong: str
) -> None:
    with pytest.raises(GpuUnusable, match=r"0 = GPU-00000000.*CUDA_VISIBLE_DEVICES") as caught:
        find_card({"CUDA_VISIBLE_DEVICES": wrong})

    assert caught.value.state == GpuState.UNKNOWN_DEVICE


class TestSlices:
    @pytest.fixture(autouse=True)
    def _cards(self, driver: FakeDriver) -> None:
        small = [FakeCard(total_mib=9728, name="NVIDIA A100 MIG 1g.10gb") for _ in range(2)]
        driver.cards = [FakeCard(), FakeCard(total_mib=81920, capability=(8, 0), slices=small)]

    def test_a_cut_card_is_listed_as_its_slices(self) -> None:
        cards = read_cards()

        assert [card.uuid[:12] for card in cards] == ["GPU-00000000", "MIG-00010000", "MIG-00010001"]
        assert [card.vram_class_gib for card in cards] == [24, 8, 8]

    def test_a_slice_is_found_by_its_uuid_and_knows_its_card(self) -> None:
        card = find_card({"CUDA_VISIBLE_DEVICES": "MIG-00010001-0000-0000-0000-000000000000"})

        assert card is not None
        assert (card.index, card.total_bytes) == (1, 9728 * MIB)
        assert card.parent_uuid == "GPU-00000001-0000-0000-0000-000000000000"
        assert card.compute_capability == (8, 0)

    @pytest.mark.parametrize("visible", ["1", "GPU-00000001"])
    def test_a_cut_card_by_its_own_name_is_its_first_slice(self, visible: str) -> None:
        assert [card.uuid[:12] for card in read_cards(visible)] == ["MIG-00010000"]


@pytest.mark.parametrize(
    ("code", "state"),
    [
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, GpuState.DRIVER_NOT_LOADED),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, GpuState.DRIVER_MISMATCH),
        (pynvml.NVML_ERROR_NO_PERMISSION, GpuState.NOT_PERMITTED),
        (pynvml.NVML_ERROR_UNKNOWN, GpuState.FAILED),
    ],
)
def test_a_driver_that_does_not_work_is_a_named_state_with_advice(
    driver: FakeDriver, code: int, state: GpuState
) -> None:
    driver.init_error = code

    with pytest.raises(GpuUnusable) as caught:
        find_card({})

    assert caught.value.state == state
    assert caught.value.advice


def test_a_driver_without_cards_is_an_error(driver: FakeDriver) -> None:
    driver.cards = []

    with pytest.raises(GpuUnusable) as caught:
        find_card({})

    assert caught.value.state == GpuState.NO_DEVICE


def test_a_card_that_falls_off_the_bus_is_lost(driver: FakeDriver) -> None:
    card = read_cards()[0]
    driver.cards[0].error = pynvml.NVML_ERROR_GPU_IS_LOST

    with pytest.raises(GpuUnusable) as caught:
        read_card(card.uuid)

    assert caught.value.state == GpuState.LOST


def test_a_lost_card_does_not_hide_the_others(driver: FakeDriver) -> None:
    driver.cards = [FakeCard(error=pynvml.NVML_ERROR_GPU_IS_LOST), FakeCard()]

    assert [card.index for card in read_cards()] == [1]
    assert [card.index for card in read_cards("1")] == [1]
    with pytest.raises(GpuUnusable) as caught:
        read_cards("0")
    assert caught.value.state == GpuState.LOST


def test_nvml_that_vanishes_and_comes_back_is_noticed_both_times(driver: FakeDriver) -> None:
    read_cards()

    driver.init_error = pynvml.NVML_ERROR_UNKNOWN
    with pytest.raises(GpuUnusable):
        read_cards()

    driver.init_error = 0
    assert read_cards()


class TestWithoutLibrary:
    @pytest.fixture(autouse=True)
    def _no_library(self, driver: FakeDriver) -> None:
        driver.init_error = pynvml.NVML_ERROR_LIBRARY_NOT_FOUND

    def test_a_machine_without_any_sign_of_a_card_has_none(self, tmp_path: Path) -> None:
        assert find_card({}, root=tmp_path) is None

    @pytest.mark.parametrize(
        "environ",
        [{"CUDA_VISIBLE_DEVICES": "0"}, {"NVIDIA_VISIBLE_DEVICES": "all"}],
    )
    def test_a_card_that_somebody_counts_on_is_missed(self, tmp_path: Path, environ: dict[str, str]) -> None:
        with pytest.raises(GpuUnusable, match="CUDA_VISIBLE_DEVICES=-1") as caught:
            find_card(environ, root=tmp_path)

        assert caught.value.state == GpuState.NO_LIBRARY

    def test_a_kernel_driver_without_library_is_missed(self, tmp_path: Path) -> None:
        (tmp_path / "dev").mkdir()
        (tmp_path / "dev" / "nvidiactl").touch()

        with pytest.raises(GpuUnusable):
            find_card({}, root=tmp_path)

    @pytest.mark.parametrize("value", ["", "void", "none"])
    def test_a_container_that_was_given_no_card_has_none(self, tmp_path: Path, value: str) -> None:
        assert find_card({"NVIDIA_VISIBLE_DEVICES": value}, root=tmp_path) is None


SOURCE = r"""
#include <string.h>
typedef struct {unsigned long long total, free, used;} M;
int nvmlInitWithFlags(unsigned f) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *c) { *c = 1; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **d) { *d = (void *)0x1000; return 0; }
int nvmlDeviceGetUUID(void *d, char *s, unsigned l) { strcpy(s, "GPU-compiled"); return 0; }
int nvmlDeviceGetName(void *d, char *s, unsigned l) { strcpy(s, "NVIDIA H200"); return 0; }
int nvmlDeviceGetMemoryInfo(void *d, M *m) { m->total = 143771ull << 20; m->free = 1; m->used = 2; return 0; }
int nvmlDeviceGetCudaComputeCapability(void *d, int *a, int *b) { *a = 9; *b = 0; return 0; }
int nvmlSystemGetDriverVersion(char *s, unsigned l) { strcpy(s, "580.1"); return 0; }
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_a_compiled_driver_library_is_read_by_a_fresh_interpreter(tmp_path: Path) -> None:
    source, library = tmp_path / "fake.c", tmp_path / "libnvidia-ml.so.1"
    source.write_text(SOURCE)
    flags = ["-shared", "-fPIC", "-Wl,-soname,libnvidia-ml.so.1"]
    subprocess.run(["gcc", *flags, "-o", str(library), str(source)], check=True)

    said = subprocess.run(
        [
            sys.executable,
            "-c",
            "from worker.gpu.card import read_cards as r; print(r(), r()[0].vram_class_gib)",
        ],
        env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert "uuid='GPU-compiled'" in said
    assert "name='NVIDIA H200'" in said
    assert "compute_capability=(9, 0)" in said
    assert said.strip().endswith("141")
