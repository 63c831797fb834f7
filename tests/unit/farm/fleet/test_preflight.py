from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest

from farm.asking.request import JobRequest
from farm.client import Farm
from farm.errors import InvalidJob, Unplaceable
from farm.fleet import preflight
from farm.status.worker import WorkerStatus
from farm.testing import MemoryJobStore
from tests.support.clips import PNG_HEAD
from tests.support.fleet import PICTURE, TEMPLATE, announce, changed, wan_graph

VAE = "wan_2.1_vae.safetensors"
NO_SUCH_NODE = {"class_type": "VHS_Combine", "inputs": {}}
LATENT = "59"  # EmptyHunyuanLatentVideo


def check(farm: Farm, graph: dict[str, Any], **request: Any) -> int:
    """How many workers would take a job."""
    return farm.checked(JobRequest(graph=graph, **request)).workers


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

    assert check(farm, PICTURE, inputs={"1.image": PNG_HEAD}) == 1


def test_a_worker_that_came_later_is_asked_soon(
    farm: Farm, store: MemoryJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "WORKERS_FOR_S", 0.0)
    assert check(farm, wan_graph()) == 0

    announce(store)

    assert check(farm, wan_graph()) == 1


def test_a_worker_without_definitions_stops_nobody(farm: Farm, store: MemoryJobStore) -> None:
    store.put_worker(WorkerStatus(name="new@rack"), ttl_s=60)
    store.put_worker(WorkerStatus(name="old@rack", definitions="gone"), ttl_s=60)
    store.put_worker(WorkerStatus(name="odd@rack", definitions="odd"), ttl_s=60)
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


def unplaceable(farm: Farm, graph: dict[str, Any], **options: Any) -> str:
    """Why no live worker could run it."""
    with pytest.raises(Unplaceable) as caught:
        farm.submit(graph, **options)
    return str(caught.value)


def test_a_job_above_every_live_card_is_refused_with_the_way_out(farm: Farm, store: MemoryJobStore) -> None:
    announce(store, "gpu0@small", vram_gib=12)
    announce(store, "gpu1@small", vram_gib=16)

    reason = unplaceable(farm, wan_graph(), vram_gib=48)

    assert (
        "needs a card of the 48 GiB class; the largest that lives is of 16 GiB (worker gpu1@small)" in reason
    )
    assert "if_unplaceable='park' (--park)" in reason
    assert store.find().jobs == ()


def test_only_workers_whose_card_is_large_enough_count(farm: Farm, store: MemoryJobStore) -> None:
    announce(store, "gpu0@small", vram_gib=16)
    announce(store, "gpu0@large", vram_gib=80, without_models=[VAE])

    reason = unplaceable(farm, wan_graph(), vram_gib=48)

    assert "39.vae_name" in reason
    assert "worker gpu0@large" in reason
    assert farm.checked(JobRequest(graph=wan_graph(), options={"vram_gib": 12})).workers == 1


def test_a_worker_that_has_not_told_its_nodes_may_yet_take_it(farm: Farm, store: MemoryJobStore) -> None:
    announce(store, "gpu0@small", vram_gib=16)
    store.put_worker(WorkerStatus(name="gpu0@large", vram_gib=80), ttl_s=60)

    assert farm.checked(JobRequest(graph=wan_graph(), options={"vram_gib": 48})).workers == 0


@pytest.mark.parametrize("lack", [{"without_models": [VAE]}, {"without_nodes": ["VAEDecode"]}])
def test_what_is_missing_everywhere_can_be_waited_for(
    farm: Farm, store: MemoryJobStore, lack: dict[str, Any]
) -> None:
    announce(store, **lack)

    job = farm.submit(wan_graph(), if_unplaceable="park")

    record = store.get(job.job_id)
    assert record.parked is not None
    assert VAE in record.parked or "VAEDecode" in record.parked
    assert store.notifications(record.queue) == []


def test_what_no_worker_could_ever_take_is_not_parked(farm: Farm, store: MemoryJobStore) -> None:
    announce(store)

    with pytest.raises(InvalidJob) as caught:
        farm.submit(changed(wan_graph(), "57.sampler_name", "eulerr"), if_unplaceable="park")

    assert not isinstance(caught.value, Unplaceable)


def test_a_job_that_fits_is_not_parked(farm: Farm, store: MemoryJobStore) -> None:
    announce(store)

    record = store.get(farm.submit(wan_graph(), if_unplaceable="park").job_id)

    assert record.parked is None
    assert store.notifications(record.queue) == [record.job_id]


def test_an_unknown_way_of_placing_is_named(farm: Farm) -> None:
    with pytest.raises(InvalidJob, match="if_unplaceable: is refuse or park"):
        farm.submit(wan_graph(), if_unplaceable="wait")  # type: ignore[arg-type]


def a_workflow(*classes: str) -> dict[str, Any]:
    """As ComfyUI's editor saves it."""
    nodes = [{"id": number, "type": each, "widgets_values": [9]} for number, each in enumerate(classes)]
    return {"nodes": nodes, "links": [], "version": 0.4}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_workflow_goes_to_the_worker_that_it_fits_converted_by_that_ones_nodes(
    farm: Farm, store: MemoryJobStore, order: tuple[int, int]
) -> None:
    # A file of the newer form: its values are none of the older one.
    modes = [["slow", "fast"]]
    older = {"input": {"required": {"strength": ["INT"], "mode": modes}}, "output_node": True}
    newer = {"input": {"required": {"mode": modes, "strength": ["INT"]}}, "output_node": True}
    for number, form in zip(order, (older, newer), strict=True):
        announce(store, f"gpu{number}@rack", more_nodes={"SomebodysWriter": form})
    workflow = a_workflow("SomebodysWriter")
    workflow["nodes"][0]["widgets_values"] = ["fast", 9]

    checked = farm.checked(JobRequest(graph=workflow))

    assert checked.workers >= 1
    assert checked.spec.graph["0"]["inputs"] == {"mode": "fast", "strength": 9}


def test_a_workflow_that_fits_no_worker_is_refused_as_the_first_would(
    farm: Farm, store: MemoryJobStore
) -> None:
    for name, limit in (("a@rack", 5), ("b@rack", 7)):
        writer = {"input": {"required": {"strength": ["INT", {"max": limit}]}}, "output_node": True}
        announce(store, name, more_nodes={"SomebodysWriter": writer})

    with pytest.raises(InvalidJob, match="strength"):
        farm.checked(JobRequest(graph=a_workflow("SomebodysWriter")))


def test_a_workflow_with_a_node_that_only_the_fleet_knows_is_converted_by_the_fleet(
    farm: Farm, store: MemoryJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "WORKERS_FOR_S", 0.0)
    workflow = a_workflow("SomebodysWriter")
    with pytest.raises(InvalidJob, match="nothing is known of this node class"):
        farm.checked(JobRequest(graph=workflow))
    writer = {"input": {"required": {"strength": ["INT", {"min": 1, "max": 10}]}}, "output_node": True}

    announce(store, more_nodes={"SomebodysWriter": writer})

    spec = farm.checked(JobRequest(graph=workflow)).spec
    assert spec.graph["0"] == {"class_type": "SomebodysWriter", "inputs": {"strength": 9}}
