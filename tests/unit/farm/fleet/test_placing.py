"""Parked jobs start by themselves when a worker that fits comes; and a waiting job says what it waits for."""

from __future__ import annotations

import pytest

from farm.client import Farm
from farm.fleet import preflight
from farm.fleet.placing import Placer
from farm.job import JobSpec, JobState
from farm.store.base import Claim
from farm.testing import MemoryJobStore
from tests.support.fleet import announce, wan_graph
from tests.support.jobs import an_error, claimed

VAE = "wan_2.1_vae.safetensors"


@pytest.fixture(autouse=True)
def _no_memory_of_the_fleet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "WORKERS_FOR_S", -1.0)


def park(farm: Farm, count: int = 1) -> list[str]:
    return [
        farm.submit(wan_graph(), vram_gib=48, if_unplaceable="park", title=f"job {number}").job_id
        for number in range(count)
    ]


def test_parked_jobs_are_let_go_when_a_worker_that_fits_comes(farm: Farm, store: MemoryJobStore) -> None:
    announce(store, "gpu0@small", vram_gib=24)
    ids = park(farm, 3)
    placer = Placer(store)

    before = placer.turn()
    announce(store, "gpu0@large", vram_gib=80)
    after = placer.turn()

    assert (before, after, store.counts().parked) == (0, 3, 0)
    assert store.notifications("render.48") == ids
    assert isinstance(store.claim(ids[0], worker="gpu0@large"), Claim)


def test_a_large_card_without_the_models_lets_nothing_go(farm: Farm, store: MemoryJobStore) -> None:
    announce(store, "gpu0@small", vram_gib=24)
    park(farm)
    announce(store, "gpu0@large", vram_gib=80, without_models=[VAE])
    placer = Placer(store)

    assert placer.turn() == 0

    announce(store, "gpu0@large", vram_gib=80)
    assert placer.turn() == 1


def test_a_fleet_that_stays_the_same_is_not_asked_again(
    farm: Farm, store: MemoryJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    announce(store, "gpu0@small", vram_gib=24)
    park(farm, 2)
    placer = Placer(store)
    placer.turn()
    asked: list[str] = []

    def note(spec: JobSpec) -> bool:
        asked.append(spec.title)
        return False

    monkeypatch.setattr(placer, "_fits", note)

    placer.turn()
    park(farm)
    placer.turn()

    assert asked == ["job 0"]  # the new one only


def test_more_parked_jobs_than_one_turn_looks_at_are_all_let_go(
    farm: Farm, store: MemoryJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farm.fleet.placing._AT_ONCE", 2)
    announce(store, "gpu0@small", vram_gib=24)
    park(farm, 5)
    announce(store, "gpu0@large", vram_gib=80)
    placer = Placer(store)

    assert [placer.turn() for _ in range(4)] == [2, 2, 1, 0]


def test_a_job_that_is_let_go_can_end_as_any_other(farm: Farm, store: MemoryJobStore) -> None:
    announce(store, "gpu0@small", vram_gib=24)
    (job_id,) = park(farm)
    announce(store, "gpu0@large", vram_gib=80)
    Placer(store).turn()

    farm.cancel(job_id)

    assert store.get(job_id).state is JobState.CANCELED


def test_a_waiting_job_names_who_could_take_it_and_what_others_lack(
    farm: Farm, store: MemoryJobStore
) -> None:
    announce(store, "gpu0@small", vram_gib=16)
    announce(store, "gpu1@bare", vram_gib=80, without_models=[VAE])
    announce(store, "gpu2@busy", vram_gib=80, jobs={"0123456789abcdef": {"phase": "load", "fraction": 0}})
    announce(store, "gpu3@shut", vram_gib=80, not_fetching=["draining"])
    announce(store, "gpu4@free", vram_gib=80)
    farm.submit(wan_graph(), vram_gib=48, priority=1)
    job = farm.submit(wan_graph(), vram_gib=48)

    lines = farm.why_waiting(job.job_id)

    assert lines[0] == "in render.48 wait 1 more urgent jobs and 0 others of its priority"
    assert lines[1:4] == [
        "gpu2@busy can take it: it works on 0123456789ab",
        "gpu3@shut can take it: it fetches nothing: its process is ending",
        "gpu4@free can take it: it is free",
    ]
    assert lines[4] == "gpu0@small cannot: it serves the 16 GiB class only"
    assert lines[5].startswith("gpu1@bare cannot: node 39.vae_name (VAELoader): ")


def test_a_free_worker_that_failed_the_job_is_told_apart(farm: Farm, store: MemoryJobStore) -> None:
    announce(store, "gpu0@failed", vram_gib=80)
    job = farm.submit(wan_graph())
    claim = claimed(store, job.job_id, "gpu0@failed")
    store.fail(job.job_id, claim.attempt, an_error(), retry_in_s=0.0, token=claim.token)

    (line,) = farm.why_waiting(job.job_id)

    assert "an attempt ended badly there" in line


def test_a_parked_job_says_what_it_waits_for(farm: Farm, store: MemoryJobStore) -> None:
    announce(store, "gpu0@small", vram_gib=16)
    (job_id,) = park(farm)

    lines = farm.why_waiting(job_id)

    assert lines[0].startswith("parked until a worker that fits comes: vram_gib: needs a card of the 48 GiB")
    assert lines[1:] == ["gpu0@small cannot: it serves the 16 GiB class only"]


def test_without_a_worker_a_job_waits_for_one(farm: Farm) -> None:
    job = farm.submit(wan_graph())

    assert farm.why_waiting(job.job_id) == [
        "no worker lives: start one (`farm up`, or `farm-worker up` on the node)"
    ]


def test_a_job_that_has_ended_waits_for_nothing(farm: Farm) -> None:
    job = farm.submit(wan_graph())
    farm.cancel(job.job_id)

    assert farm.why_waiting(job.job_id) == []
