"""`farm plan`: a job quoted on the fleet and on cards by name."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from comfy.wan.forecast import pace_key
from comfy.wan.workload import read_workload
from farm.asking.request import JobRequest
from farm.cli.terminal.exits import ExitCode
from farm.client import Farm
from farm.errors import InvalidJob, StoreUnavailable
from farm.fleet.model_lists import models_name
from farm.fleet.planning import USUAL_CARDS, JobPlan, target_of
from farm.fleet.sites import live_sites
from farm.status.worker import WorkerFacts
from farm.testing import FolderStorage, MemoryJobStore
from tests.support.fleet import PICTURE, TEMPLATE, announce, wan_graph
from tests.unit.farm.test_cli import Cli, written

GIB = 2**30
VAE = "wan_2.1_vae.safetensors"
HIGH = "wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors"
RTX_4090 = {"name": "NVIDIA GeForce RTX 4090", "vram_total_bytes": 24564 * 2**20}


def a_plan(farm: Farm, **request: Any) -> JobPlan:
    return farm.plan(JobRequest(graph=wan_graph()), **request)


def home(store: MemoryJobStore, **facts: Any) -> None:
    given = {"gpu": RTX_4090, "vram_gib": 24, "load_plan": {"mode": "balanced"}, **facts}
    announce(store, "gpu0@home", **given)


def test_a_job_is_planned_on_every_live_card_and_on_named_ones(farm: Farm, store: MemoryJobStore) -> None:
    home(store)
    announce(store, "gpu0@lab", emulated=True, vram_gib=141)

    plan = a_plan(farm, gpus=["H100"])

    assert [(card.target.gpu, card.worker) for card in plan.cards] == [
        ("NVIDIA GeForce RTX 4090", True),
        ("emulated", True),
        ("H100", False),
    ]
    assert [card.forecast.fate for card in plan.cards if card.forecast] == [
        "whole",
        "computes nothing",
        "both",
    ]
    assert (plan.vram_gib, store.find().jobs) == (8, ())


def test_a_plan_says_what_is_missing_where(farm: Farm, store: MemoryJobStore) -> None:
    home(store, without_models=[VAE])
    announce(store, "gpu1@small", gpu={"name": "Tesla T4", "vram_total_bytes": 15360 * 2**20}, vram_gib=12)

    plan = farm.plan(JobRequest(graph=wan_graph(), options={"vram_gib": 16}))

    assert "39.vae_name" in plan.cards[0].missing[0]
    assert (plan.cards[1].class_gib, plan.cards[1].missing) == (12, ())


def test_real_sizes_of_the_fleet_count(farm: Farm, store: MemoryJobStore) -> None:
    listed = {f"diffusion_models/{HIGH}": 20 * GIB}
    store.put_blob(models_name("abc"), zlib.compress(json.dumps(listed).encode()), ttl_s=60)
    home(store, models={"files": 1, "bytes": 20 * GIB, "list": "abc"})

    plan = a_plan(farm)

    assert plan.work is not None
    assert plan.work.stages[0].weights.resident_bytes == 20 * GIB
    assert plan.cards[0].forecast is not None
    assert plan.cards[0].forecast.fate.startswith("streams")


def test_what_the_farm_measured_is_what_the_plan_says(farm: Farm, store: MemoryJobStore) -> None:
    home(store)
    worker = store.workers()[0]
    work = read_workload(wan_graph())
    assert work is not None
    for seconds in (20.0, 21.0, 22.0):
        store.note_paces({pace_key("step", work.stages[0], work, target_of(worker)).name(): seconds})

    found = a_plan(farm).cards[0].forecast

    assert found is not None
    assert found.stages[0].step is not None
    assert found.stages[0].step.seconds == pytest.approx(21.0)
    assert found.stages[0].step.source == "measured on 3 jobs of this farm"


def test_a_job_is_planned_with_the_attention_that_comfyui_was_told_not_with_what_was_tried(
    farm: Farm, store: MemoryJobStore
) -> None:
    home(store, attention_backend="sage", attention_trials={"proven": {"sdpa_flash": 0.002}})

    assert a_plan(farm).cards[0].target.attention == "sage"
    (site,) = live_sites(store, wan_graph())
    assert site.attention_proven == {"sdpa_flash": 0.002}


def test_what_was_tried_alone_says_nothing_of_the_attention_that_computes(
    farm: Farm, store: MemoryJobStore
) -> None:
    home(store, attention={"proven": {"sage": 0.001}, "refused": {}, "passing": False})  # an older worker's

    assert a_plan(farm).cards[0].target.attention == "default"


def test_without_a_worker_usual_cards_are_shown(farm: Farm) -> None:
    assert [card.target.gpu for card in a_plan(farm).cards] == list(USUAL_CARDS)


def test_a_card_that_nobody_knows_needs_a_size(farm: Farm) -> None:
    with pytest.raises(InvalidJob, match="no card 'Voodoo 2' is known"):
        a_plan(farm, gpus=["Voodoo 2"])

    sized = a_plan(farm, gpus=["Voodoo 2"], vram_gib=24)
    assert sized.cards[0].target.gpu == "Voodoo 2"
    assert a_plan(farm, vram_gib=24).cards[0].target.gpu == "a card of 24 GiB"


def test_a_graph_without_wan_is_planned_as_far_as_that_goes(farm: Farm, store: MemoryJobStore) -> None:
    home(store)

    plan = farm.plan(JobRequest(graph=PICTURE))

    assert (plan.work, plan.host_bytes, plan.cards[0].forecast) == (None, None, None)


def test_a_worker_that_says_next_to_nothing_is_a_target() -> None:
    target = target_of(WorkerFacts(name="old"))

    assert (target.gpu, target.mode, target.free_bytes < 0) == ("no card", "balanced", True)


# --- the command ----------------------------------------------------------------------------------------


@pytest.fixture
def cli(store: MemoryJobStore, storage: FolderStorage) -> Cli:
    home(store, ram_total_bytes=32 * GIB)
    return Cli(store=store, storage=storage)


def test_the_command_shows_one_screen(cli: Cli) -> None:
    ended = cli("plan", "-t", TEMPLATE, "-p", "prompt=x", "--gpu", "RTX 4060 Ti 8GB")

    assert (ended.code, ended.err) == (ExitCode.OK, "")
    for words in (
        "8 GiB at least, 24 GiB to hold each stage whole",
        "33.1 GiB",
        "21.3 s (17.1 s – 28.4 s)",
        "by the RTX 4090 D's rate and the peaks of both: not measured on this card",
        "a bound, no time is published for this card",
        "32 GiB of host memory, 41 GiB are",
    ):
        assert words in " ".join(ended.out.split()), words
    assert len(ended.out.splitlines()) < 40


def test_the_command_plans_a_file_as_json(cli: Cli, tmp_path: Path) -> None:
    ended = cli("plan", written(tmp_path, wan_graph()), "--json")

    plan = ended.json
    assert (plan["vram_gib"], plan["need"]["comfortable_class_gib"]) == (8, 24)
    assert plan["cards"][0]["forecast"]["warm"]["low"] < plan["cards"][0]["forecast"]["warm"]["high"]
    assert plan["work"]["file_bytes"] > 33 * GIB


def test_the_command_tells_of_a_graph_that_it_does_not_know(cli: Cli, tmp_path: Path) -> None:
    ended = cli("plan", written(tmp_path, PICTURE))

    assert ended.code == ExitCode.OK
    assert "no WAN model that the farm knows" in ended.out


def test_the_command_refuses_a_card_it_does_not_know_in_one_line(cli: Cli) -> None:
    ended = cli("plan", "-t", TEMPLATE, "-p", "prompt=x", "--gpu", "Voodoo 2")

    assert ended.code == ExitCode.USAGE
    assert "gpu: no card 'Voodoo 2' is known" in ended.err


def test_workers_of_which_the_same_is_said_share_a_row(cli: Cli, store: MemoryJobStore) -> None:
    for number in range(200):
        announce(
            store,
            f"gpu{number}@rack",
            gpu=RTX_4090,
            vram_gib=24,
            load_plan={"mode": "balanced"},
            ram_total_bytes=64 * GIB,
        )

    ended = cli("plan", "-t", TEMPLATE, "-p", "prompt=x")

    assert "gpu0@rack and 199 more" in ended.out
    assert len(ended.out.splitlines()) < 40


def test_without_a_farm_a_card_by_name_is_planned_all_the_same(cli: Cli) -> None:
    def unreachable() -> Farm:
        raise StoreUnavailable("127.0.0.1:6379", "connection refused")

    ended = cli("plan", "-t", TEMPLATE, "-p", "prompt=x", "--gpu", "RTX 4090", make=unreachable)

    assert ended.code == ExitCode.OK
    assert "RTX 4090" in ended.out
    assert "no farm could be asked" in ended.err
