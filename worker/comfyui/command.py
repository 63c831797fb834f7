"""``python -m worker.comfyui.command``: the load plan of this machine or a named card, explained."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from comfy.generations import NEWEST
from comfy.wan.cards import IDLE_BYTES, known_card, no_card
from farm.errors import FarmError
from farm.settings.worker import WorkerSettings
from worker.comfyui.here import plan_here
from worker.comfyui.launch import ComfyKind, Target, find_target, probe_flags
from worker.errors import WorkerError
from worker.gpu.card import GIB, GpuCard, find_card
from worker.plan.flags import AcceptedFlags, flags_of_version
from worker.plan.host import disk_space, host_memory
from worker.plan.load_plan import LoadMode, LoadPlan
from worker.plan.model_files import models_folder

_REFUSED: Final = 78  # sysexits.h, as the worker itself ends when its set-up is wrong


class BadQuestion(WorkerError):
    """What was asked for cannot be planned; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A plan and what it was made for."""

    plan: LoadPlan
    card: GpuCard | None
    ram_bytes: int
    comfyui: str  # a version, or what is installed


def run(arguments: Sequence[str]) -> int:
    """Print the plan; the exit code is 0, or 78 when the set-up is wrong."""
    given = _parser().parse_args(arguments)
    try:
        explained = explain(given)
    except (FarmError, WorkerError) as exc:
        sys.stderr.write(f"{exc}\n")
        return _REFUSED
    text = json.dumps(as_json(explained), indent=2) if given.json else as_text(explained)
    sys.stdout.write(text + "\n")
    return 0


def explain(given: argparse.Namespace) -> Explained:
    """Make the plan that was asked for.

    Raises:
        FarmError, WorkerError: settings, card, ComfyUI or question are wrong.
    """
    over = {"load_mode": given.mode, "models": given.models}
    settings = WorkerSettings.read(**{name: value for name, value in over.items() if value is not None})
    target, accepted, comfyui = _comfyui(settings, given.comfyui)
    pretended = given.gpu is not None or given.vram is not None
    card = pretended_card(given.gpu, given.vram) if pretended else find_card()
    ram_bytes = host_memory().total_bytes if given.ram is None else int(given.ram * GIB)
    plan = plan_here(settings, target, accepted, card, host_ram_bytes=ram_bytes, assume_models=True)
    folder = models_folder(settings)
    if folder is not None:
        free = disk_space(folder).free_bytes / GIB
        plan = plan.with_reasons(f"{free:.0f} GiB are free where the models are")
    return Explained(plan=plan, card=card, ram_bytes=ram_bytes, comfyui=comfyui)


def pretended_card(name: str | None, vram_gib: float | None) -> GpuCard:
    """An idle card of this name and size, as NVML would read it.

    Raises:
        BadQuestion: the name is not known, and no size is given.
    """
    known = known_card(name) if name is not None else None
    vram_mib = known.vram_mib if known is not None else None
    if vram_mib is None and vram_gib is None:
        raise BadQuestion(no_card(name or ""))
    total = int(vram_gib * GIB) if vram_gib is not None else (vram_mib or 0) * 2**20
    used = IDLE_BYTES
    if total <= used:
        raise BadQuestion(f"a card of {vram_gib} GiB holds no model; give its VRAM in GiB")
    return GpuCard(
        uuid="GPU-of-that-card",
        index=0,
        name=known.name if known is not None else name or f"a card of {vram_gib:g} GiB",
        total_bytes=total,
        free_bytes=total - used,
        used_bytes=used,
        compute_capability=known.compute_capability if known is not None else None,
        driver="",
        has_nvenc=known.has_nvenc if known is not None else None,
    )


def as_json(explained: Explained) -> dict[str, Any]:
    """The plan as one JSON object."""
    plan = asdict(explained.plan)
    return {
        "card": asdict(explained.card) if explained.card is not None else None,
        "ram_bytes": explained.ram_bytes,
        "comfyui": explained.comfyui,
        "plan": {**plan, "mode": explained.plan.mode.value},
    }


def as_text(explained: Explained) -> str:
    """The plan for a person."""
    plan, card = explained.plan, explained.card
    what = "no card"
    if card is not None:
        free = f"{card.free_bytes / GIB:.1f} of {card.total_bytes / GIB:.1f} GiB free"
        what = f"{card.name}, {free}" + ("" if card.has_nvenc is not False else ", no video encoder")
    lines = [
        f"card      {what}",
        f"host      {explained.ram_bytes / GIB:.1f} GiB of memory",
        f"ComfyUI   {explained.comfyui}",
        f"mode      {plan.mode}",
        f"flags     {' '.join(plan.flags) or 'none'}",
        *(f"variable  {name}={value}" for name, value in plan.env.items()),
        *(f"because   {reason}" for reason in plan.reasons),
    ]
    return "\n".join(lines)


def _comfyui(settings: WorkerSettings, version: str | None) -> tuple[Target, AcceptedFlags, str]:
    if version is not None:
        try:
            return Target(kind=ComfyKind.INSTALLED), flags_of_version(version), version
        except ValueError as exc:
            raise BadQuestion(str(exc)) from exc
    target = find_target(settings)
    if target.kind is ComfyKind.INSTALLED:
        return target, probe_flags(target), f"as installed in {settings.comfyui_dir}"
    if target.kind is ComfyKind.ATTACHED:
        return target, AcceptedFlags(names=frozenset()), f"runs at {target.address}"
    # None is named: the plan is about a real one all the same.
    return (
        Target(kind=ComfyKind.INSTALLED),
        flags_of_version(NEWEST.version),
        f"{NEWEST} (none is installed here)",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="plan-gpu", description="Explain the load plan; start nothing.")
    parser.add_argument("--gpu", metavar="NAME", help='a card by name, as "RTX 4090"')
    parser.add_argument("--vram", metavar="GIB", type=float, help="a card of this size")
    parser.add_argument("--ram", metavar="GIB", type=float, help="a host with so much memory")
    parser.add_argument("--comfyui", metavar="VERSION", help="a version of ComfyUI, as 0.3.64 or 0.33.0")
    parser.add_argument("--mode", choices=[mode.value for mode in LoadMode], help="a mode to force")
    parser.add_argument("--models", metavar="NAMES", help="as FARM_MODELS")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
