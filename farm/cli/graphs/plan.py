"""The command that quotes a job before it is rendered."""

from __future__ import annotations

from typing import Annotated

import typer

from farm.asking.prepare import notes_of, prepare
from farm.asking.request import JobRequest
from farm.cli.graphs.options import takes_graph
from farm.cli.terminal import as_json
from farm.cli.terminal.as_json import AsJson
from farm.cli.terminal.door import door_of, say, say_notes
from farm.errors import StoreUnavailable

_NO_FARM = "no farm could be asked: no live worker and nothing that a farm measured is in this plan"


@takes_graph
def plan(
    context: typer.Context,
    request: JobRequest,
    gpu: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help='Also on this card, as "RTX 4090".'),
    ] = None,
    vram: Annotated[float | None, typer.Option(metavar="GIB", help="Also on a card of this size.")] = None,
    json: AsJson = False,
) -> None:
    """Say what a graph needs and how long it takes on each card of the fleet; queues nothing."""
    from farm.cli.graphs.plan_views import plan_json, plan_view
    from farm.fleet.planning import plan_job

    door = door_of(context)
    try:
        with door.farm() as farm:
            say_notes(door.err, notes_of(request, farm.node_definitions))
            found = farm.plan(request, gpus=gpu or (), vram_gib=vram)
    except StoreUnavailable:
        say_notes(door.err, notes_of(request))
        found = plan_job(None, prepare(request), gpus=gpu or (), vram_gib=vram)
        say(door.err, _NO_FARM)
    if json:
        as_json.put(door.out, plan_json(found))
    else:
        door.out.print(plan_view(found))
