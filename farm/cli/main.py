"""``farm``: the way in, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from comfy.errors import ComfyError
from comfy.log.foreign import forgive_encodings
from farm.cli.commands import CommandGroup, add_commands
from farm.cli.terminal.door import Door, door_of, say
from farm.cli.terminal.exits import EPILOG, ExitCode, code_of, told
from farm.errors import FarmError, StoreUnavailable, in_words

app = typer.Typer(
    name="farm",
    cls=CommandGroup,
    help="A render farm for WAN video: jobs through Redis and Celery to ComfyUI workers, videos in S3.",
    epilog=EPILOG,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
add_commands(app)


def _tell_version(context: typer.Context, wanted: bool) -> None:  # as Typer calls it
    if wanted:
        from farm.installed import own_version

        say(door_of(context).out, f"farm {own_version() or '(not installed)'}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[  # its callback does it all
        bool,
        typer.Option("--version", callback=_tell_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """The options of `farm` itself."""


def run(arguments: Sequence[str], *, door: Door | None = None) -> int:
    """Run one command; returns its exit code. Never raises for what a person did wrong."""
    door = door or Door()
    command = typer.main.get_command(app)
    try:
        code = command.main(
            args=list(arguments) or ["--help"], prog_name="farm", standalone_mode=False, obj=door
        )
    except typer.TyperException as exc:
        return _fail(door, f"{in_words(exc.format_message())} (see `farm --help`)", ExitCode.USAGE)
    except typer.Abort:
        return ExitCode.INTERRUPTED
    except (FarmError, ComfyError) as exc:
        return _fail(door, told(exc) + _hint(exc), code_of(exc), exc)
    except Exception as exc:  # noqa: BLE001  # the top of the program; `_internal` keeps the traceback
        return _fail(door, _internal(exc), ExitCode.INTERNAL, exc)
    return code if isinstance(code, int) else ExitCode.OK


def main() -> None:
    """Run the command that was typed, and end with its exit code."""
    try:
        forgive_encodings()
        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # outside of a command, which tells more of it
        code = ExitCode.INTERRUPTED
    sys.exit(code)


def _fail(door: Door, text: str, code: ExitCode, exc: Exception | None = None) -> int:
    if exc is not None and os.environ.get("FARM_DEBUG"):
        say(door.err, "".join(traceback.format_exception(exc)))
    say(door.err, Text.assemble(("farm:", "bold red"), f" {text}"))
    return code


def _hint(exc: Exception) -> str:
    if not isinstance(exc, StoreUnavailable) or os.environ.get("FARM_REDIS_URL"):
        return ""
    from farm.local.running import attach, why_silent

    if attach() is not None:
        return f"; a stack runs here, and its Valkey does not answer: {why_silent()}"
    return "; no stack runs in this folder or above it: `farm up` starts one"


def _internal(exc: Exception) -> str:
    """A fault of ours: where its traceback is, because a report needs it."""
    what = f"this is a fault of the farm: {type(exc).__name__}: {exc}"
    if os.environ.get("FARM_DEBUG"):
        return what
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="farm-error-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file:
            file.write("".join(traceback.format_exception(exc)))
    except OSError:
        return f"{what}; set FARM_DEBUG=1 to see the traceback"
    return f"{what}; its traceback is in {Path(file.name)}"
