"""The emulator prints the log of each mode; the proof holds for the honest one and catches each other."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from itertools import product

import pytest

from comfy import generations
from comfy.emulator.arguments import parse
from comfy.emulator.console import Console
from comfy.emulator.loading import Loadable
from comfy.emulator.start import announce
from comfy.emulator.world import make_world
from comfy.log.reading import LogReader
from comfy.log.text import plain_lines
from comfy.wan.models import GIB
from farm.status.proof import Proof, ProofVerdict
from tests.support.cards import CARD as A_CARD
from tests.support.tables import for_each
from worker.comfyui.process import ComfyFacts, read_facts
from worker.comfyui.proof import prove
from worker.plan.load_plan import LoadMode, LoadPlan

CARD = replace(A_CARD, total_bytes=24080 * 2**20, free_bytes=23 * GIB)
EXPERT = Loadable(class_name="WAN21", file="high", size_mib=13629, is_diffusion_model=True)
ENCODER = Loadable(class_name="WanTEModel", file="umt5", size_mib=6420)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """How one mode is planned, and which emulator behaves so."""

    plan: LoadPlan
    emulator: tuple[str, ...]


def _plan(mode: LoadMode, *flags: str, dynamic: bool = False, whole: bool | None = None) -> LoadPlan:
    return LoadPlan(mode=mode, flags=flags, dynamic=dynamic, whole=whole, reasons=("test",))


MODES = {
    "resident": Mode(
        plan=_plan(LoadMode.RESIDENT, "--highvram", whole=True),
        emulator=("--highvram", "--load-mode", "resident"),
    ),
    "whole": Mode(plan=_plan(LoadMode.BALANCED, whole=True), emulator=("--load-mode", "resident")),
    "partial": Mode(plan=_plan(LoadMode.BALANCED, whole=False), emulator=("--load-mode", "partial")),
    "dynamic": Mode(
        plan=_plan(LoadMode.BALANCED, dynamic=True, whole=False), emulator=("--load-mode", "dynamic")
    ),
    "reserved": Mode(
        plan=_plan(LoadMode.RESERVED, "--reserve-vram", "2.0", whole=True),
        emulator=("--reserve-vram", "2.0", "--load-mode", "resident"),
    ),
    "streamed": Mode(
        plan=_plan(LoadMode.STREAMED, "--novram", whole=False), emulator=("--novram", "--load-mode", "novram")
    ),
    "cpu": Mode(plan=_plan(LoadMode.CPU, "--cpu"), emulator=("--cpu", "--load-mode", "cpu")),
}
# A card that holds models which were to stream is better than planned, and no harm.
BETTER = {("partial", "whole"), ("partial", "reserved"), ("whole", "reserved")}
GENERATIONS = tuple(each.version for each in generations.GENERATIONS)


def log_of(generation: str, *arguments: str) -> tuple[LogReader, ComfyFacts]:
    """What a server of this kind prints from its start to the end of its first job, and says of itself."""
    settings = parse(["--generation", generation, *arguments])
    stream = io.StringIO()
    console = Console(stream, colours_levels=settings.generation.colours_levels)
    announce(settings, console)
    world = make_world(settings, console, {})
    for model in (ENCODER, EXPERT):
        world.residency.bring(model, pause=lambda _: None)
    gpu = settings.gpu
    device = {"type": "cuda" if gpu else "cpu", "vram_total": gpu.vram_mib * 2**20 if gpu else 0}
    facts = read_facts({"system": {"argv": list(settings.argv)}, "devices": [device]})
    return LogReader.of(plain_lines(stream.getvalue())), facts


def proof_of(planned: str, generation: str, arguments: tuple[str, ...]) -> Proof:
    log, facts = log_of(generation, *arguments)
    return prove(MODES[planned].plan, CARD, log, facts)


@pytest.mark.parametrize(("name", "generation"), list(product(MODES, GENERATIONS)))
def test_a_server_that_runs_as_planned_is_believed(name: str, generation: str) -> None:
    proof = proof_of(name, generation, MODES[name].emulator)

    assert (proof.verdict, proof.differences) == (ProofVerdict.PROVEN, ())


@for_each(
    "planned, played, generation",
    [
        (planned, played, generation)
        for planned, played, generation in product(MODES, MODES, GENERATIONS)
        if planned != played and (planned, played) not in BETTER
    ],
)
def test_a_server_in_any_other_mode_is_caught(planned: str, played: str, generation: str) -> None:
    assert is_caught(proof_of(planned, generation, MODES[played].emulator), generation)


def is_caught(proof: Proof, generation: str) -> bool:
    """Whether the verdict says so; where a node could have printed the lines of a job, whether it is told."""
    (traits,) = (each for each in generations.GENERATIONS if each.version == generation)
    told = bool(proof.seen_in_jobs) and not traits.colours_levels
    return told or proof.verdict is ProofVerdict.DIFFERS


@for_each("generation", ["0.12.1", "0.33.0"])
@for_each(
    "planned, load_mode",
    [
        ("resident", "partial"),
        ("resident", "novram"),
        ("resident", "dynamic"),
        ("whole", "partial"),
        ("whole", "novram"),
        ("whole", "dynamic"),
        ("partial", "novram"),
        ("dynamic", "partial"),
        ("dynamic", "resident"),
        ("dynamic", "novram"),
        ("reserved", "partial"),
        ("reserved", "novram"),
        ("streamed", "resident"),
        ("streamed", "dynamic"),
    ],
)
def test_a_server_with_the_right_flags_that_loads_otherwise_is_caught_by_its_loads(
    planned: str, load_mode: str, generation: str
) -> None:
    flags = MODES[planned].plan.flags

    proof = proof_of(planned, generation, (*flags, "--load-mode", load_mode))

    assert is_caught(proof, generation)
