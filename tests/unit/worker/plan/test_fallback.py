"""What is tried when a job runs out of GPU memory."""

from __future__ import annotations

import pytest

from farm.status.worker import WorkerStatus
from worker.gpu.card import GIB
from worker.plan.fallback import FallbackStep, humbler, larger_class, next_step
from worker.plan.flags import AcceptedFlags
from worker.plan.load_plan import LoadMode, LoadPlan

HERE = [FallbackStep.FREE, FallbackStep.TILED, FallbackStep.RESERVE, FallbackStep.STREAM]
ALL = AcceptedFlags(names=frozenset({"--novram", "--reserve-vram"}))
PLAN = LoadPlan(mode=LoadMode.RESIDENT, flags=("--highvram", "--fast"), reasons=("it fits",))


def taken_for(node_type: str, offered: list[FallbackStep]) -> list[FallbackStep]:
    taken: list[FallbackStep] = []
    while (step := next_step(taken, offered, node_type)) is not None:
        taken.append(step)
    return taken


def test_a_decode_climbs_every_rung() -> None:
    assert taken_for("VAEDecode", HERE) == HERE


def test_tiles_do_not_help_a_sampler() -> None:
    assert taken_for("KSamplerAdvanced", HERE) == [
        FallbackStep.FREE,
        FallbackStep.RESERVE,
        FallbackStep.STREAM,
    ]


def test_only_what_is_offered_is_tried() -> None:
    assert taken_for("VAEDecode", [FallbackStep.FREE]) == [FallbackStep.FREE]


def test_more_reserve_takes_the_place_of_the_mode_and_grows() -> None:
    once = humbler(PLAN, FallbackStep.RESERVE, ALL, ())
    assert once is not None
    twice = humbler(once, FallbackStep.RESERVE, ALL, ())

    assert (once.mode, once.flags) == (LoadMode.RESERVED, ("--fast", "--reserve-vram", "2.0"))
    assert twice is not None
    assert (twice.flags, twice.reserve_bytes) == (("--fast", "--reserve-vram", "4.0"), 4 * GIB)


def test_streaming_keeps_nothing_on_the_card() -> None:
    plan = humbler(PLAN, FallbackStep.STREAM, ALL, ())

    assert plan is not None
    assert (plan.mode, plan.flags) == (LoadMode.STREAMED, ("--fast", "--novram"))


@pytest.mark.parametrize(
    ("plan", "accepted", "extra"),
    [
        (PLAN, AcceptedFlags(names=frozenset()), ()),
        (PLAN, ALL, ("--highvram",)),
        (PLAN, ALL, ("--reserve-vram=1",)),
        (LoadPlan(mode=LoadMode.CPU, reasons=("no card",)), ALL, ()),
        (LoadPlan(mode=LoadMode.STREAMED, reasons=("asked for",)), ALL, ()),
    ],
)
@pytest.mark.parametrize("step", [FallbackStep.RESERVE, FallbackStep.STREAM])
def test_there_is_no_humbler_plan(
    plan: LoadPlan, accepted: AcceptedFlags, extra: tuple[str, ...], step: FallbackStep
) -> None:
    assert humbler(plan, step, accepted, extra) is None


@pytest.mark.parametrize(
    ("classes", "expected"), [((24, 80), 32), ((24, 24), None), ((24,), None), ((141, 141), None)]
)
def test_a_larger_class_is_one_that_somebody_serves(classes: tuple[int, ...], expected: int | None) -> None:
    workers = [WorkerStatus(name=f"w{number}", vram_gib=gib) for number, gib in enumerate(classes)]

    assert larger_class(workers, "w0") == expected


SDPA = "--use-pytorch-cross-attention"


def test_pytorchs_attention_takes_the_place_of_the_one_that_the_operator_gave() -> None:
    plan = humbler(PLAN, FallbackStep.SDPA, AcceptedFlags(names=frozenset({SDPA})), ("--use-sage-attention",))

    assert plan is not None
    assert (plan.mode, plan.flags) == (PLAN.mode, ("--highvram", "--fast", SDPA))
    assert "--use-sage-attention" in plan.dropped


def test_pytorchs_attention_is_not_taken_twice_nor_where_there_is_no_flag_for_it() -> None:
    accepted = AcceptedFlags(names=frozenset({SDPA}))
    once = humbler(PLAN, FallbackStep.SDPA, accepted, ())

    assert once is not None
    assert humbler(once, FallbackStep.SDPA, accepted, ()) is None
    assert humbler(PLAN, FallbackStep.SDPA, ALL, ()) is None
