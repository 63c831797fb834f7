"""Every command: its name, the module that holds its function, and its line in `farm --help`.

A command's module is imported when the command is called, so that `farm --help` loads none of them and
`farm inspect` does not pay for Redis. A test holds each line here to the docstring of its function.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import typer
from typer.core import TyperGroup

from farm.cli.stack.folder import StackCommand
from farm.cli.terminal.plain_help import PlainCommand, PlainHelp


@dataclass(frozen=True, slots=True)
class Command:
    """What is known of a command before its module is imported."""

    module: str  # below farm.cli
    summary: str
    function: str = ""  # in that module; default: the command's name, with underscores
    meets_farm: bool = True  # takes --folder, for the local stack that is meant


PANELS: Final[Mapping[str, Mapping[str, Command]]] = {
    "Jobs": {
        "submit": Command("jobs.commands", "Queue a job: a graph file or a template. Prints its id."),
        "watch": Command(
            "jobs.commands",
            "Follow jobs live until they end or are held; without any, those that run or wait now.",
        ),
        "ls": Command("jobs.commands", "List jobs, newest first."),
        "show": Command(
            "jobs.commands",
            "Show all that is known of jobs: what they ask for, how attempts ended, files, a link.",
        ),
        "cancel": Command(
            "jobs.steering", "Ask for the end of jobs; one that runs stops as soon as its node yields."
        ),
        "pause": Command(
            "jobs.steering",
            "Keep waiting jobs from being run until they are resumed; one that runs goes on.",
        ),
        "resume": Command("jobs.steering", "Let paused jobs run, before others of their priority."),
        "priority": Command(
            "jobs.steering", "Move waiting jobs to the front of another priority; one that runs goes on."
        ),
        "rm": Command(
            "jobs.steering", "Remove jobs that have ended for good: their records, and their files in S3."
        ),
        "retry": Command("jobs.steering", "Queue failed, canceled or expired jobs anew, under their ids."),
        "pull": Command(
            "jobs.steering",
            "Download the files of succeeded jobs, each checked against its hash; nothing is overwritten.",
        ),
        "open": Command(
            "jobs.commands",
            "Show the clip of a succeeded job, with what this system opens links with; else print its link.",
            function="open_clip",
        ),
        "diagnose": Command(
            "jobs.diagnose",
            "Say where a job's seconds went, or those of any ComfyUI log, what was lost, and what to change.",
        ),
        "validate": Command("jobs.commands", "Check a job as submit does, and store nothing."),
    },
    "Graphs": {
        "inspect": Command(
            "graphs.commands",
            "Show what a graph makes, what each node is for, where values are set, what it needs.",
        ),
        "lint": Command(
            "graphs.improve",
            "Say what is wrong, slow or without effect in a graph; ends with 10 on errors, 11 on warnings.",
        ),
        "plan": Command(
            "graphs.plan",
            "Say what a graph needs and how long it takes on each card of the fleet; queues nothing.",
        ),
        "optimize": Command(
            "graphs.improve",
            "Show what a worker would change in a graph, and why; runs nothing, writes nothing without -o.",
        ),
        "templates": Command(
            "graphs.commands",
            "List the templates, show one with its parameters, write its graph (-o), or keep a graph as one.",
            meets_farm=False,
        ),
    },
    "Fleet": {
        "workers": Command(
            "fleet.commands",
            "List the live workers: GPU, class, mode, ComfyUI, state, job. With NAME, all about that one.",
        ),
        "drain": Command(
            "fleet.commands", "Have a worker fetch nothing more; it ends its job first, unless --now."
        ),
        "queues": Command(
            "fleet.commands",
            "Show how many jobs wait, by VRAM class and priority, and how many are in each state.",
        ),
        "check": Command(
            "fleet.commands",
            "Look whether everything this machine needs is in place, and say what to do if not.",
        ),
        "plan-gpu": Command(
            "fleet.commands",
            "Explain how ComfyUI would be started on this machine's card, or on a named one; starts nothing.",
            meets_farm=False,
        ),
        "steward": Command(
            "fleet.commands",
            "Run the loop that repairs what died, until it is told to end. Every worker has one too.",
        ),
        "clean": Command(
            "fleet.commands",
            "Remove from S3 what no job names any more. The workers do it themselves now and then.",
        ),
        "metrics": Command(
            "fleet.exporting",
            "Serve metrics of the whole fleet to Prometheus, until told to end; docs/metrics.md names them.",
        ),
    },
    "Gateway": {
        "gateway": Command(
            "gateway.commands",
            "Serve a page and HTTP contracts (Comfy API v2 …) until told to end; see docs/gateway.md.",
        ),
        "webhooks": Command(
            "gateway.webhooks",
            "Have the ends of jobs told to addresses, signed; the steward sends (docs/webhooks.md).",
        ),
        "keys": Command(
            "gateway.commands",
            "Make, list and revoke the API keys of the gateway; a key is shown once, when it is made.",
        ),
    },
    "This machine": {
        "up": Command(
            "stack.commands",
            "Run Redis, S3, a worker, Flower and the gateway here, until Ctrl-C; it installs nothing.",
        ),
        "demo": Command(
            "stack.commands", "Render one small WAN clip through the whole farm, and say where it is."
        ),
        "down": Command(
            "stack.commands", "Stop the stack that runs in this folder or above it; no job is lost."
        ),
        "env": Command(
            "stack.commands",
            'Print the variables that lead to the local stack, passwords too: eval "$(farm env)" sets them.',
        ),
    },
}
COMMANDS: Final = {name: command for panel in PANELS.values() for name, command in panel.items()}


def function_of(name: str) -> Callable[..., Any]:
    """The function of a command; this imports its module."""
    command = COMMANDS[name]
    module = importlib.import_module(f"farm.cli.{command.module}")
    function: Callable[..., Any] = getattr(module, command.function or name.replace("-", "_"))
    return function


class CommandGroup(PlainHelp, TyperGroup):
    """A group whose commands are names and help lines until one of them is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """As its base has it, with the whole command in place of its line."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, name and whole(name), rest


def add_commands(app: typer.Typer) -> None:
    """Register every command by its line. `app` has to be a `CommandGroup`."""
    for panel, commands in PANELS.items():
        for name, command in commands.items():
            app.command(name, help=command.summary, rich_help_panel=panel)(_line)


def _line() -> None:
    """Stands for a command in lists; `CommandGroup` never calls it."""


def whole(name: str) -> Any:
    """The command itself, with its options and its examples; this imports its module."""
    from farm.cli.examples import EXAMPLES

    alone = typer.Typer(add_completion=False)
    examples = "\n\n".join(("Examples:", *EXAMPLES.get(name, ())))  # Typer makes a line of each paragraph
    kind = StackCommand if COMMANDS[name].meets_farm else PlainCommand
    alone.command(name, cls=kind, epilog=examples)(function_of(name))
    return typer.main.get_command(alone)
