"""What a command line says of changes to a graph: the options that `submit` and `optimize` share."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from comfy.rewrites.change import ChangeKind
from comfy.rewrites.options import Attention
from farm.cli.terminal.shared_options import sharing
from farm.cli.terminal.words import parse_pairs, parse_value

# As a person writes them -> as `RewriteOptions` has them.
_LIMITS: Final = {
    "width": "max_width",
    "height": "max_height",
    "frames": "max_frames",
    "fps": "max_fps",
    "seconds": "max_seconds",
    "interpolation": "interpolation",
}

Accept = Annotated[
    ChangeKind | None,
    typer.Option(
        help="What may be changed to fit the graph to its worker; default near. See docs/rewrites.md."
    ),
]
AttentionOption = Annotated[
    Attention | None,
    typer.Option(
        "--attention",
        help="sdpa: not SageAttention (default); keep: as the graph says; auto: the fastest proven.",
    ),
]
Lightning = Annotated[
    bool, typer.Option("--lightning", help="Few-step LoRAs: another picture, needs --accept different.")
]
Mp4 = Annotated[
    bool, typer.Option("--mp4", help="A clip saved as animated WEBP becomes H.264 in MP4; else it stays.")
]
KeepMetadata = Annotated[
    bool, typer.Option("--keep-metadata", help="Leave the graph with its prompt in the files.")
]
KeepOffloading = Annotated[
    bool,
    typer.Option("--keep-offloading", help="Leave devices, block swap and offload as the graph says."),
]
Limit = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        metavar="WHAT=N",
        help=f"Of {', '.join(_LIMITS)}: another picture, needs --accept different; may be repeated.",
    ),
]


def rewrite_options(
    *,
    accept: Accept = None,
    attention: AttentionOption = None,
    lightning: Lightning = False,
    keep_metadata: KeepMetadata = False,
    mp4: Mp4 = False,
    keep_offloading: KeepOffloading = False,
    limit: Limit = None,
) -> dict[str, Any]:
    """The options of a job; those that were not given are not in it.

    Raises:
        BadParameter: a limit is none, or no number.
    """
    switches = {
        "lightning": lightning,
        "keep_metadata": keep_metadata,
        "mp4": mp4,
        "keep_offloading": keep_offloading,
    }
    found: dict[str, Any] = {"accept": accept, "attention": attention}
    found |= {name: True for name, given in switches.items() if given}
    for name, text in parse_pairs(limit or (), option="--limit").items():
        value = parse_value(text)
        if name not in _LIMITS:
            raise typer.BadParameter(f"there is no limit of {name}; there are {', '.join(_LIMITS)}")
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise typer.BadParameter(f"--limit {name} takes a number, not {text!r}")
        found[_LIMITS[name]] = value
    return {name: value for name, value in found.items() if value is not None}


with_rewrite_options = sharing("rewriting", rewrite_options)
