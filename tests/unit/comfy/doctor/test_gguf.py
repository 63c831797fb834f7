"""GGUF of many bits is told where fp8 would be computed faster, with a cost that can be."""

from __future__ import annotations

import pytest

from comfy.doctor.diagnose import diagnose
from comfy.doctor.report import Finding


def told(
    types: str, device: str | None, *, steps: int = 20, pace_s: float = 40.0, load: str = ""
) -> Finding | None:
    vram = "Total VRAM 24564 MB, total RAM 65277 MB\n"
    head = f"{vram}Set vram state to: NORMAL_VRAM\nDevice: {device}\n" if device else ""
    seconds = steps * pace_s
    minutes = f"{int(seconds // 60):02}:{int(seconds % 60):02}"
    log = (
        f"{head}got prompt\ngguf qtypes: F16 (694), {types} (400), F32 (1)\n"
        "model weight dtype torch.float16, manual cast: None\nRequested to load WAN21\n"
        f"{load or 'loaded completely; 20600.00 MB usable, 14800.00 MB loaded, full load: True'}\n"
        f"100%|##########| {steps}/{steps} [{minutes}<00:00, {pace_s:.2f}s/it]\n"
        f"Prompt executed in {seconds + 60:.2f} seconds\n"
    )
    return next((each for each in diagnose(log).findings if each.id == "gguf-where-fp8-fits"), None)


def cuda(name: str) -> str:
    return f"cuda:0 NVIDIA {name} : cudaMallocAsync"


@pytest.mark.parametrize(
    ("device", "is_told"),
    [
        (cuda("GeForce RTX 4090"), True),
        (cuda("GeForce RTX 4070"), True),
        (cuda("GeForce RTX 5090"), True),
        (cuda("L40S"), True),
        (cuda("H100 80GB HBM3"), True),
        (None, True),  # nobody says which card: it may be one that computes fp8
        # These turn fp8 into 16 bits at each use as well, and Q8_0 is the finer one.
        (cuda("GeForce RTX 3090"), False),
        (cuda("GeForce RTX 2080 Ti"), False),
        (cuda("A100-SXM4-80GB"), False),
        (cuda("GeForce GTX 1080 Ti"), False),
        ("cuda:0 Tesla T4 : cudaMallocAsync", False),
        ("cuda:0 AMD Radeon RX 7900 XTX : native", False),
        ("xpu:0 Intel(R) Arc(TM) A770 Graphics", False),
        ("mps", False),
        ("cpu", False),
    ],
)
def test_eight_bits_are_told_where_the_card_may_compute_fp8(device: str | None, is_told: bool) -> None:
    finding = told("Q8_0", device)

    assert (finding is not None) is is_told
    if finding is not None:
        assert "no memory is saved" in finding.message
        assert "coarsely" in finding.remedy
        assert ("if the card has FP8 units" in finding.message) is (device is None)


@pytest.mark.parametrize(
    ("types", "saves"),
    [("Q8_0", False), ("Q6_K", True), ("Q5_K", True), ("Q5_0", True), ("Q5_1", True)],
)
def test_memory_is_saved_by_fewer_bits_than_eight_alone(types: str, saves: bool) -> None:
    finding = told(types, cuda("GeForce RTX 4090"))

    assert finding is not None
    assert ("saves memory" in finding.message) is saves


@pytest.mark.parametrize("types", ["Q4_K", "Q4_0", "Q3_K", "F16", "BF16"])
def test_fewer_bits_than_five_and_plain_weights_are_no_finding(types: str) -> None:
    assert told(types, cuda("GeForce RTX 4090")) is None


@pytest.mark.parametrize("types", ["Q8_0", "Q6_K", "Q5_K", "Q5_0"])
@pytest.mark.parametrize(("steps", "pace_s"), [(20, 40.0), (4, 5.0), (8, 0.5), (30, 0.1)])
def test_no_more_is_lost_than_was_sampled_and_bounds_hold_the_estimate(
    types: str, steps: int, pace_s: float
) -> None:
    finding = told(types, cuda("GeForce RTX 5090"), steps=steps, pace_s=pace_s)

    assert finding is not None
    assert finding.cost is not None
    assert 0 <= finding.cost.low <= finding.cost.seconds <= finding.cost.high <= steps * pace_s


def test_long_steps_lose_what_fp8_units_gain_and_little_by_unpacking() -> None:
    finding = told("Q8_0", cuda("GeForce RTX 4090"))

    assert finding is not None
    assert finding.cost is not None
    # 14.6e9 weights, of which each moves 3.2 bytes: 47 ms a pass at 1000 GB/s.
    assert "0.9 s of unpacking: 20 steps × 1 × 47 GB moved / 1000 GB/s" in finding.cost.formula
    assert finding.cost.seconds == pytest.approx(0.94 + (800 - 0.94) * (1 - 1 / 1.57), abs=0.1)


def test_half_the_file_on_the_card_unpacks_as_the_whole_does() -> None:
    partly = (
        "loaded partially; 8600.00 MB usable, 8500.00 MB loaded, 6300.00 MB offloaded, lowvram patches: 0"
    )
    whole, part = (told("Q8_0", cuda("GeForce RTX 4070"), load=load) for load in ("", partly))

    assert whole is not None
    assert part is not None
    assert whole.cost is not None
    assert whole.cost == part.cost
