"""The same job several times, each with seeds of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from comfy.graphs.graph import Graph
from farm.asking.building import draw_seed
from farm.asking.graphs import Knowledge, known_without_a_fleet, roles_of
from farm.asking.measure import check_measure
from farm.asking.prepare import built_for, saved_template
from farm.asking.request import JobOptions, JobRequest
from farm.errors import InvalidJob, Problem

_SEED_INPUTS: Final = ("seed", "noise_seed")


def with_seeds(
    request: JobRequest, count: int, known: Knowledge = known_without_a_fleet
) -> Iterator[JobRequest]:
    """The same request `count` times, each with seeds of its own, counted up from the given ones.

    An idempotency key becomes one key for each; seeds drawn for it are the same each time.

    Raises:
        InvalidJob: the graph has no seed that could differ.
    """
    check_measure(request)
    seeds = _first_seeds(request, known)
    key = request.options.get("idempotency_key")
    for number in range(count):
        options = request.options
        if key is not None:
            options = JobOptions(**{**options, "idempotency_key": f"{key}-{number}"})
        varied = {input_path: seed + number for input_path, seed in seeds.items()}
        yield replace(request, parameters={**request.parameters, **varied}, options=options)


def _first_seeds(request: JobRequest, known: Knowledge) -> dict[str, int]:
    given = request.parameters.get("seed")
    if request.template is not None and saved_template(request.template) is None:
        if given is None:
            return {"seed": draw_seed(request.options.get("idempotency_key"))}
        # Anything else than a number stays as it is, for `prepare` to refuse.
        return {"seed": int(given)} if str(given).isdecimal() else {}
    unseeded = {name: value for name, value in request.parameters.items() if name != "seed"}
    graph = built_for(replace(request, parameters=unseeded), known).graph
    if given is not None:
        return {"seed": int(given)} if str(given).isdecimal() else {}
    found = _seeds_of(graph)
    if not found:
        message = "no node has a seed of its own, so all jobs would make the same clip; ask for one"
        raise InvalidJob([Problem(field="count", message=message)])
    return found


def _seeds_of(graph: Graph) -> dict[str, int]:
    """The seeds that count: those of the samplers that add noise, else whatever is called a seed."""
    seeds = {str(each.set_at): each.value for each in roles_of(graph).of("seed") if not each.is_computed}
    if not seeds:
        seeds = {
            f"{node_id}.{name}": value
            for node_id, node in graph.items()
            for name, value in node["inputs"].items()
            if name in _SEED_INPUTS
        }
    return {input_path: seed for input_path, seed in seeds.items() if isinstance(seed, int)}
