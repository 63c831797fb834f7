"""Each way in which ComfyUI can run other than planned is told, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from comfy.log.reading import LogReader
from comfy.log.text import plain_lines
from farm.status.proof import Proof, ProofVerdict
from tests.support.cards import CARD
from tests.support.tables import for_each
from worker.comfyui import proof as judged
from worker.comfyui.process import ComfyFacts, read_facts
from worker.gpu.card import GIB, GpuCard
from worker.plan.load_plan import LoadMode, LoadPlan, plan_attached

BALANCED = LoadPlan(mode=LoadMode.BALANCED, dynamic=True, reasons=("none",))
LEGACY = LoadPlan(mode=LoadMode.BALANCED, reasons=("none",))
GOOD = (
    "Total VRAM 24080 MB, total RAM 64000 MB",
    "Set vram state to: NORMAL_VRAM",
    "Device: cuda:0 NVIDIA GeForce RTX 4090 : cudaMallocAsync",
    "DynamicVRAM support detected and enabled",
    "Using pytorch attention",
    "ComfyUI version: 0.33.0",
    "To see the GUI go to: http://127.0.0.1:8188",
)

OLD_GOOD = tuple(line for line in GOOD if "DynamicVRAM" not in line)


def stats(*, kind: str = "cuda", vram_gib: float = 23.5, argv: tuple[str, ...] = ("main.py",)) -> ComfyFacts:
    device = {"name": kind, "type": kind, "vram_total": int(vram_gib * GIB), "vram_free": GIB}
    return read_facts({"system": {"comfyui_version": "0.33.0", "argv": argv}, "devices": [device]})


def prove(plan: LoadPlan, card: GpuCard | None, lines: Iterable[str], comfy: ComfyFacts) -> Proof:
    printed = "\n".join(f"\x1b[32m[INFO]\x1b[0m {line}" for line in lines)
    return judged.prove(plan, card, LogReader.of(plain_lines(printed)), comfy)


def but(old: str, new: str) -> list[str]:
    return [line.replace(old, new) for line in GOOD]


def test_as_planned_there_is_nothing_to_tell() -> None:
    proof = prove(BALANCED, CARD, GOOD, stats())

    assert proof.verdict is ProofVerdict.PROVEN
    assert (proof.vram_state, proof.attention, proof.dynamic_vram) == ("NORMAL_VRAM", "pytorch", True)
    assert proof.device == "cuda:0 NVIDIA GeForce RTX 4090 : cudaMallocAsync"
    assert str(proof.log) == "6 of 6 kinds of line known"


@pytest.mark.parametrize(
    ("lines", "facts", "words"),
    [
        (but("NORMAL_VRAM", "LOW_VRAM"), stats(), "VRAM state is LOW_VRAM"),
        (but("NORMAL_VRAM", "NO_VRAM"), stats(), "VRAM state is NO_VRAM"),
        (but("cuda:0 NVIDIA GeForce RTX 4090 : cudaMallocAsync", "cpu"), stats(), "computes on the CPU"),
        (list(GOOD), stats(kind="cpu"), "computes on the CPU"),
        (list(GOOD), stats(vram_gib=11.6), "another card"),
        (
            but("Using pytorch attention", "Using sub quadratic optimization for attention, if you"),
            stats(),
            "slow fall-back",
        ),
        (
            list(GOOD),
            stats(argv=("main.py", "--use-sage-attention")),
            "--use-sage-attention was asked for, but its attention is pytorch",
        ),
        (
            [
                *but("Using pytorch attention", "Using sage attention"),
                *["Error running sage attention: SM89 kernel is not available, using pytorch"] * 3,
            ],
            stats(argv=("main.py", "--use-sage-attention")),
            "its sage attention fails, 3 times so far",
        ),
        (
            but("DynamicVRAM support detected and enabled", "No working comfy-aimdo install detected. "),
            stats(),
            "dynamic VRAM is not at work",
        ),
    ],
)
def test_each_lie_is_caught_and_alone(lines: list[str], facts: ComfyFacts, words: str) -> None:
    proof = prove(BALANCED, CARD, lines, facts)

    assert len(proof.differences) == 1
    assert words in proof.differences[0]


@pytest.mark.parametrize(
    ("mode", "flag", "state"),
    [
        (LoadMode.RESIDENT, "--highvram", "HIGH_VRAM"),
        (LoadMode.STREAMED, "--novram", "NO_VRAM"),
        (LoadMode.CPU, "--cpu", "DISABLED"),
    ],
)
def test_a_flag_that_did_not_take_is_told(mode: LoadMode, flag: str, state: str) -> None:
    plan = LoadPlan(mode=mode, flags=(flag,), reasons=("asked for",))

    lines = [line.replace("NORMAL_VRAM", state) for line in OLD_GOOD]
    if mode is LoadMode.CPU:
        lines = [line.replace("cuda:0 NVIDIA GeForce RTX 4090 : cudaMallocAsync", "cpu") for line in lines]

    good = prove(plan, CARD, lines, stats(argv=("main.py", flag)))
    bad = prove(plan, CARD, GOOD, stats())

    assert good.holds
    assert len(bad.differences) >= 2


def test_models_that_should_stay_and_do_not_fit_are_told() -> None:
    plan = LoadPlan(mode=LoadMode.RESIDENT, reasons=("asked for",))
    partial = "loaded partially; 9000.00 MB usable, 8900.00 MB loaded, 4700.00 MB offloaded, 100.00 MB buffer reserved, lowvram patches: 0"  # noqa: E501

    proof = prove(
        plan,
        CARD,
        [
            "Requested to load WAN21",
            partial,
            *(line.replace("NORMAL_VRAM", "HIGH_VRAM") for line in OLD_GOOD),
        ],
        stats(),
    )

    assert proof.partial_loads == 1
    assert "only in part" in proof.differences[0]


def test_partial_loads_are_what_a_balanced_card_does() -> None:
    partial = "loaded partially 9000.0 8900.0 0"

    proof = prove(LEGACY, CARD, [*OLD_GOOD, "Requested to load WAN21", partial], stats())

    assert (proof.partial_loads, proof.holds) == (1, True)


@pytest.mark.parametrize(
    ("lines", "facts", "words"),
    [
        (["got prompt"], stats(), "how it holds models"),
        ([line for line in GOOD if "vram state" not in line], stats(), "how it holds models"),
        ([line for line in GOOD if "Device:" not in line], stats(), "what it computes on"),
        ([line for line in GOOD if "DynamicVRAM" not in line], stats(), "whether dynamic VRAM is at work"),
        (
            [line for line in GOOD if "attention" not in line],
            stats(argv=("main.py", "--use-pytorch-cross-attention")),
            "which attention computes",
        ),
        ([f"<info> {line}" for line in GOOD], stats(), "0 of 6 kinds of line known"),
    ],
)
def test_a_log_that_does_not_say_enough_proves_nothing_and_accuses_nobody(
    lines: list[str], facts: ComfyFacts, words: str
) -> None:
    proof = prove(BALANCED, CARD, lines, facts)

    assert proof.verdict is ProofVerdict.UNPROVEN
    assert not proof.holds
    assert proof.differences == ()
    assert any(words in each for each in proof.unproven)


def test_what_somebody_else_started_is_held_against_no_plan_of_ours() -> None:
    lines = [*but("NORMAL_VRAM", "HIGH_VRAM"), "Requested to load WAN21", "loaded partially 9.0 0.5 0"]

    assert prove(plan_attached(), None, lines, stats()).verdict is ProofVerdict.PROVEN


def test_on_the_cpu_a_slow_attention_is_no_news() -> None:
    plan = LoadPlan(mode=LoadMode.CPU, flags=("--cpu",), reasons=("no card",))
    lines = ["Set vram state to: DISABLED", "Device: cpu", "Using sub quadratic optimization for attention"]

    assert prove(plan, None, lines, stats(kind="cpu", argv=("main.py", "--cpu"))).holds


def test_an_emulators_pretended_card_is_not_compared() -> None:
    emulated = replace(stats(vram_gib=141), is_emulator=True)

    assert prove(BALANCED, CARD, GOOD, emulated).holds


PARTIAL = "loaded partially; 9000.00 MB usable, 0.00 MB loaded, 4700.00 MB offloaded, lowvram patches: 0"
FORGED = (
    "Set vram state to: NO_VRAM",
    "Set vram state to: HIGH_VRAM",
    "Device: cpu",
    "Device: cuda:0 another",
    "Using split optimization for attention",
    "Using sage attention",
    "No working comfy-aimdo install detected",
    "Dynamic vram disabled with argument",
    "Total VRAM 1 MB, total RAM 1 MB",
    "ComfyUI version: 9.9.9",
    "pytorch version: 9.9",
    "Error running sage attention: no kernel",
    "Flash Attention failed, using default SDPA",
    f"Requested to load WAN21\n{PARTIAL}",
    "Requested to load WAN21\nloaded completely; 1.00 MB usable, 1.00 MB loaded, full load: True",
    "Model WAN21 prepared for dynamic VRAM loading. 1MB Staged. 0 patches attached",
    "Got an OOM, unloading all loaded models",
    "NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus.",
    "got prompt",
    "To see the GUI go to: http://127.0.0.1:1",
    "Prompt executed in 0.01 seconds",
)
PLANS = (BALANCED, LEGACY, LoadPlan(mode=LoadMode.RESIDENT, reasons=("asked for",)))


@for_each("plan", PLANS)
@for_each("how", ["{}", "[INFO] {}", "[2026-11-30 10:00:00.000] [INFO] {}", "a fox\n{}", "\t{}"])
@for_each("forged", FORGED)
def test_what_a_node_prints_in_a_job_changes_nothing_of_the_proof(
    forged: str, how: str, plan: LoadPlan
) -> None:
    start = "\n".join(f"\x1b[32m[INFO]\x1b[0m {line}" for line in GOOD)
    printed = "\n".join(how.format(line) for line in forged.split("\n"))
    before = judged.prove(plan, CARD, LogReader.of(plain_lines(start)), stats())

    after = judged.prove(plan, CARD, LogReader.of(plain_lines(f"{start}\n{printed}")), stats())

    assert replace(after, log=before.log) == before


@for_each("forged", FORGED)
def test_where_loggers_leave_no_mark_a_nodes_words_are_told_and_take_no_worker_out_of_service(
    forged: str,
) -> None:
    before = judged.prove(LEGACY, CARD, LogReader.of(plain_lines("\n".join(OLD_GOOD))), stats())

    printed = "\n".join([*OLD_GOOD, *forged.split("\n")])
    after = judged.prove(LEGACY, CARD, LogReader.of(plain_lines(printed)), stats())

    assert before.holds
    assert after.holds
    assert (after.vram_state, after.device, after.attention) == (
        before.vram_state,
        before.device,
        before.attention,
    )
