"""What workers share is stored once, and read back as it was."""

from __future__ import annotations

from farm.fleet.model_lists import models_name
from farm.fleet.preflight import definitions_name, definitions_of
from farm.testing import MemoryJobStore
from worker.service.shared import Shared

SAMPLER = {"input": {"required": {"noise": ["INT"], "add_noise": [["enable"]], "cfg": ["FLOAT"]}}}
SAVER = {"input": {"required": {"images": ["IMAGE"]}}}


def test_the_inputs_of_a_node_keep_the_order_of_the_editors_widgets(store: MemoryJobStore) -> None:
    shared = Shared(store, definitions_name)

    shared.put({"KSamplerAdvanced": SAMPLER})

    definitions = definitions_of(store, str(shared.digest))
    assert definitions is not None
    assert [each.name for each in definitions["KSamplerAdvanced"].inputs] == ["noise", "add_noise", "cfg"]


def test_two_workers_that_read_their_nodes_in_another_order_share_one_copy(store: MemoryJobStore) -> None:
    one, other = Shared(store, models_name), Shared(store, models_name)

    one.put({"KSamplerAdvanced": SAMPLER, "SaveVideo": SAVER})
    other.put({"SaveVideo": SAVER, "KSamplerAdvanced": SAMPLER})

    assert one.digest == other.digest
