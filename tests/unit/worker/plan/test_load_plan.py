"""Which flags a card gets, and why."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from comfy.wan.fit import ModelSizes
from tests.support.cards import CARD
from worker.gpu.card import GIB, GpuCard
from worker.plan.flags import VRAM_FLAGS, AcceptedFlags, parse_help
from worker.plan.load_plan import LoadMode, plan_load

OLD = AcceptedFlags(names=frozenset({*VRAM_FLAGS, "--reserve-vram", "--port"}))  # 0.3.64
DYNAMIC = AcceptedFlags(names=(OLD.names | {"--disable-dynamic-vram"}) - {"--normalvram"})  # 0.33
FP8 = ModelSizes(experts=(int(13.31 * GIB),) * 2, others=int(6.5 * GIB), activations=int(13.6 * GIB))
BF16 = ModelSizes(experts=(int(26.6 * GIB),) * 2, others=int(10.8 * GIB), activations=int(5.9 * GIB))
OLD_WITH_MALLOC = AcceptedFlags(names=OLD.names | {"--disable-cuda-malloc"})
MUCH_RAM = 128 * GIB


def a_card(gib: float = 24, *, used_gib: float = 0.3) -> GpuCard:
    sizes = [int(each * GIB) for each in (gib, gib - used_gib, used_gib)]
    return replace(CARD, total_bytes=sizes[0], free_bytes=sizes[1], used_bytes=sizes[2])


@pytest.mark.parametrize(
    ("gib", "accepted"), list(product((6, 8, 12, 16, 24, 32, 48, 80, 141), (OLD, DYNAMIC)))
)
def test_a_card_of_its_own_gets_no_memory_flag_whatever_its_size(gib: int, accepted: AcceptedFlags) -> None:
    plan = plan_load(a_card(gib), MUCH_RAM, accepted)

    assert plan.mode is LoadMode.BALANCED
    assert plan.flags == ()
    assert plan.env == {"CUDA_VISIBLE_DEVICES": "GPU-1"}
    assert plan.reasons


def test_a_shared_card_leaves_room_for_the_others() -> None:
    plan = plan_load(a_card(24, used_gib=6), MUCH_RAM, DYNAMIC)

    assert plan.mode is LoadMode.RESERVED
    assert plan.flags == ("--reserve-vram", "1.5")
    assert plan.reserve_bytes == int(1.5 * GIB)
    assert any("6.0 GiB are held by others" in reason for reason in plan.reasons)


@pytest.mark.parametrize(("used_gib", "expected"), [(0.5, ()), (1.0, ("--reserve-vram", "1.0"))])
def test_what_an_idle_card_shows_as_used_is_nobody(used_gib: float, expected: tuple[str, ...]) -> None:
    assert plan_load(a_card(used_gib=used_gib), MUCH_RAM, OLD).flags == expected


def test_an_installation_that_cannot_reserve_is_not_told_to() -> None:
    plan = plan_load(a_card(used_gib=6), MUCH_RAM, AcceptedFlags(names=frozenset({"--cpu"})))

    assert (plan.mode, plan.flags) == (LoadMode.BALANCED, ())
    assert any("cannot leave them any" in reason for reason in plan.reasons)


@pytest.mark.parametrize(
    ("gib", "models", "single_family", "used_gib", "accepted", "expected"),
    [
        (80, FP8, True, 0.3, OLD, LoadMode.RESIDENT),
        (80, BF16, True, 0.3, OLD, LoadMode.RESIDENT),
        (141, BF16, True, 0.3, DYNAMIC, LoadMode.BALANCED),  # saves a second only
        (80, FP8, False, 0.3, OLD, LoadMode.BALANCED),  # another family would meet a full card
        (32, FP8, True, 0.3, OLD, LoadMode.BALANCED),  # does not fit
        (48, BF16, True, 0.3, OLD, LoadMode.BALANCED),
        (141, FP8, True, 5.0, OLD, LoadMode.RESERVED),  # somebody else is there
        (80, None, True, 0.3, OLD, LoadMode.BALANCED),  # nothing is known
    ],
)
def test_models_stay_on_the_card_only_where_nothing_speaks_against_it(
    gib: int,
    models: ModelSizes | None,
    single_family: bool,
    used_gib: float,
    accepted: AcceptedFlags,
    expected: LoadMode,
) -> None:
    card = a_card(gib, used_gib=used_gib)

    plan = plan_load(card, MUCH_RAM, accepted, models=models, single_family=single_family)

    assert plan.mode is expected
    assert ("--highvram" in plan.flags) == (expected is LoadMode.RESIDENT)


def test_a_mode_that_is_asked_for_is_taken_with_what_speaks_against_it() -> None:
    plan = plan_load(a_card(24), MUCH_RAM, DYNAMIC, wanted=LoadMode.RESIDENT, models=FP8)

    assert plan.flags == ("--highvram",)
    assert any("dynamic VRAM off" in reason for reason in plan.reasons)
    assert any("run out of memory" in reason for reason in plan.reasons)


@pytest.mark.parametrize(
    ("wanted", "flags"),
    [
        (LoadMode.STREAMED, ("--novram",)),
        (LoadMode.RESERVED, ("--reserve-vram", "1.0")),
        (LoadMode.BALANCED, ()),
        (LoadMode.CPU, ("--cpu",)),
    ],
)
def test_each_mode_can_be_asked_for(wanted: LoadMode, flags: tuple[str, ...]) -> None:
    plan = plan_load(a_card(), MUCH_RAM, OLD, wanted=wanted)

    assert (plan.mode, plan.flags) == (wanted, flags)


def test_a_flag_that_is_not_accepted_is_never_given() -> None:
    for mode, used_gib in product(LoadMode, (0.3, 9)):
        card = a_card(used_gib=used_gib)

        assert plan_load(card, MUCH_RAM, AcceptedFlags(names=frozenset()), wanted=mode).flags == ()


def test_no_plan_ever_holds_the_flags_that_harm() -> None:
    plans = [
        plan_load(a_card(gib, used_gib=used), ram * GIB, accepted, wanted=wanted, models=models)
        for gib, used, ram, accepted, wanted, models in product(
            (8, 24, 141), (0.3, 4), (16, 256), (OLD, DYNAMIC), (None, *LoadMode), (None, FP8, BF16)
        )
    ]

    assert not any({"--normalvram", "--lowvram", "--gpu-only"} & set(plan.flags) for plan in plans)
    assert all(plan.reasons for plan in plans)
    assert all(len(set(plan.flags) & set(VRAM_FLAGS)) <= 1 for plan in plans)


def test_a_machine_without_a_card_runs_a_real_comfyui_on_the_cpu() -> None:
    plan = plan_load(None, MUCH_RAM, OLD)

    assert (plan.mode, plan.flags) == (LoadMode.CPU, ("--cpu",))
    assert plan.env == {"CUDA_VISIBLE_DEVICES": "-1", "OMP_WAIT_POLICY": "PASSIVE"}


def test_the_emulator_needs_no_card() -> None:
    plan = plan_load(None, MUCH_RAM, OLD, emulated=True)

    assert (plan.mode, plan.flags, plan.env) == (LoadMode.BALANCED, (), {})


@pytest.mark.parametrize(
    ("flag", "mode"), [("--novram", LoadMode.STREAMED), ("--highvram", LoadMode.RESIDENT)]
)
def test_a_memory_flag_of_the_operator_decides_and_is_not_doubled(flag: str, mode: LoadMode) -> None:
    plan = plan_load(a_card(), MUCH_RAM, OLD, extra_args=["--fast", flag])

    assert (plan.mode, plan.flags) == (mode, ())
    assert flag in plan.reasons[0]


def test_too_little_host_memory_for_the_files_is_said() -> None:
    little = plan_load(a_card(), 32 * GIB, DYNAMIC, models=FP8)
    enough = plan_load(a_card(), 48 * GIB, DYNAMIC, models=FP8)

    assert "read from disk again" in little.reasons[-1]
    assert not any("read from disk again" in reason for reason in enough.reasons)


def test_the_help_of_a_program_tells_its_flags_and_their_choices() -> None:
    accepted = parse_help(
        """usage: main.py [-h] [--listen [IP]] [--port PORT]
               [--preview-method [none,auto,latent2rgb,taesd]]
               [--gpu-only | --highvram | --novram]
               [--verbose [{DEBUG,INFO,WARNING,ERROR,CRITICAL}]]
  --fp8_e4m3fn-unet     Store unet weights in fp8_e4m3fn. See also non-flag text--like-this.
"""
    )

    assert {"--listen", "--port", "--gpu-only", "--highvram", "--novram"} <= accepted.names
    assert "--fp8_e4m3fn-unet" in accepted
    assert "--like-this" not in accepted
    assert accepted.takes("--preview-method", "latent2rgb")
    assert not accepted.takes("--verbose", "DETAIL")
    assert accepted.takes("--verbose", "INFO")
    assert accepted.takes("--port", "8188")
    assert accepted.takes("--listen", "127.0.0.1")
    assert not accepted.takes("--database-url", "x")


def test_the_allocator_is_set_only_where_torchs_own_is_in_use() -> None:
    own = plan_load(a_card(), MUCH_RAM, OLD_WITH_MALLOC, extra_args=["--disable-cuda-malloc"])
    pool = plan_load(a_card(), MUCH_RAM, OLD_WITH_MALLOC)
    dynamic = plan_load(a_card(), MUCH_RAM, DYNAMIC, extra_args=["--disable-cuda-malloc"])

    assert own.env["PYTORCH_CUDA_ALLOC_CONF"] == "expandable_segments:True"
    assert any("expandable segments" in reason for reason in own.reasons)
    assert "PYTORCH_CUDA_ALLOC_CONF" not in {**pool.env, **dynamic.env}
