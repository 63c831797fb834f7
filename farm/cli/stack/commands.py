"""Commands about this machine's own stack: up, demo, down."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from farm.cli.jobs.watching import view_for, watch_jobs
from farm.cli.stack.demo import DEMO_FOLDER, demo_request, keep_out_of_git, running_farm
from farm.cli.stack.views import demo_view, news_line, stack_facts, stack_view
from farm.cli.terminal import as_json
from farm.cli.terminal.as_json import AsJson
from farm.cli.terminal.door import Door, door_of, say
from farm.errors import SettingsError, StackError
from farm.installed import how_to_install, is_installed
from farm.local.addresses import PartName
from farm.local.model_files import what_renders
from farm.local.running import attach, local_environment, stack_folder
from farm.local.running import down as stop_stack
from farm.local.stack import ALL_PARTS, LocalStack
from farm.local.state import StackState
from farm.local.supervisor import PartNews
from farm.settings.groups import wrong_settings
from farm.settings.worker import WorkerSettings


def up(
    context: typer.Context,
    worker: Annotated[bool, typer.Option("--worker/--no-worker", help="Start a worker too.")] = True,
    flower: Annotated[bool, typer.Option("--flower/--no-flower", help="Start Flower too.")] = True,
    gateway: Annotated[
        bool, typer.Option("--gateway/--no-gateway", help="Start the gateway too, where it is installed.")
    ] = True,
    json: AsJson = False,
) -> None:
    """Run Redis, S3, a worker, Flower and the gateway here, until Ctrl-C; it installs nothing."""
    door = door_of(context)
    if wrong := wrong_settings():
        raise SettingsError("; ".join(wrong))  # before a part is started that would end by it
    if gateway and not is_installed("uvicorn"):
        gateway = False
        say(door.err, f"the gateway is not installed and left out: {how_to_install('gateway')}")
    left_out = {PartName.WORKER: worker, PartName.FLOWER: flower, PartName.GATEWAY: gateway}
    parts = {part for part in ALL_PARTS if left_out.get(part, True)}
    stack = LocalStack(door.folder, parts=parts, on_news=_teller(door))

    renders = None
    if PartName.WORKER in stack.parts:
        renders = what_renders(WorkerSettings.read())
        if renders.missing:
            say(door.err, f"{renders.missing}\nOther graphs may do without; the stack starts.\n")

    def ready(state: StackState) -> None:
        if json:
            as_json.put_line(door.out, stack_facts(state, stack.folder, renders))
        else:
            door.out.print(stack_view(state, stack.folder, renders, show_password=door.lively))

    stack.serve(ready)
    say(
        door.err,
        f"stopped; jobs, clips and passwords are kept in {stack.folder}: `farm up` goes on with them",
    )


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
    if (state := attach(folder)) is not None and state.gateway_url:
        found["COMFY_BASE_URL"] = state.gateway_url  # for clients of Comfy API v2
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
    request = demo_request(prompt)
    try:
        with running_farm(door.folder, door.farm, needs=request, on_news=_teller(door)) as farm:
            job = farm.submit_one(request)
            watch_jobs(farm.store, [job.job_id], view_for(Door(out=door.err, err=door.err), json=False))
            result = job.wait().result()
            if out == DEMO_FOLDER:
                keep_out_of_git(out)
            paths = result.download(out)
            url = result.url()
    except KeyboardInterrupt:
        if attach(door.folder) is None:
            _say_goodbye(door, door.folder or stack_folder())
        raise
    if json:
        facts = {"job": job.job_id, "files": [str(path) for path in paths], "url": url}
        as_json.put(door.out, {**facts, "result": as_json.record(job.record)["result"]})
    else:
        door.out.print(demo_view(result, paths))


def _teller(door: Door) -> Callable[[PartNews], None]:
    return lambda news: say(door.err, news_line(news))


def _say_goodbye(door: Door, folder: Path) -> None:
    say(door.err, f"stopped; jobs, clips and passwords are kept in {folder}: `farm up` goes on with them")
