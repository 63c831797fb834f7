"""``docs/rewrites.md``, made from the rewrites themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Final

from comfy.rewrites.change import ChangeKind
from comfy.rewrites.gguf import GGUF
from comfy.rewrites.options import DEFAULT_OPTIONS, Attention
from comfy.rewrites.registry import REWRITES
from comfy.rewrites.rewrite import Rewrite

_INTRODUCTION: Final = """\
# Rewrites

What the farm may change in a graph so that it fits the worker where it runs. A change has a kind, and a job
says which kinds it accepts (`--accept`, `accept=` in Python; default `near`):

| kind | what it does to the picture |
| --- | --- |
| `exact` | the same pixels |
| `near` | the same picture within rounding: another attention back-end, another encoder, tiles |
| `different` | another picture; each of them has to be asked for by name as well |

The worker applies them, because it knows the card, the files and the installed nodes; the job's manifest says
which were applied, refused or skipped, and why, with every value written (`changes`, `rewrites`).
`farm optimize FILE` shows the same beforehand, for the live workers or for `--gpu "RTX 4090"`.

- Nothing is written that the installed node does not have or does not offer, and a graph that was valid stays
  valid: a rewrite that would break it is undone and logged.
- Only nodes that run are changed, both experts alike. A value that a link brings is cut from its link.
- A rewrite that fails costs nothing but itself. What is not known of a worker (the card, the size of a file)
  is not judged, and that is said.
- Options: {options}.

They are tried in this order. This page is made from the code by `make docs`; a test holds the two together.
Figures are others' unless they say otherwise; each has its source.

| rewrite | kind | what it does | when | effect |
| --- | --- | --- | --- | --- |
"""

_END: Final = """
Besides, every attempt writes into a folder of its own: the worker sets `filename_prefix` of every node that
saves, keeping the last part of the user's name (exact).

VideoHelperSuite puts a PNG of the first frame, with the graph in it, beside each clip. The farm stores only
files that ComfyUI reports, and that one is not among them.
"""


def page() -> str:
    """The page as text."""
    return _INTRODUCTION.replace("{options}", _options()) + "\n".join(_rows()) + "\n" + _END


def _options() -> str:
    """What a job may ask for, as a command line says it."""
    given = asdict(DEFAULT_OPTIONS)
    switches = [f"`--{name.replace('_', '-')}`" for name, value in given.items() if value is False]
    limits = [name.removeprefix("max_") for name, value in given.items() if value is None]
    return ", ".join(
        [f"`--attention {'|'.join(Attention)}`", *switches, *(f"`--limit {name}=N`" for name in limits)]
    )


def _rows() -> Iterator[str]:
    for rewrite in REWRITES:
        effect = f"{rewrite.effect} ({linked(rewrite.source)})"
        yield table_row(f"`{rewrite.name}`", _kind(rewrite), rewrite.title, rewrite.when, effect)


def _kind(rewrite: Rewrite) -> str:
    if rewrite is GGUF:
        return "suggested"
    return f"{rewrite.kind}, on request" if rewrite.kind is ChangeKind.DIFFERENT else str(rewrite.kind)


def table_row(*cells: str) -> str:
    """One row of a table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def linked(source: str) -> str:
    """``URL (file)`` as a link that is called by the file, ``URL`` as one that is called source."""
    address, _, file = source.partition(" ")
    return f"[{file.strip('()') or 'source'}]({address})"
