"""What weights that stream cost: nobody reads it off the measured step, which holds the copies itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from comfy.doctor.diagnose import diagnose
from comfy.doctor.report import Confidence, Finding, Report
from comfy.wan.templates import get_template

GPU = "RTX 4090"
FP8 = "model weight dtype torch.float8_e4m3fn, manual cast: torch.float16"
WIDE = "model weight dtype torch.float16, manual cast: None"
STREAMS = "Using async weight offloading with 2 streams"
PINNED = "Enabled pinned memory 57344"


def log_of(
    *says: str, pace: float = 24.0, steps: int = 4, gib: float = 10.0, weights: str = FP8, loads: int = 1
) -> str:
    """A log of a server and of one prompt, which streams so much."""
    part = f"loaded partially; 4821.43 MB usable, 3050.79 MB loaded, {gib * 1024:.2f} MB offloaded"
    clock = f"{int(steps * pace) // 60:02}:{int(steps * pace) % 60:02}"
    expert = (
        weights,
        "Requested to load WAN21",
        f"{part}, 340.08 MB buffer reserved, lowvram patches: 0",
        f"100%|####| {steps}/{steps} [{clock}<00:00, {pace:.2f}s/it]",
    )
    lines = (
        "Total VRAM 24080 MB, total RAM 64000 MB",
        f"Device: cuda:0 NVIDIA GeForce {GPU} : cudaMallocAsync",
        *says,
        "ComfyUI version: 0.18.2",
        "To see the GUI go to: http://127.0.0.1:8188",
        "got prompt",
        *expert * loads,
        f"Prompt executed in {loads * steps * pace + 20:.2f} seconds",
    )
    return "".join(f"{line}\n" for line in lines)


def clip() -> Mapping[str, Any]:
    """A graph of two samplers, ten steps each."""
    return get_template("wan22-t2v-a14b").build(prompt="a fox", width=832, height=480).graph


def partial(report: Report) -> Finding:
    return next(each for each in report.findings if each.id == "partial-load")


def asked(report: Report) -> list[str]:
    return [each.decides for each in report.questions if "weights that stream" in each.what]


@pytest.mark.parametrize(
    "says",
    [
        (),  # how fast they come, no line tells
        (STREAMS,),
        (STREAMS, "Enabled pinned memory 2048"),  # of less than what streams
    ],
)
def test_without_a_known_rate_or_a_forecast_the_cost_is_asked_for(says: tuple[str, ...]) -> None:
    report = diagnose(log_of(*says))

    finding = partial(report)
    assert finding.cost is None
    assert "leave it" not in finding.message + finding.remedy
    assert ["--graph" in each for each in asked(report)] == [True]


@pytest.mark.parametrize(
    ("pace", "gib", "is_little"),
    [(24.0, 10.0, True), (4.0, 10.0, False), (90.0, 20.0, True), (9.0, 20.0, False)],
)
def test_copies_from_pinned_memory_take_at_most_their_time(pace: float, gib: float, is_little: bool) -> None:
    report = diagnose(log_of(STREAMS, PINNED, pace=pace, gib=gib))

    finding = partial(report)
    assert finding.cost is not None
    assert finding.cost.high == pytest.approx(4 * 2 * gib * 2**30 / 10e9, rel=0.01)  # guidance may pass twice
    assert finding.confidence is Confidence.LIKELY
    assert finding.remedy.startswith("leave it") is is_little
    assert asked(report) == []


@pytest.mark.parametrize("says", [(PINNED,), ()])
def test_what_does_not_overlap_is_never_said_to_overlap(says: tuple[str, ...]) -> None:
    report = diagnose(log_of(*says, pace=6.0))

    assert "no-async-offload" in [each.id for each in report.findings]
    assert not any("overlap" in each.message + each.remedy for each in report.findings)
    cost = partial(report).cost
    assert (cost is not None and cost.seconds > 1) is bool(says)


def test_a_step_that_takes_no_longer_than_its_copy_waits_for_it() -> None:
    finding = partial(diagnose(log_of(STREAMS, PINNED, pace=1.2, gib=26.0, steps=20)))

    assert "wait" in finding.message
    assert finding.cost is not None
    assert finding.cost.high == pytest.approx(24, rel=0.01)


@pytest.mark.parametrize(("pace", "is_slow"), [(20.0, False), (24.0, False), (80.0, True)])
@pytest.mark.parametrize("says", [(), (STREAMS,), (STREAMS, PINNED)])
def test_with_graph_and_card_the_forecast_decides(says: tuple[str, ...], pace: float, is_slow: bool) -> None:
    report = diagnose(log_of(*says, pace=pace, steps=10, loads=2), graph=clip(), card=GPU)

    finding = partial(report)
    assert ("slower-than-predicted" in [each.id for each in report.findings]) is is_slow
    assert finding.cost is not None
    assert (finding.cost.high > 100) is is_slow
    assert finding.confidence is Confidence.LIKELY
    assert finding.remedy.startswith("leave it") is not is_slow
    assert asked(report) == []


def test_a_graph_that_is_not_the_logs_decides_nothing() -> None:
    report = diagnose(log_of(steps=3), graph=clip(), card=GPU)

    assert partial(report).cost is None
    assert len(asked(report)) == 1


@pytest.mark.parametrize(
    ("weights", "is_advised"),
    [
        (FP8, False),
        (WIDE, True),
        ("model weight dtype torch.bfloat16, manual cast: None", True),
        ("model weight dtype torch.float8_e5m2, manual cast: torch.float16", False),
        (f"gguf qtypes: F32 (694), Q4_K (400)\n{WIDE}", False),
        ("", True),  # it is not told
    ],
)
def test_fewer_bits_are_advised_only_where_there_are_many(weights: str, is_advised: bool) -> None:
    log = log_of(STREAMS, weights=weights)
    again = log[log.index("got prompt") :].replace(weights, "")

    for text in (log, log + again):  # a model that is kept is read once
        remedies = [each.remedy for each in diagnose(text).findings if each.id == "partial-load"]
        assert ["fp8" in each for each in remedies] == [is_advised] * len(remedies)


@pytest.mark.parametrize("gib", [3.5, 12.25])
def test_a_step_is_predicted_with_what_the_log_says_that_streams(gib: float) -> None:
    report = diagnose(log_of(STREAMS, gib=gib, steps=10, loads=2, pace=90.0), graph=clip())

    cost = partial(report).cost
    assert cost is not None
    assert f"{gib:.1f} GiB stream in each pass" in cost.source


@pytest.mark.parametrize(("gib", "is_told"), [(0.03, False), (0.04, False), (0.1, True), (10.0, True)])
def test_a_rest_that_is_copied_in_no_time_is_not_told(gib: float, is_told: bool) -> None:
    ids = [finding.id for finding in diagnose(log_of(PINNED, gib=gib)).findings]

    assert ("partial-load" in ids) == is_told
