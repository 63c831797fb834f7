"""Which node classes a deployment lets in: told to producers, enforced by workers."""

from __future__ import annotations

import pytest

from comfy.errors import GraphError
from farm.asking.admission import admit, refused_classes
from farm.client import Farm
from farm.errors import InvalidJob
from farm.testing import FolderStorage, MemoryJobStore
from tests.support.fleet import PICTURE, wan_graph


def test_without_a_list_every_class_is_let_in() -> None:
    assert refused_classes(["SaveImage", "AnythingElse"], "  ") == ()


@pytest.mark.parametrize("allowed", ["LoadImage,SaveImage", "Load*, Save*", "*"])
def test_listed_classes_are_let_in(allowed: str) -> None:
    admit(PICTURE, allowed)


def test_every_node_of_another_class_is_named() -> None:
    with pytest.raises(GraphError) as refusal:
        admit(PICTURE, "Save*")

    assert [(each.node_id, each.class_type) for each in refusal.value.problems] == [("1", "LoadImage")]
    assert "FARM_ALLOWED_NODES" in str(refusal.value)


def test_a_worker_refuses_a_name_that_leads_out_whoever_wrote_the_job() -> None:
    graph = wan_graph()
    graph["39"]["inputs"]["vae_name"] = "../../secret.safetensors"

    with pytest.raises(GraphError, match="leads out of its folder"):
        admit(graph, "")


def test_a_producer_is_told_before_anything_is_stored(
    store: MemoryJobStore, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARM_ALLOWED_NODES", "Wan*,Save*")
    farm = Farm(store=store, storage=storage)

    with pytest.raises(InvalidJob, match="does not allow LoadImage"):
        farm.submit(PICTURE)
    assert not any(store.counts().by_state.values())
