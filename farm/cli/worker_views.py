"""Workers as people read them: the fleet at a glance, and one worker with all that its card says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from farm.cards import MODELS_FIELD
from farm.cli.tables import plain_table
from farm.cli.words import seconds, size
from farm.fleet.proof import ProofVerdict

Card = Mapping[str, Any]


def workers_table(cards: Sequence[Card]) -> Table:
    """One line for each live worker, from its card."""
    table = plain_table("worker", "GPU", "class", "VRAM", "mode", "ComfyUI", "state", "job")
    for card in cards:
        gpu = card.get("gpu") or {}
        table.add_row(
            escape(str(card.get("name", "?"))),
            escape(str(gpu.get("name") or "none")),
            f"{card['vram_gib']} GiB" if card.get("vram_gib") else "–",
            _vram(card),
            escape(str((card.get("load_plan") or {}).get("mode") or "–")),
            _comfyui(card),
            _state(card) + "".join(f"\n[red]{escape(trouble)}[/]" for trouble in _troubles(card)),
            "\n".join(_jobs(card)) or "–",
        )
    return table


def worker_view(card: Card, models: Mapping[str, int] | None) -> RenderableType:
    """All that one worker says of itself.

    Args:
        models: its model files, folder and name -> bytes; None: not told.
    """
    facts = Table(box=None, pad_edge=False, show_header=False)
    facts.add_column(style="bold")
    facts.add_column(overflow="fold")
    for name, value in {**_work(card), **_hardware(card), **_software(card)}.items():
        if value:
            facts.add_row(name, value)
    parts: list[RenderableType] = [facts]
    if models:
        parts.append(_models_table(models, set(card.get("warm_models") or ())))
    if card.get("custom_nodes"):
        parts.append(_nodes_table(card["custom_nodes"]))
    return Group(*parts)


def _work(card: Card) -> dict[str, str]:
    ended: Mapping[str, int] = card.get("attempts_ended") or {}
    return {
        "worker": escape(str(card.get("name", "?"))),
        "state": _state(card),
        "trouble": "\n".join(f"[red]{escape(trouble)}[/]" for trouble in _troubles(card)),
        "jobs": "\n".join(_jobs(card)),
        "attempts": escape(", ".join(f"{count} {how}" for how, count in ended.items())),
        "class": f"takes jobs of up to {card['vram_gib']} GiB" if card.get("vram_gib") else "",
    }


def _hardware(card: Card) -> dict[str, str]:
    gpu: Card = card.get("gpu") or {}
    heat = card.get("gpu_temperature_c")
    disks: Mapping[str, int] = card.get("disk_free_bytes") or {}
    return {
        "GPU": escape(f"{gpu['name']} ({gpu.get('uuid')})") if gpu.get("name") else "none",
        "GPU facts": escape(", ".join(_gpu_words(gpu))),
        "VRAM": _vram(card),
        "temperature": f"{heat} °C" if heat is not None else "",
        "NVENC": _nvenc(card.get("nvenc")),
        "host RAM": _of(card.get("ram_available_bytes"), card.get("ram_total_bytes"), "free"),
        "processes": _processes(card),
        "disk free": escape(", ".join(f"{what} {size(count)}" for what, count in disks.items())),
    }


def _software(card: Card) -> dict[str, str]:
    plan: Card = card.get("load_plan") or {}
    models: Card = card.get(MODELS_FIELD) or {}
    return {
        "ComfyUI": _comfyui(card),
        "torch": escape(str(card.get("torch_version") or "")),
        "load plan": escape(" ".join([str(plan.get("mode") or "–"), *plan.get("flags", ())])),
        "why": escape("\n".join(plan.get("reasons") or ())),
        "proof": escape(", ".join(_proof_words(card.get("proof") or {}))),
        "attention": escape("\n".join(_attention_words(card.get("attention") or {}))),
        "node classes": str(card.get("node_classes") or ""),
        "models": f"{models['files']} files, {size(models.get('bytes'))}" if models.get("files") else "",
        "warm": escape("\n".join(card.get("warm_models") or ())),
        "loads": escape("\n".join(_load_words(card.get("loads") or {}))),
    }


def _gpu_words(gpu: Card) -> Iterator[str]:
    if gpu.get("compute_capability"):
        yield f"compute capability {'.'.join(map(str, gpu['compute_capability']))}"
    if gpu.get("driver"):
        yield f"driver {gpu['driver']}"
    if gpu.get("parent_uuid"):
        yield f"a MIG slice of {gpu['parent_uuid']}"
    if gpu.get("ecc") is not None:
        yield f"ECC {'on' if gpu['ecc'] else 'off'}"


_VERDICTS: Final[Mapping[str, str]] = {
    ProofVerdict.PROVEN: "as planned",
    ProofVerdict.DIFFERS: "not as planned",
    ProofVerdict.UNPROVEN: "unproven",
}


def _proof_words(proof: Card) -> Iterator[str]:
    if proof:
        yield _VERDICTS.get(str(proof.get("verdict")), "unproven")
    for name, words in (("vram_state", "VRAM state"), ("device", "device"), ("attention", "attention")):
        if proof.get(name):
            yield f"{words} {proof[name]}"
    if proof.get("dynamic_vram") is not None:
        yield f"dynamic VRAM {'on' if proof['dynamic_vram'] else 'off'}"
    if proof.get("partial_loads"):
        yield f"{proof['partial_loads']} models loaded in part"
    log: Card = proof.get("log") or {}
    heard, missing = log.get("heard") or (), log.get("missing") or ()
    if heard or missing:
        yield f"log: {len(heard)} of {len(heard) + len(missing)} kinds of line known"
    if log.get("unknown_warnings"):
        yield f"{len(log['unknown_warnings'])} warnings that are not known"


def _attention_words(attention: Card) -> Iterator[str]:
    for name, took_s in (attention.get("proven") or {}).items():
        yield f"{name}: right, {took_s * 1000:.2f} ms"
    for name, why in (attention.get("refused") or {}).items():
        yield f"{name}: {why}"


def _load_words(loads: Mapping[str, Card]) -> Iterator[str]:
    for kind, load in loads.items():
        sizes = [
            f"{load[name]:.0f} MiB {words}"
            for name, words in (("loaded_mib", "on the card"), ("offloaded_mib", "streamed"))
            if load.get(name) is not None
        ]
        yield f"{kind}: {load.get('state')}" + (f", {', '.join(sizes)}" if sizes else "")


def _processes(card: Card) -> str:
    named = {"ComfyUI": card.get("comfyui_rss_bytes"), "worker": card.get("worker_rss_bytes")}
    return ", ".join(f"{name} {size(count)}" for name, count in named.items() if count is not None)


def _nvenc(nvenc: Card | None) -> str:
    if not nvenc:
        return ""
    return "works" if nvenc.get("usable") else escape(f"does not work: {nvenc.get('reason')}")


def _vram(card: Card) -> str:
    return _of(card.get("vram_used_bytes"), (card.get("gpu") or {}).get("vram_total_bytes"), "used")


def _of(part: int | None, whole: int | None, what: str) -> str:
    if whole is None:
        return "–"
    return f"{size(part)} {what} of {size(whole)}" if part is not None else size(whole)


def _comfyui(card: Card) -> str:
    emulated = "[bold black on yellow] EMULATED [/]" if card.get("emulated") else ""
    revision = f" ({str(card['comfyui_revision'])[:10]})" if card.get("comfyui_revision") else ""
    return f"{escape(str(card.get('comfyui_version') or '–'))}{escape(revision)} {emulated}".strip()


def _state(card: Card) -> str:
    closed = ", ".join(map(str, card.get("not_fetching") or ()))
    return escape(str(card.get("state") or "?") + (f" (not fetching: {closed})" if closed else ""))


def _troubles(card: Card) -> list[str]:
    """What is wrong with a worker: what stops it, and in what its ComfyUI differs from its plan."""
    proof: Card = card.get("proof") or {}
    stops = [str(card["trouble"])] if card.get("trouble") else []
    return [
        *stops,
        *(f"not as planned: {difference}" for difference in proof.get("differences") or ()),
        *(f"unproven: {what}" for what in proof.get("unproven") or ()),
    ]


def _jobs(card: Card) -> list[str]:
    jobs: Mapping[str, Any] = card.get("jobs") or {}
    return [f"{job_id[:12]} {_at_work(now)}".strip() for job_id, now in jobs.items()]


def _at_work(progress: Card | None) -> str:
    if not progress:
        return ""
    steps = f" {progress.get('step') or 0}/{progress['steps']}" if progress.get("steps") else ""
    pace = f", {seconds(progress['seconds_per_step'])} a step" if progress.get("seconds_per_step") else ""
    return escape(f"{progress.get('phase', '')}{steps}{pace}")


def _models_table(models: Mapping[str, int], warm: set[str]) -> Table:
    table = plain_table("model file", "size", "")
    for name, count in sorted(models.items()):
        table.add_row(escape(name), size(count), "warm" if name in warm else "")
    return table


def _nodes_table(nodes: Mapping[str, Card]) -> Table:
    table = plain_table("custom node", "version", "revision")
    for name, facts in sorted(nodes.items()):
        revision = str(facts.get("revision") or "–")[:10]
        table.add_row(escape(name), escape(str(facts.get("version") or "–")), escape(revision))
    return table
