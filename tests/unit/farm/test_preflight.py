from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest

from farm import preflight
from farm.client import Farm
from farm.errors import InvalidJob
from farm.request import JobRequest
from farm.testing import MemoryJobStore
from tests.support.fleet import PICTURE, TEMPLATE, announce, changed, wan_graph

VAE = "wan_2.1_vae.safetensors"
NO_SUCH_NODE = {"class_type": "VHS_Combine", "inputs": {}}
LATENT = "59"  # EmptyHunyuanLatentVideo


def check(farm: Farm, graph: dict[str, Any], **request: Any) -> int:
    """How many workers would take a job."""
    return farm.checked(JobRequest(graph=graph, **request))[1]


def refusal(farm: Farm, graph: dict[str, Any], **request: Any) -> str:
    """Why the fleet refuses it."""
    with pytest.raises(InvalidJob) as caught:
        check(farm, graph, **request)
    return str(caught.value)


def test_without_a_worker_only_the_graph_itself_is_judged(farm: Farm) -> None:
    assert check(farm, changed(wan_graph(), "39.vae_name", "no-such.safetensors")) == 0


def test_a_worker_that_has_everything_takes_the_job(farm: Farm, store: MemoryJobStore) -> None:
    announce(store)

    assert check(farm, wan_graph()) == 1


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (changed(wan_graph(), "39.vae_name", "wan_2.1_vae.safetensor"), ("39.vae_name (VAELoader)", VAE)),
        (changed(wan_graph(), f"{LATENT}.width", 99999), (f"{LATENT}.width", "99999", "16384")),
        (changed(wan_graph(), "57.steps", "many"), ("57.steps", "many")),
        (changed(wan_graph(), "6.clip", ["39", 0]), ("6.clip", "CLIP", "VAE")),
        (changed(wan_graph(), "57.sampler_name", "eular"), ("57.sampler_name", "euler")),
        (
            {**wan_graph(), "99": {"class_type": "VHS_Combine", "inputs": {}}},
            ("node 99 (VHS_Combine)", "node class"),
        ),
    ],
    ids=["model", "range", "type", "link", "choice", "unknown-node"],
)
def test_what_no_worker_takes_is_refused_by_node_and_input(
    farm: Farm, store: MemoryJobStore, graph: dict[str, Any], words: tuple[str, ...]
) -> None:
    announce(store)

    text = refusal(farm, graph)

    assert all(word in text for word in words), text
    assert "gpu0@rack" in text


def test_a_missing_input_is_named(farm: Farm, store: MemoryJobStore) -> None:
    announce(store)
    graph = wan_graph()
    graph["57"] = {**graph["57"], "inputs": {**graph["57"]["inputs"]}}
    del graph["57"]["inputs"]["steps"]

    assert "57.steps" in refusal(farm, graph)


def test_one_worker_that_takes_it_is_enough(farm: Farm, store: MemoryJobStore) -> None:
    announce(store, "poor@rack", without_models=[VAE])
    announce(store, "rich@rack")

    assert check(farm, wan_graph()) == 1


def test_the_nearest_worker_says_what_is_missing(farm: Farm, store: MemoryJobStore) -> None:
    announce(store, "far@rack", without_nodes=["KSamplerAdvanced", "VAEDecode"])
    announce(store, "near@rack", without_models=[VAE])

    text = refusal(farm, wan_graph())

    assert VAE in text
    assert "near@rack, the nearest of 2" in text


def test_a_verdict_on_one_graph_says_nothing_of_its_neighbour(farm: Farm, store: MemoryJobStore) -> None:
    announce(store)

    assert check(farm, wan_graph(width=832)) == 1
    assert "width" in refusal(farm, changed(wan_graph(), f"{LATENT}.width", 1))
    assert check(farm, changed(wan_graph(), f"{LATENT}.width", 640)) == 1
    assert "steps" in refusal(farm, changed(wan_graph(), "57.steps", -1))


def test_an_input_file_that_comes_with_the_job_is_not_missing(farm: Farm, store: MemoryJobStore) -> None:
    announce(store)

    assert check(farm, PICTURE, inputs={"1.image": b"png"}) == 1


def test_a_worker_that_came_later_is_asked_soon(
    farm: Farm, store: MemoryJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "CARDS_FOR_S", 0.0)
    assert check(farm, wan_graph()) == 0

    announce(store)

    assert check(farm, wan_graph()) == 1


def test_a_card_without_definitions_stops_nobody(farm: Farm, store: MemoryJobStore) -> None:
    store.put_worker("new@rack", {"name": "new@rack", "definitions": None}, ttl_s=60)
    store.put_worker("old@rack", {"name": "old@rack", "definitions": "gone"}, ttl_s=60)
    store.put_worker("odd@rack", {"name": "odd@rack", "definitions": "odd"}, ttl_s=60)
    store.put_blob(preflight.definitions_name("odd"), b"no zlib", ttl_s=60)

    assert check(farm, wan_graph()) == 0


def test_a_refused_job_is_not_stored(farm: Farm, store: MemoryJobStore) -> None:
    announce(store, without_models=[VAE])

    with pytest.raises(InvalidJob):
        farm.submit(template=TEMPLATE, parameters={"prompt": "x"})

    assert store.find().jobs == ()


class Sampler(StrEnum):
    EULER = "euler"


def test_a_member_of_an_enum_counts_as_its_text(farm: Farm, store: MemoryJobStore) -> None:
    announce(store)

    job = farm.submit(wan_graph(), {"57.sampler_name": Sampler.EULER})
    listed = farm.submit(wan_graph(), {"57.sampler_name": Sampler.EULER, "58.model": ["55", 0]})

    assert job.record.spec.graph["57"]["inputs"]["sampler_name"] == "euler"
    assert listed.record.spec.graph["58"]["inputs"]["model"] == ["55", 0]
