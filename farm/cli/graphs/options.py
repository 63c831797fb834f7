"""How a command line names a graph: a file or a template, values, files, and names of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from comfy.wan.parameters import SNAP
from farm.asking.request import JobOptions, JobRequest
from farm.cli.terminal.shared_options import sharing
from farm.cli.terminal.words import parse_pairs, parse_value

GraphFile = Annotated[
    Path | None,
    typer.Argument(
        metavar="FILE", help="A workflow file of ComfyUI: as saved, or API format.", show_default=False
    ),
]
Template = Annotated[str | None, typer.Option("--template", "-t", help="A template; see `farm templates`.")]
Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        "-p",
        metavar="NAME=VALUE",
        help="A parameter of the template; or of the graph: node.input, or what `farm inspect` finds "
        "(prompt, seed, width, frames, …). JSON, or else text.",
    ),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option("--input", "-i", metavar="NAME=FILE", help="An input file: path, https:// or s3://."),
]
Bind = Annotated[
    list[str] | None,
    typer.Option(
        "--bind", "-b", metavar="NAME=NODE.INPUT", help="A name of your own for an input; may be repeated."
    ),
]
Snap = Annotated[
    bool, typer.Option("--snap", help="Take the nearest size and length that WAN takes, not an error.")
]


def request_of(
    file: GraphFile = None,
    template: Template = None,
    param: Parameters = None,
    input_: Inputs = None,
    bind: Bind = None,
    snap: Snap = False,
) -> JobRequest:
    """The request that the options of a command make.

    Raises:
        BadParameter: one of them is no pair.
    """
    values = {name: parse_value(text) for name, text in parse_pairs(param or (), option="--param").items()}
    return JobRequest(
        graph=file,
        template=template,
        parameters={**values, SNAP: True} if snap else values,
        inputs=parse_pairs(input_ or (), option="--input"),
        bind=_bindings(bind or ()),
    )


takes_graph = sharing("request", request_of)


def with_options(request: JobRequest, options: Mapping[str, Any]) -> JobRequest:
    """The request with options; those that are None are left out."""
    given = {name: value for name, value in options.items() if value is not None}
    return replace(request, options=JobOptions(**given))  # type: ignore[typeddict-item]


def _bindings(pairs: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pair in pairs:
        for name, input_path in parse_pairs([pair], option="--bind").items():
            found.setdefault(name, []).append(input_path)
    return found
