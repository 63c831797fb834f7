"""The sites for which a graph may be judged: live workers, or a card by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

from comfy.graphs.required import model_files
from comfy.node_defs.definitions import Definitions, shipped_definitions
from comfy.rewrites.site import Site
from comfy.wan.cards import known_card
from farm.errors import InvalidJob, Problem
from farm.fleet.model_lists import models_of
from farm.fleet.planning import named_target, target_of
from farm.fleet.preflight import definitions_of
from farm.status.worker import WorkerStatus, workers_named
from farm.store.roles import FleetReader

NOWHERE: Final = "no card"


def site_by_name(gpu: str | None, vram_gib: float | None) -> Site:
    """A card that nobody has to have, with the nodes that the farm knows by itself.

    Raises:
        InvalidJob: the card is not known, and no size is given.
    """
    target = named_target(gpu, vram_gib)
    known = known_card(gpu) if gpu is not None else None
    return Site(
        definitions=shipped_definitions(),
        name=target.name,
        vram_bytes=target.free_bytes,
        nvenc=known.has_nvenc if known is not None else None,
    )


def site_nowhere() -> Site:
    """No card at all: what depends on one is not judged."""
    return Site(definitions=shipped_definitions(), name=NOWHERE)


def live_sites(store: FleetReader, graph: Mapping[str, Any], *, worker: str | None = None) -> list[Site]:
    """The live workers, those that differ in nothing that counts told once; empty where none lives.

    Args:
        worker: only this one.

    Raises:
        InvalidJob: no live worker has this name.
        StoreUnavailable: the list of workers cannot be read.
    """
    workers: Sequence[WorkerStatus] = store.workers()
    if worker is not None:
        chosen = workers_named(workers, worker)
        if not chosen:
            there = ", ".join(each.name for each in workers) or "none"
            message = f"no live worker is called {worker!r}; there are: {there}"
            raise InvalidJob([Problem(field="worker", message=message)])
        workers = chosen
    else:
        workers = [each for each in workers if not each.is_starting]  # it has not told its nodes yet
    read: dict[str, Definitions | None] = {}
    alike: dict[object, Site] = {}
    for each in workers:
        digest = each.definitions or ""
        if digest not in read:
            read[digest] = definitions_of(store, digest) if digest else None
        site = _site_of(store, each, read[digest], graph)
        same = (digest, site.vram_bytes, site.nvenc, site.emulated, site.arguments, *site.model_bytes.items())
        alike.setdefault(same, site)
    return list(alike.values())


def _site_of(
    store: FleetReader, worker: WorkerStatus, definitions: Definitions | None, graph: Mapping[str, Any]
) -> Site:
    target, trials = target_of(worker), worker.attention_trials
    on_disk = models_of(store, worker) or {}
    named = {file.name: str(PurePosixPath(file.folder) / file.path) for file in model_files(graph)}
    return Site(
        definitions=definitions if definitions is not None else shipped_definitions(),
        name=target.name,
        vram_bytes=target.free_bytes if target.free_bytes > 0 else None,
        host_ram_bytes=target.ram_bytes,
        nvenc=_encodes(worker),
        attention_proven=trials.proven if trials is not None else {},
        model_bytes={name: on_disk[path] for name, path in named.items() if path in on_disk},
        arguments=worker.comfyui_flags,
        is_live=definitions is not None,
        emulated=worker.emulated,
    )


def _encodes(worker: WorkerStatus) -> bool | None:
    if worker.gpu is not None and worker.gpu.has_nvenc is False:
        return False
    return worker.nvenc.usable if worker.nvenc is not None else None
