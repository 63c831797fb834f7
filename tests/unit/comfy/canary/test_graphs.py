"""The canary's graphs run on every generation, and nobody has them in a cache."""

from __future__ import annotations

import pytest

from comfy.canary.graphs import CHAINS, Graph, chain, inputs_in_use, picture
from comfy.generations import GENERATIONS, Generation
from comfy.judging.validation import validate
from comfy.node_defs.definitions import shipped_definitions

GRAPHS = [picture("canary/a"), *(chain(length, "canary/b") for length in CHAINS)]


@pytest.mark.parametrize("generation", GENERATIONS, ids=str)
@pytest.mark.parametrize("graph", GRAPHS, ids=["picture", *map(str, CHAINS)])
def test_each_generation_takes_the_graphs(generation: Generation, graph: Graph) -> None:
    definitions = shipped_definitions(generation)

    verdict = validate(graph, definitions, generation=generation, input_file_exists=lambda _: False)

    assert verdict.accepted, verdict.rejection()
    assert verdict.node_errors == {}


def test_no_node_of_them_needs_a_model() -> None:
    definitions = shipped_definitions()
    kinds = {each.kind for name in inputs_in_use() for each in definitions[name].inputs}

    assert kinds.isdisjoint({"MODEL", "CLIP", "VAE", "LATENT"})


def test_two_pictures_differ_in_the_node_from_which_all_else_comes() -> None:
    colours = {picture("same")["1"]["inputs"]["color"] for _ in range(20)}

    assert len(colours) > 1
