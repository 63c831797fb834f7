"""Commands about the fleet: workers, queues, check, steward."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from typing import Annotated

import typer

from farm.cli.fleet.views import worker_view, workers_table
from farm.cli.terminal import as_json
from farm.cli.terminal.as_json import AsJson
from farm.cli.terminal.door import door_of, say
from farm.cli.terminal.ending import told_to_end
from farm.cli.terminal.exits import ExitCode
from farm.cli.terminal.tables import findings_table, queues_table
from farm.errors import SettingsError, WorkerNotFound
from farm.fleet.model_lists import models_of
from farm.installed import how_to_install
from farm.local.surroundings import settings_here
from farm.process.environment import for_worker
from farm.settings.logs import LogSettings
from farm.settings.outside import OutsideSettings
from farm.settings.redis import RedisSettings, StoreSettings
from farm.settings.s3 import CleanSettings
from farm.status.worker import WorkerStatus, workers_named
from farm.store.base import Drain


def workers(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(help="One worker, in detail; `gpu0` will do for `gpu0@host`.")
    ] = None,
    json: AsJson = False,
) -> None:
    """List the live workers: GPU, class, mode, ComfyUI, state, job. With NAME, all about that one."""
    door = door_of(context)
    with door.farm() as farm:
        found = farm.workers()
        if name is not None:
            worker = _the_one(found, name)
            models = models_of(farm.store, worker)
            shown = {**as_json.worker(worker), "model_files": models}
            as_json.put(door.out, shown) if json else door.out.print(worker_view(worker, models))
            return
    if json:
        as_json.put(door.out, list(map(as_json.worker, found)))
    else:
        door.out.print(workers_table(found) if found else "no worker lives; start one with `farm up`")


def drain(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The worker, as `farm workers` names it; `gpu0` will do.")],
    now: Annotated[bool, typer.Option("--now", help="Give the job in hand back at once.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Let it fetch again.")] = False,
    json: AsJson = False,
) -> None:
    """Have a worker fetch nothing more; it ends its job first, unless --now."""
    if now and undo:
        raise typer.BadParameter("--now and --undo exclude each other")
    door = door_of(context)
    with door.farm() as farm:
        found = farm.workers()
        # The order to a worker that does not live now can be taken back too.
        away = undo and "@" in name and not workers_named(found, name)
        worker = name if away else _the_one(found, name).name
        order = None if undo else Drain.NOW if now else Drain.FINISH
        farm.store.set_drain(worker, order)
    if json:
        as_json.put(door.out, {"worker": worker, "drain": order})
    else:
        say(door.out, f"{worker} {'fetches again' if undo else 'fetches nothing more'}")


def _the_one(workers: Sequence[WorkerStatus], name: str) -> WorkerStatus:
    found = workers_named(workers, name)
    if not found:
        raise WorkerNotFound(name, [worker.name for worker in workers])
    if len(found) > 1:
        several = ", ".join(worker.name for worker in found)
        raise typer.BadParameter(f"{name!r} names {len(found)} live workers: {several}")
    return found[0]


def queues(context: typer.Context, json: AsJson = False) -> None:
    """Show how many jobs wait, by VRAM class and priority, and how many are in each state."""
    door = door_of(context)
    with door.farm() as farm:
        found = farm.counts()
    if json:
        as_json.put(door.out, as_json.plain(found))
    else:
        door.out.print(queues_table(found))


def check(
    context: typer.Context,
    comfyui: Annotated[
        str | None, typer.Option(metavar="URL", help="A running ComfyUI to look at: http://127.0.0.1:8188.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Look whether everything this machine needs is in place, and say what to do if not.

    A ComfyUI that runs, named by COMFYUI_URL or --comfyui, is sent a canary: a picture that needs no model.
    """
    from dataclasses import asdict

    from farm.check.every import check_everything, passed

    door = door_of(context)
    findings = check_everything(door.folder, comfyui_url=comfyui)
    if json:
        as_json.put(door.out, [asdict(finding) for finding in findings])
    else:
        door.out.print(findings_table(findings))
    if not passed(findings):
        raise typer.Exit(ExitCode.USAGE)


