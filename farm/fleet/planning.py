"""Quotes a job before it is rendered: what it needs, and what becomes of it on each card of the fleet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from comfy.graphs.required import model_files
from comfy.wan.cards import IDLE_BYTES, known_card, no_card
from comfy.wan.forecast import EMULATED, Forecast, Target, forecast, host_bytes
from comfy.wan.memory import RESERVE_BYTES, MemoryNeed
from comfy.wan.models import GIB
from comfy.wan.pace_book import PaceBook
from comfy.wan.workload import DEFAULT_ATTENTION, Workload, graph_need, read_workload
from farm.errors import InvalidJob, Problem
from farm.fleet.model_lists import models_of
from farm.fleet.preflight import Preflight, WorkerVerdict
from farm.job import JobSpec
from farm.store.roles import FleetReader

if TYPE_CHECKING:
    from farm.status.worker import WorkerFacts, WorkerStatus

# Shown where no worker lives and none is named.
USUAL_CARDS: Final = ("RTX 4060 Ti 16GB", "RTX 4090", "RTX 5090", "L40S", "A100 80GB", "H100")


@dataclass(frozen=True, slots=True, kw_only=True)
class CardPlan:
    """The job on one card."""

    forecast: Forecast | None  # None: the graph runs no WAN model that we know
    target: Target
    worker: bool  # a live one, not a card by name
    class_gib: int | None  # what the worker serves, when that is less than the job needs
    missing: tuple[str, ...]  # what its ComfyUI would not take: nodes, models, inputs


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPlan:
    """What a job needs, and what becomes of it where."""

    title: str
    vram_gib: int  # the class that it would be queued in
    need: MemoryNeed | None
    work: Workload | None  # None: it runs no WAN model that we know
    host_bytes: int | None
    cards: tuple[CardPlan, ...]


def plan_job(
    store: FleetReader | None, spec: JobSpec, *, gpus: Sequence[str] = (), vram_gib: float | None = None
) -> JobPlan:
    """Plan a checked job on every live worker's card and on cards by name.

    Args:
        store: None where no farm is at hand: only cards by name, and only what was published of them.
        gpus: names of cards, as "RTX 4090".
        vram_gib: size of a card; beside one name in `gpus` that card's, else of a card without a name.

    Raises:
        InvalidJob: a card is not known, and no size is given.
        StoreUnavailable: the live workers cannot be read.
    """
    named = [named_target(name, vram_gib) for name in gpus] or (
        [named_target(None, vram_gib)] if vram_gib else []
    )
    verdicts = Preflight(store).verdicts(spec) if store is not None else ()
    if not named and not verdicts:
        named = [named_target(name, None) for name in USUAL_CARDS]
    workers = [verdict.worker for verdict in verdicts]
    sizes = _real_sizes(store, spec, workers) if store is not None else {}
    work = read_workload(spec.graph, sizes)
    book = PaceBook(store.paces() if store is not None else {})
    live = [_on_worker(verdict, work, book) for verdict in verdicts]
    by_name = [
        CardPlan(
            forecast=forecast(work, target, book) if work is not None else None,
            target=target,
            worker=False,
            class_gib=None,
            missing=(),
        )
        for target in named
    ]
    return JobPlan(
        title=spec.title,
        vram_gib=spec.requirements.vram_gib,
        need=graph_need(spec.graph, sizes),
        work=work,
        host_bytes=host_bytes(work) if work is not None else None,
        cards=(*live, *by_name),
    )


def target_of(worker: WorkerFacts) -> Target:
    """A worker as a target on which a graph might run."""
    gpu, plan = worker.gpu, worker.load_plan
    total = gpu.vram_total_bytes if gpu is not None else None
    if total is None:
        total = (worker.vram_gib or 0) * GIB
    return Target(
        name=worker.name,
        gpu=EMULATED if worker.emulated else (gpu.name if gpu is not None else "") or "no card",
        # Not what is free now: that is less by the models that its ComfyUI holds.
        free_bytes=total - IDLE_BYTES,
        reserve_bytes=max(plan.reserve_bytes, RESERVE_BYTES),
        ram_bytes=worker.ram_total_bytes,
        mode=plan.mode or "balanced",
        comfyui=worker.comfyui_version or "",
        attention=worker.attention_backend or DEFAULT_ATTENTION,
    )


def _on_worker(verdict: WorkerVerdict, work: Workload | None, book: PaceBook) -> CardPlan:
    target = target_of(verdict.worker)
    return CardPlan(
        forecast=forecast(work, target, book) if work is not None else None,
        target=target,
        worker=True,
        class_gib=verdict.class_gib,
        missing=tuple(map(str, verdict.problems)),
    )


def named_target(name: str | None, vram_gib: float | None) -> Target:
    """A card by name or size, that does nothing else.

    Raises:
        InvalidJob: the card is not known, and no size is given.
    """
    known = known_card(name) if name is not None else None
    vram_mib = known.vram_mib if known is not None else None
    if vram_mib is None and vram_gib is None:
        raise InvalidJob([Problem(field="gpu", message=no_card(name or ""))])
    total = int(vram_gib * GIB) if vram_gib is not None else (vram_mib or 0) * 2**20
    shown = known.name if known is not None else name or f"a card of {vram_gib:g} GiB"
    return Target(name=shown, gpu=shown, free_bytes=total - IDLE_BYTES)


def _real_sizes(store: FleetReader, spec: JobSpec, workers: Iterable[WorkerStatus]) -> dict[str, int]:
    """Name as in the graph -> bytes, of the model files that some live worker has on its disk."""
    on_disk: dict[str, int] = {}
    for alike in {worker.models: worker for worker in workers}.values():
        on_disk |= models_of(store, alike) or {}
    found = {}
    for file in model_files(spec.graph):
        target = str(PurePosixPath(file.folder) / file.path)
        if target in on_disk:
            found[file.name] = on_disk[target]
    return found
