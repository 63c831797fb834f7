"""``docs/templates.md`` and ``docs/models.md``, made from the templates themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from comfy.graphs.required import model_files
from comfy.wan.model_table import MODEL_SETS, ModelSet
from comfy.wan.models import GIB
from comfy.wan.names import file_bytes
from comfy.wan.parameters import Parameter
from comfy.wan.templates import TEMPLATES
from comfy.wan.templates.template import NEGATIVE, Template
from farm.local.model_files import WHERE_TO_GET

_TEMPLATES: Final = """\
# Templates

Graphs that work, with typed parameters. `farm templates` lists them, `farm templates NAME` shows one; from
Python: `farm.submit(template="wan22-t2v-a14b", parameters={"prompt": "a red fox"})`.

Sizes and lengths that the model does not take are refused, naming the neighbours; `--snap` (`"snap": True`)
takes the nearest instead. A picture is a path, an address (`https://`, `s3://`) or, from Python, the bytes;
the client stores a local one where the worker finds it. The model files are on [another page](models.md).

A graph of your own is set in the same words: `farm inspect FILE` shows what it found, and
`farm submit FILE -p prompt="a red fox" -p frames=81` sets it. `--bind mood=6.text` gives an input a name of
your own; `farm templates NAME --save FILE --bind …` keeps a graph with its names as a template.
`farm templates NAME -o FILE` writes a template as a workflow file in API format, and with `--editor` as
ComfyUI's editor saves it: every node with its place, for people to go on from.

This page is made from the templates by `make docs`; a test holds the two together.
"""
_MODELS: Final = f"""\
# Model files

{WHERE_TO_GET}

The A14B pair takes the 2.1 VAE; the 2.2 VAE is for the 5B model alone. A file that a worker does not have is
named when the job is submitted, with the names that come near.

This page is made from the templates by `make docs`; a test holds the two together.

| folder below `models/` | file | GiB | template (preset) |
| --- | --- | --- | --- |
"""
_FEW_STEPS: Final = """
The few-step LoRAs of the presets `fast` and `draft` are several times faster and change the picture (less
motion, more contrast, the negative prompt is dead at cfg 1), so they are never added by themselves.
"""
_SETS: Final = """
## What is known by name

Names of files are looked up in this table (`comfy/wan/model_table.py`); the first row that fits counts. It
tells the transformer, the expert, the steps that a file was distilled for and its size: weights times the
bits of the precision in the name, GGUF kinds included. A worker's own files count by their size on disk. A
name that leaves the model's size open is taken for the usual one, and `farm plan` says that it is a guess.

| set | what | files | steps | weights or size | goes with | source |
| --- | --- | --- | --- | --- | --- | --- |
"""


def templates_page() -> str:
    """The page about templates."""
    return _TEMPLATES + "".join("\n".join(_template(each)) for each in TEMPLATES.values())


def models_page() -> str:
    """The page about model files."""
    users: dict[tuple[str, str], dict[str, list[str]]] = {}
    for template in TEMPLATES.values():
        for preset in template.presets:
            for file in model_files(template.example(preset=preset)):
                users.setdefault((file.folder, file.name), {}).setdefault(template.name, []).append(preset)
    rows = (_file_row(*file, used) for file, used in sorted(users.items()))
    sets = (_set_row(row) for row in MODEL_SETS)
    return _MODELS + "\n".join(rows) + "\n" + _FEW_STEPS + _SETS + "\n".join(sets) + "\n"


def _template(template: Template) -> Iterator[str]:
    yield f"\n## `{template.name}`\n"
    yield f"{template.title}. Settings from {template.source}.\n"
    yield "| parameter | takes | unit | default | meaning |"
    yield "| --- | --- | --- | --- | --- |"
    yield from (_parameter_row(each) for each in template.parameters)
    yield "\n| preset | steps | cfg | shift | size | frames | what |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for name, preset in template.presets.items():
        size = f"{preset.width}×{preset.height}"
        numbers = f"{preset.steps} | {preset.cfg:g} | {preset.shift:g} | {size} | {preset.frames}"
        yield f"| `{name}` | {numbers} | {preset.help} |"
    yield ""


def _parameter_row(parameter: Parameter) -> str:
    name = f"`{parameter.name}`" + (" (needed)" if parameter.required else "")
    default = parameter.by_default
    if parameter.default is not None:
        shown = str(parameter.default).lower() if isinstance(parameter.default, bool) else parameter.default
        default = "WAN's own, in Chinese" if shown == NEGATIVE else f"`{shown}`"
    return f"| {name} | {parameter.takes} | {parameter.unit} | {default} | {parameter.help} |"


def _set_row(row: ModelSet) -> str:
    size = f"{row.weights / 1e9:.2f}e9" if row.weights else f"{row.gib:.2f} GiB" if row.gib else "–"
    if not row.is_open:
        size = "none: a service"
    steps = str(row.steps or "–")
    cells = (
        row.name,
        row.kind.value,
        ", ".join(row.experts) or "–",
        steps,
        size,
        ", ".join(row.goes_with) or "–",
    )
    return f"| {' | '.join(cells)} | {row.source} |"


def _file_row(folder: str, name: str, used: dict[str, list[str]]) -> str:
    size = file_bytes(name, folder)
    gib = "–" if size is None else f"{size / GIB:.2f}"
    shown = []
    for template, presets in used.items():
        every = len(presets) == len(TEMPLATES[template].presets)
        shown.append(f"`{template}`" + ("" if every else f" ({', '.join(presets)})"))
    return f"| `{folder}` | `{name}` | {gib} | {', '.join(shown)} |"