def plan_gpu(
    context: typer.Context,
    gpu: Annotated[str | None, typer.Option(metavar="NAME", help='A card by name, as "RTX 4090".')] = None,
    vram: Annotated[float | None, typer.Option(metavar="GIB", help="A card of this size.")] = None,
    ram: Annotated[float | None, typer.Option(metavar="GIB", help="A host with so much memory.")] = None,
    comfyui: Annotated[
        str | None, typer.Option(metavar="VERSION", help="A version of ComfyUI, as 0.3.64 or 0.33.0.")
    ] = None,
    mode: Annotated[str | None, typer.Option(help="A load mode to force, as FARM_LOAD_MODE.")] = None,
    models: Annotated[str | None, typer.Option(metavar="NAMES", help="As FARM_MODELS.")] = None,
    json: AsJson = False,
) -> None:
    """Explain how ComfyUI would be started on this machine's card, or on a named one; starts nothing."""
    options = {"gpu": gpu, "vram": vram, "ram": ram, "comfyui": comfyui, "mode": mode, "models": models}
    arguments = [f"--{name}={value}" for name, value in options.items() if value is not None]
    # The knowledge of cards is the worker's, which nothing imports: it is asked as a program.
    answer = subprocess.run(
        [sys.executable, "-m", "worker.comfyui.command", *arguments, *(["--json"] if json else [])],
        env=for_worker(os.environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if answer.returncode != 0:
        reason = answer.stderr.strip().splitlines() or [f"it ended with {answer.returncode}"]
        remedy = f"; {how_to_install('worker')}" if "ModuleNotFoundError" in reason[-1] else ""
        raise SettingsError(f"no plan: {reason[-1].removeprefix('plan-gpu: error: ')}{remedy}")
    say(door_of(context).out, answer.stdout.rstrip())


def clean(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    json: AsJson = False,
) -> None:
    """Remove from S3 what no job names any more. The workers do it themselves now and then."""
    from dataclasses import asdict

    from farm.upkeep.cleaning import Cleaner, limits_of

    door = door_of(context)
    with door.farm() as farm:
        limits = limits_of(settings_here(CleanSettings, door.folder))
        cleaned = Cleaner(farm.store, farm.storage, limits).clean(dry_run=dry_run)
    if json:
        as_json.put(door.out, asdict(cleaned))
        return
    say(
        door.out,
        f"{'would be removed' if dry_run else 'removed'}: {cleaned.attempts} attempts that no job names, "
        f"{cleaned.results} results, {cleaned.inputs} inputs, {cleaned.uploads} uploads that never ended, "
        f"what was left of {cleaned.removed} jobs; "
        f"{cleaned.size_bytes / 2**20:.1f} MiB",
    )


def steward(
    context: typer.Context,
    name: Annotated[str | None, typer.Option(help="Who this is; default: host and process.")] = None,
) -> None:
    """Run the loop that repairs what died, until it is told to end. Every worker has one too."""
    from farm.logs import configure_logging
    from farm.notifier import store_at
    from farm.upkeep.courier import courier_of
    from farm.upkeep.steward import Steward

    settings = settings_here(StoreSettings)
    logs = settings_here(LogSettings)
    configure_logging(logs.level, logs.form)
    with closing(store_at(settings_here(RedisSettings, door_of(context).folder))) as store:
        store.ping()  # a wrong address is told at once; later ones are waited out
        loop = Steward(
            store,
            holder=name or f"steward@{platform.node()}:{os.getpid()}",
            sweep_s=settings.sweep_s,
            grace_s=settings.grace_s,
            courier=courier_of(store, settings_here(OutsideSettings)),
        )
        with told_to_end() as ended:
            loop.start()
            try:
                ended.wait()
            finally:
                loop.stop()
