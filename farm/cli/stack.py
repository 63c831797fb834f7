"""Commands about this machine's own stack: up, demo, down."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from farm.cli import as_json
from farm.cli.door import Door, door_of, say
from farm.cli.jobs import AsJson
from farm.cli.stack_views import demo_view, news_line, stack_facts, stack_view
from farm.cli.watching import view_for, watch_jobs
from farm.local import LocalStack, PartName, PartNews, StackState
from farm.local import down as stop_stack
from farm.local.demo import (
    DEMO_FOLDER,
    demo_request,
    running_farm,
)
from farm.local.running import STATE_FOLDER
from farm.local.stack import ALL_PARTS

Folder = Annotated[Path, typer.Option("--folder", help="Data, logs and state of the stack.")]


def up(
    context: typer.Context,
    folder: Folder = STATE_FOLDER,
    worker: Annotated[bool, typer.Option("--worker/--no-worker", help="Start a worker too.")] = True,
    flower: Annotated[bool, typer.Option("--flower/--no-flower", help="Start Flower too.")] = True,
    json: AsJson = False,
) -> None:
    """Run Redis, S3, a worker and Flower on this machine, until Ctrl-C; nothing needs to be installed."""
    door = door_of(context)
    left_out = {PartName.WORKER: worker, PartName.FLOWER: flower}
    parts = {part for part in ALL_PARTS if left_out.get(part, True)}
    stack = LocalStack(folder, parts=parts, on_news=_teller(door))

    def ready(state: StackState) -> None:
        if json:
            as_json.put_line(door.out, stack_facts(state, stack.folder))
        else:
            door.out.print(stack_view(state, stack.folder, show_password=door.lively))

    stack.serve(ready)


def down(context: typer.Context, folder: Folder = STATE_FOLDER, json: AsJson = False) -> None:
    """Stop the stack that runs in this folder; no job is lost."""
    door = door_of(context)
    stopped = stop_stack(folder)
    if json:
        as_json.put(door.out, {"stopped": stopped})
    else:
        say(door.out, "stopped" if stopped else f"no stack runs in {folder}")


def demo(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", help="Where the clip is put.")] = DEMO_FOLDER,
    folder: Folder = STATE_FOLDER,
    prompt: Annotated[str | None, typer.Option(help="What the clip shows.")] = None,
    json: AsJson = False,
) -> None:
    """Render one small WAN clip through the whole farm, and say where it is."""
    door = door_of(context)
    with running_farm(
        folder, door.farm, on_news=lambda news: say(door.err, news_line(news), markup=True)
    ) as farm:
        job = farm.submit_one(demo_request(prompt))
        watch_jobs(farm, [job.job_id], view_for(Door(out=door.err, err=door.err), json=False))
        result = job.wait().result()
        paths = result.download(out)
        url = result.url()
    if json:
        facts = {"job": job.job_id, "files": [str(path) for path in paths], "url": url}
        as_json.put(door.out, {**facts, "result": as_json.record(job.record)["result"]})
    else:
        door.out.print(demo_view(result, paths))


def _teller(door: Door) -> Callable[[PartNews], None]:
    return lambda news: say(door.err, news_line(news), markup=True)
