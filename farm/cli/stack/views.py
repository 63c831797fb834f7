"""The local stack and the demo as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from farm.cli.terminal.tables import EMULATED, video_words
from farm.cli.terminal.words import size
from farm.handle import Result
from farm.local.addresses import PartName
from farm.local.model_files import Renders
from farm.local.state import STATE_FILE, StackState
from farm.local.supervisor import News, PartNews


def news_line(news: PartNews) -> Text:
    """A start or a death of a part."""
    colour = {News.STARTED: "dim", News.READY: "green", News.DIED: "red"}[news.news]
    return Text.assemble((f"{news.part}: {news.news}", colour), f" {news.detail}".rstrip())


def stack_facts(state: StackState, folder: Path, renders: Renders | None) -> dict[str, Any]:
    """Where the parts are, without passwords: those are in the state file."""
    return {
        "emulated": renders is not None and renders.emulated,
        "folder": str(folder),
        "state_file": str(folder / STATE_FILE),
        "ports": state.ports,
        "s3_endpoint_url": state.environment.get("FARM_S3_ENDPOINT_URL"),
        "bucket": state.environment.get("FARM_S3_BUCKET"),
        "flower_url": state.flower_url,
        "flower_user": state.flower_user,
        "gateway_url": state.gateway_url,
        "pid": state.owner.pid,
    }


def stack_view(
    state: StackState, folder: Path, renders: Renders | None, *, show_password: bool
) -> RenderableType:
    """Where the parts are, what renders, and what to type next."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    if "FARM_REDIS_URL" in state.environment:
        table.add_row("Redis", f"127.0.0.1:{state.ports[PartName.VALKEY]}")
    if endpoint := state.environment.get("FARM_S3_ENDPOINT_URL"):
        bucket = state.environment.get("FARM_S3_BUCKET")
        table.add_row("S3", f"{endpoint}, bucket {bucket}, files in {folder / 's3'}")
    if state.flower_url:
        password = state.passwords.flower if show_password else f"in {folder / STATE_FILE}"
        table.add_row("Flower", f"{state.flower_url}  user {state.flower_user}, password {password}")
    if state.gateway_url:
        table.add_row("gateway", f"{state.gateway_url}  (COMFY_BASE_URL of Comfy API v2)")
    if renders is not None:
        table.add_row("worker", Text(renders.by, "yellow" if renders.emulated else ""))
    table.add_row("state", f"{folder / STATE_FILE} (addresses and passwords)")
    table.add_row("logs", str(folder / "logs"))
    hint = "Commands and `Farm()` find it by themselves, here and below. Ctrl-C or `farm down` stops it."
    shown: list[RenderableType] = [Text("The farm is up.", "bold green"), table, hint]
    if renders is not None:
        commands = Text(f"  {renders.command}\n  farm open JOB", no_wrap=True, overflow="ignore")
        shown += ["Type next, in another terminal:", commands]
    return Group(*shown)


def demo_view(result: Result, paths: Sequence[Path]) -> RenderableType:
    """Where the clip is, what it is, and whether it is a real one."""
    main = result.main
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    at = result.facts.artifacts.index(main)
    table.add_row("clip", str(paths[at].resolve()))
    table.add_row("what", f"{video_words(main)}, {size(main.size_bytes)}")
    table.add_row("S3", f"s3://{result.facts.bucket}/{main.key}")
    table.add_row("manifest", f"s3://{result.facts.bucket}/{result.facts.manifest_key}")
    if not result.facts.emulated:
        return table
    how = "Set COMFYUI_DIR to the folder of a ComfyUI with the WAN models and run it again for a real one."
    return Group(
        Panel(Text.assemble((f"{EMULATED}.", "bold"), f"\n{how}"), border_style="yellow", expand=False), table
    )
