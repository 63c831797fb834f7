"""Commands about this machine's own stack: up, demo, down."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from farm.cli import as_json
from farm.cli.as_json import AsJson
from farm.cli.door import Door, door_of, say
from farm.cli.stack_views import demo_view, news_line, stack_facts, stack_view
from farm.cli.watching import view_for, watch_jobs
from farm.errors import StackError
from farm.local import LocalStack, PartName, PartNews, StackState, local_environment, stack_folder
from farm.local import down as stop_stack
from farm.local.demo import DEMO_FOLDER, demo_request, running_farm
from farm.local.stack import ALL_PARTS


def up(
    context: typer.Context,
    worker: Annotated[bool, typer.Option("--worker/--no-worker", help="Start a worker too.")] = True,
    flower: Annotated[bool, typer.Option("--flower/--no-flower", help="Start Flower too.")] = True,
    json: AsJson = False,
) -> None:
    """Run Redis, S3, a worker and Flower here, until Ctrl-C; nothing needs to be installed."""
    door = door_of(context)
    left_out = {PartName.WORKER: worker, PartName.FLOWER: flower}
    parts = {part for part in ALL_PARTS if left_out.get(part, True)}
    stack = LocalStack(door.folder, parts=parts, on_news=_teller(door))

    def ready(state: StackState) -> None:
        if json:
            as_json.put_line(door.out, stack_facts(state, stack.folder))
        else:
            door.out.print(stack_view(state, stack.folder, show_password=door.lively))

    stack.serve(ready)


def down(context: typer.Context, json: AsJson = False) -> None:
    """Stop the stack that runs in this folder or above it; no job is lost."""
    door = door_of(context)
    folder = door.folder or stack_folder()
    stopped = stop_stack(folder)
    if json:
        as_json.put(door.out, {"stopped": stopped})
    else:
        say(door.out, "stopped" if stopped else f"no stack runs in {folder}")


def env(context: typer.Context, json: AsJson = False) -> None:
    """Print the variables that lead to the local stack, passwords too: eval "$(farm env)" sets them."""
    door = door_of(context)
    folder = door.folder or stack_folder()
    found = local_environment(folder, environ={})
    if not found:
        raise StackError(f"no stack runs in {folder}: `farm up` starts one")
    if json:
        as_json.put(door.out, found)
    else:
        say(
            door.out,
            "\n".join(f"export {name}={shlex.quote(value)}" for name, value in sorted(found.items())),
        )


def demo(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", help="Where the clip is put.")] = DEMO_FOLDER,
    prompt: Annotated[str | None, typer.Option(help="What the clip shows.")] = None,
    json: AsJson = False,
) -> None:
    """Render one small WAN clip through the whole farm, and say where it is."""
    door = door_of(context)
    with running_farm(
        door.folder, door.farm, on_news=lambda news: say(door.err, news_line(news), markup=True)
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
