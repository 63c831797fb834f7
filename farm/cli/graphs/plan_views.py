"""A job's plan as people read it: one screen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from comfy.wan.speed import Estimate
from comfy.wan.workload import StageLoad, Workload
from farm.cli.terminal.tables import plain_table
from farm.cli.terminal.words import seconds, size
from farm.fleet.planning import CardPlan, JobPlan

_SIDE_FILES = ("text_encoders", "vae", "loras")


def plan_view(plan: JobPlan) -> RenderableType:
    """Memory by stage, class, host memory, and a line for each card."""
    parts: list[RenderableType] = [Text(plan.title, "bold")]
    if plan.work is None:
        parts.append("it runs no WAN model that the farm knows: nothing can be said of memory and time")
    else:
        parts += [_stages_table(plan.work), _needs_table(plan, plan.work)]
    parts.append(_cards_table(plan))
    sources = list(dict.fromkeys(_sources(plan)))
    parts += [Text(f"{number}) {source}", "dim") for number, source in enumerate(sources, 1)]
    return Group(*parts)


def range_words(estimate: Estimate | None) -> str:
    """``24.0 s (20.0–30.0 s)``."""
    if estimate is None:
        return "–"
    return f"{seconds(estimate.seconds)} ({seconds(estimate.low)} – {seconds(estimate.high)})"


def _stages_table(work: Workload) -> Table:
    table = plain_table("stage", "model", "weights", "activations", "least", "whole", "steps")
    for stage in work.stages:
        memory = stage.memory
        table.add_row(
            stage.label,
            f"{stage.weights.name} ({_weights_words(stage)})",
            size(stage.weights.resident_bytes),
            size(memory.activation_bytes),
            size(memory.stream_bytes),
            size(memory.full_bytes),
            _steps(stage),
        )
    return table


def _weights_words(stage: StageLoad) -> str:
    return str(stage.weights.precision) + ("" if stage.weights.certain else ", size guessed")


def _steps(stage: StageLoad) -> str:
    passes = "with guidance, 2 passes each" if stage.passes == 2 else "1 pass each"
    known = "" if stage.passes_known else " (cfg is computed: taken so)"
    windows = f", in {stage.windows} windows" if stage.windows > 1 else ""
    rounds = ", in a loop of unknown rounds" if stage.rounds is None else f", {stage.rounds} times over"
    over = "" if stage.rounds == 1 else rounds
    return f"{'?' if stage.steps is None else stage.steps}, {passes}{windows}{over}{known}"


def _needs_table(plan: JobPlan, work: Workload) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    clip = work.size.name.replace("x", "×") + ("" if work.size_known else " (a guess: it is computed)")
    others = work.file_bytes - sum(e.file_bytes for e in work.experts()) - work.of_folder(*_SIDE_FILES)
    files = {
        "text encoder": work.of_folder("text_encoders"),
        "VAE": work.of_folder("vae"),
        "LoRAs": work.of_folder("loras"),
        "others": others,
    }
    unknown = [file.name for file in work.files if file.size_bytes is None]
    rows = {
        "clip": clip,
        "files": ", ".join(f"{name} {size(count)}" for name, count in files.items() if count)
        + f"; all together {size(work.file_bytes)}",
        "not sized": ", ".join(unknown),
        "VAE peak": f"{size(work.decode_bytes)} to decode whole"
        + (f", {size(work.encode_bytes)} to encode" if work.encode_bytes else "")
        + "; in tiles 1.5 GiB",
        "VRAM class": _classes(plan),
        "host memory": f"{size(plan.host_bytes)}: the files, 8 GiB, and {size(work.frame_bytes)} of frames",
        "frames": f"{work.output_frames} are saved" if work.interpolates else "",
        "step cache": "skips steps: the job is shorter than what is said here" if work.skips_steps else "",
    }
    for name, text in rows.items():
        if text:
            table.add_row(name, text)
    return table


def _classes(plan: JobPlan) -> str:
    words = f"{plan.vram_gib} GiB"
    if plan.need is None:
        return words
    sure = "" if plan.need.certain else "; a size is guessed"
    return f"{words} at least, {plan.need.comfortable_class_gib} GiB to hold each stage whole{sure}"


def _cards_table(plan: JobPlan) -> Table:
    table = plain_table("where", "GPU", "models", "a step", "a job", "the first job", "missing, notes")
    numbers = {source: number for number, source in enumerate(dict.fromkeys(_sources(plan)), 1)}
    for names, card in _alike(plan.cards):
        found = card.forecast
        steps = dict.fromkeys(stage.step for stage in found.stages) if found is not None else {}
        known = " ".join(f"{numbers[each.source]})" for each in steps if each is not None)
        table.add_row(
            names if card.worker else "a card by name",
            card.target.gpu,
            found.fate if found is not None else "–",
            Text.assemble("\n".join(range_words(each) for each in steps), (f" {known}".rstrip(), "dim")),
            range_words(found.warm) if found is not None else "–",
            range_words(found.cold) if found is not None else "–",
            "\n".join(_notes(card)),
        )
    return table


def _alike(cards: Sequence[CardPlan]) -> Iterator[tuple[str, CardPlan]]:
    """Workers of which the same is to be said, in one row: a fleet of hundreds fits on a screen."""
    rows: dict[str, list[CardPlan]] = {}
    for card in cards:
        found = card.forecast
        said = (found.fate, found.stages, found.warm, found.cold, found.notes) if found is not None else ()
        rows.setdefault(repr((card.worker, card.target.gpu, card.class_gib, card.missing, said)), []).append(
            card
        )
    for row in rows.values():
        more = f" and {len(row) - 1} more" if len(row) > 1 else ""
        yield row[0].target.name + more, row[0]


def _notes(card: CardPlan) -> Iterator[str]:
    if card.class_gib is not None:
        yield f"serves the {card.class_gib} GiB class only"
    yield from card.missing[:5]
    if len(card.missing) > 5:
        yield f"and {len(card.missing) - 5} more"
    if card.forecast is not None:
        yield from card.forecast.notes


def _sources(plan: JobPlan) -> Iterator[str]:
    for card in plan.cards:
        for stage in card.forecast.stages if card.forecast is not None else ():
            if stage.step is not None:
                yield stage.step.source


def plan_json(plan: JobPlan) -> dict[str, Any]:
    """The whole plan as plain JSON: bytes and seconds, each estimate with its bounds and source."""
    from dataclasses import asdict

    whole = asdict(plan)
    if plan.work is not None:
        whole["work"] |= {"file_bytes": plan.work.file_bytes, "frame_bytes": plan.work.frame_bytes}
    if plan.need is not None:
        whole["need"] |= {
            "smallest_class_gib": plan.need.smallest_class_gib,
            "comfortable_class_gib": plan.need.comfortable_class_gib,
        }
    return whole
