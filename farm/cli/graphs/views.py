"""Graphs and templates as people read them. No decisions here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from comfy.wan.templates import Template
from farm.asking.inspection import Clip, Inspection
from farm.cli.terminal.tables import plain_table
from farm.cli.terminal.words import seconds, size

_NEEDED: Final = ("*", "bold red")
_LONGEST: Final = 60  # characters of a value: a prompt goes on for lines


def inspection_view(found: Inspection) -> RenderableType:
    """A graph's roles, its files, and what nobody knows of it."""
    parts: list[RenderableType] = [
        Text(found.title, "bold"),
        f"{found.running} of {found.nodes} nodes run; {clip_words(found.clip)}",
        "",
        _roles_table(found),
    ]
    if found.models:
        models = plain_table("model file", "folder", "set at", "size")
        for model in found.models:
            models.add_row(model.name, model.folder, model.input_path, size(model.size_bytes))
        parts += ["", models]
    if found.files:
        parts += ["", "input files: " + ", ".join(found.files)]
    if found.unknown_classes:
        listed = ", ".join(found.unknown_classes)
        unknown = ("nodes that the farm does not know (a worker may have them):", "yellow")
        parts += ["", Text.assemble(unknown, f" {listed}")]
    if found.notes:
        said = ("taken otherwise than it stands in the file:", "yellow")
        parts += ["", Text.assemble(said, "\n" + "\n".join(found.notes))]
    return Group(*parts)


def clip_words(clip: Clip) -> str:
    """``832×480, 81 frames at 16 fps, 5.06 s``; what is not known before the graph runs is left out."""
    words = []
    if clip.width is not None and clip.height is not None:
        words.append(f"{clip.width}×{clip.height}")
    if clip.frames is not None:
        words.append(f"{clip.frames} frames")
    if clip.fps is not None:
        words.append(f"at {clip.fps:g} fps")
    if clip.seconds is not None:
        words.append(seconds(clip.seconds))
    return ", ".join(words).replace(" frames, at", " frames at") or "its clip is not known before it runs"


def templates_table(templates: Iterable[Template]) -> Table:
    """One line for each template."""
    table = plain_table("template", "what", "presets", "size", "needs")
    for each in templates:
        quality = each.presets["quality"]
        needed = ", ".join(parameter.name for parameter in each.parameters if parameter.required)
        table.add_row(
            each.name,
            each.title,
            ", ".join(each.presets),
            f"{quality.width}×{quality.height}, {quality.frames} frames",
            needed,
        )
    return table


def template_view(template: Template) -> RenderableType:
    """A template's parameters and presets."""
    parameters = plain_table("parameter", "takes", "unit", "default", "what")
    for each in template.parameters:
        name = Text.assemble(each.name, " ", _NEEDED) if each.required else Text(each.name)
        default = each.by_default if each.default is None else shortened(each.default)
        parameters.add_row(name, each.takes, each.unit, default, each.help)
    presets = plain_table("preset", "steps", "cfg", "shift", "size", "frames", "LoRA", "what")
    for preset_name, preset in template.presets.items():
        loras = "\n".join(preset.loras) or "–"
        sides = f"{preset.width}×{preset.height}"
        values = [str(preset.steps), f"{preset.cfg:g}", f"{preset.shift:g}", sides, str(preset.frames)]
        presets.add_row(preset_name, *values, loras, preset.help)
    title = Text(template.title, "bold")
    source = Text.assemble(f"settings from {template.source}; ", _NEEDED, " is needed")
    return Group(title, source, "", parameters, "", presets)


def shortened(value: Any) -> str:
    """A value on one line."""
    text = str(value).lower() if isinstance(value, bool) else " ".join(str(value).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _roles_table(found: Inspection) -> Table:
    table = plain_table("role", "value", "set at", "node", "class", "")
    for row in found.rows:
        value = "–" if row.value is None else shortened(row.value)
        table.add_row(
            row.role,
            value,
            row.input_path or "",
            row.node,
            row.class_type,
            row.note,
        )
    return table
