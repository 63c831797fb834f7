"""Real servers of each generation take the whole command line, whatever card, plan and settings it is for."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import pytest

from comfy.generations import GENERATIONS
from farm.settings.worker import WorkerSettings
from tests.support.cards import CARD as A_CARD
from tests.support.tables import for_each
from worker.comfyui.folders import WorkerFolders
from worker.comfyui.launch import ComfyKind, Target, command_line, extra_arguments
from worker.errors import ComfyUnusable
from worker.gpu.card import GIB, GpuCard
from worker.plan.fallback import FallbackStep, humbler
from worker.plan.flags import AcceptedFlags, flags_of_version, parse_help
from worker.plan.load_plan import LoadMode, plan_load

DATA = Path(__file__).parents[3] / "data" / "comfyui"
NAMES = [each.version for each in GENERATIONS]
TARGET = Target(kind=ComfyKind.INSTALLED, command=("python", "main.py"))
CARD = replace(A_CARD, name="NVIDIA L40S", total_bytes=48 * GIB, free_bytes=40 * GIB, used_bytes=8 * GIB)


def accepted_by(generation: str) -> AcceptedFlags:
    return parse_help((DATA / f"help-{generation}.txt").read_text(encoding="utf-8"))


def line_for(
    accepted: AcceptedFlags, *, card: GpuCard | None = None, mode: LoadMode | None = None, level: str = "INFO"
) -> list[str]:
    plan = plan_load(card, 64 * GIB, accepted, wanted=mode)
    settings = WorkerSettings.read(comfyui_base=Path("/base"), comfy_log_level=level, previews=True)
    return command_line(TARGET, accepted, plan, WorkerFolders(root=Path("/w")), settings, 8188)


@for_each("generation, mode", list(product(NAMES, [None, *LoadMode])))
@for_each("card", [None, CARD])
def test_no_flag_is_given_that_the_help_does_not_name(
    generation: str, mode: LoadMode | None, card: GpuCard | None
) -> None:
    accepted = accepted_by(generation)

    line = line_for(accepted, card=card, mode=mode)

    assert {word for word in line if word.startswith("--")} <= accepted.names
    assert "--enable-dynamic-vram" not in line
    assert "--normalvram" not in line


@pytest.mark.parametrize("generation", NAMES)
def test_after_a_spoilt_clip_the_operators_attention_gives_way_to_pytorchs(generation: str) -> None:
    accepted = accepted_by(generation)
    settings = WorkerSettings.read(comfyui_args="--use-sage-attention --deterministic")
    extra = extra_arguments(settings, TARGET, accepted)

    plan = humbler(plan_load(CARD, 64 * GIB, accepted), FallbackStep.SDPA, accepted, extra)

    assert plan is not None
    line = command_line(TARGET, accepted, plan, WorkerFolders(root=Path("/w")), settings, 8188)
    # ComfyUI takes one of a group: with both it would not start.
    assert [word for word in line if "attention" in word] == ["--use-pytorch-cross-attention"]
    assert "--deterministic" in line


@pytest.mark.parametrize("generation", NAMES)
def test_each_worker_has_a_database_and_folders_of_its_own(generation: str) -> None:
    line = line_for(accepted_by(generation))

    given = dict(pairwise(line))
    assert given["--database-url"] == "sqlite:////w/user/comfyui.db"
    assert given["--output-directory"] == "/w/output"
    assert given["--input-directory"] == "/w/input"
    assert given["--user-directory"] == "/w/user"
    assert given["--temp-directory"] == "/w"


@pytest.mark.parametrize(
    ("generation", "wanted", "given"),
    [
        ("0.3.64", "debug", "DEBUG"),
        ("0.12.1", "detail", "INFO"),
        ("0.33.0", "detail", "DETAIL"),
        *((generation, "loud", "INFO") for generation in NAMES),
    ],
)
def test_a_log_level_is_given_only_where_it_exists(generation: str, wanted: str, given: str) -> None:
    line = line_for(accepted_by(generation), level=wanted)

    assert line[line.index("--verbose") + 1] == given


@pytest.mark.parametrize("generation", NAMES)
def test_what_is_known_of_a_versions_memory_flags_is_what_its_help_says(generation: str) -> None:
    told = accepted_by(generation).names
    known = flags_of_version(generation).names

    memory = {flag for each in NAMES for flag in flags_of_version(each).names}
    assert known == told & memory


@pytest.mark.parametrize(
    ("version", "has", "has_not"),
    [
        ("0.15.1", {"--normalvram"}, {"--disable-dynamic-vram", "--vram-headroom"}),
        ("0.16.0", {"--normalvram", "--disable-dynamic-vram"}, {"--vram-headroom"}),
        ("0.21.1", {"--normalvram"}, {"--vram-headroom"}),
        ("0.22.0", {"--disable-dynamic-vram"}, {"--normalvram", "--vram-headroom"}),
        ("v0.25.0", {"--vram-headroom"}, {"--normalvram"}),
        ("0.46", {"--vram-headroom", "--disable-dynamic-vram"}, {"--normalvram"}),
    ],
)
def test_a_flag_comes_and_goes_with_its_release(version: str, has: set[str], has_not: set[str]) -> None:
    names = flags_of_version(version).names

    assert has <= names
    assert not has_not & names


@pytest.mark.parametrize("argument", ["--enable-dynamic-vram", "--port 8000", "--no-such-flag"])
def test_an_argument_that_would_end_the_start_or_lose_files_is_refused(argument: str) -> None:
    settings = WorkerSettings.read(comfyui_args=argument)

    with pytest.raises(ComfyUnusable, match=re.escape(argument.split(maxsplit=1)[0])):
        extra_arguments(settings, TARGET, accepted_by("0.33.0"))


def test_flags_that_only_a_description_speaks_of_are_not_taken() -> None:
    accepted = parse_help("usage: main.py [--cpu]\n\noptions:\n  --cpu   Slow. --normalvram is gone.\n")

    assert accepted.names == {"--cpu"}
