"""``docs/log-lines.md``, made from the table of log lines itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from comfy.log.form import LineForm, Printer
from comfy.log.lines import BAR_SAMPLE, FORMS

_INTRODUCTION: Final = """\
# Log lines

What the farm reads in a log of ComfyUI, its custom nodes and what runs around it. A line is found by its
beginning, in whatever dress it comes: colours and levels of ComfyUI since 0.23; stamps and prefixes of
Docker (`logs -t`, its JSON file, compose), Kubernetes, journald and syslog, RunPod, ComfyUI-Manager,
SwarmUI, electron-log, Python's logging, loguru, Celery, Ray, PM2. All other lines are left alone, but for
warnings and errors: those are shown as unknown.

A progress bar is read too, its state after the first step and its last one:
`{bar}`.

*since* and *until* name releases of ComfyUI; where nothing stands, every release that we know prints it.
This page is made from the code by `make docs`; a test holds the two together.
"""


def page() -> str:
    """The page as text."""
    return _INTRODUCTION.format(bar=BAR_SAMPLE.strip()) + "".join(_section(printer) for printer in Printer)


def _section(printer: Printer) -> str:
    head = f"\n## {printer.value[0].upper()}{printer.value[1:]}\n\n"
    head += "| name | what it says | since | until | sample |\n| --- | --- | --- | --- | --- |\n"
    return head + "\n".join(_row(row) for row in _rows(printer)) + "\n"


def _rows(printer: Printer) -> Iterator[LineForm]:
    return (row for row in FORMS if row.printer is printer)


def _row(row: LineForm) -> str:
    sample = row.samples[0].replace("|", "\\|")
    return f"| `{row.name}` | {row.meaning} | {row.since} | {row.until} | `{sample}` |"
