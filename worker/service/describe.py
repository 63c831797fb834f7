"""What a worker says of itself, on its card and in manifests: no secret, no path."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from farm.cards import ATTENTION_FIELD, MODELS_FIELD
from farm.fleet.preflight import DEFINITIONS_FIELD
from farm.fleet.sites import FLAGS_FIELD
from farm.settings import WorkerSettings
from worker.comfyui.installed import comfyui_installed, custom_nodes
from worker.comfyui.supervisor import ComfySupervisor
from worker.gate import Gate
from worker.gpu.card import GpuCard
from worker.gpu.watch import GpuWatch
from worker.jobs.at_work import AtWork
from worker.machine import Machine
from worker.plan import host
from worker.plan.load_plan import LoadPlan
from worker.plan.model_files import models_folder
from worker.service.definitions import Definitions
from worker.service.epoch import EpochWatch
from worker.service.leaving import Leaving
from worker.service.model_shelf import ModelShelf
from worker.service.wellness import Wellness
from worker.watchdog import Watchdog


class SelfPortrait:
    """Makes the card of one worker, out of what its parts know."""

    def __init__(
        self,
        name: str,
        settings: WorkerSettings,
        gate: Gate,
        machine: Machine,
        *,
        wellness: Wellness,
        leaving: Leaving,
        definitions: Definitions,
        epoch: EpochWatch,
        shelf: ModelShelf,
        at_work: AtWork,
    ) -> None:
        """Keep whom to ask; nothing is read yet."""
        self._name = name
        self._settings = settings
        self._gate = gate
        self._machine = machine
        self._wellness = wellness
        self._leaving = leaving
        self._definitions = definitions
        self._epoch = epoch
        self._watchdog: Watchdog | None = None
        self._shelf = shelf
        self._at_work = at_work
        self._installed: tuple[int, dict[str, Any]] = (-1, {})  # of which start of ComfyUI

    def watch(self, watchdog: Watchdog) -> None:
        """Tell from now on what the consumer's watchdog finds: it comes last, with Celery's connection."""
        self._watchdog = watchdog

    def facts(self) -> dict[str, Any]:
        """What stays the same from job to job, and is in every manifest."""
        return worker_facts(self._name, self._machine.gpu, self._machine.comfy)

    def card(self, *, vram_gib: int) -> dict[str, Any]:
        """All of it, as it is now.

        Args:
            vram_gib: the VRAM class whose jobs it takes.
        """
        machine, told, proof = self._machine, self._leaving.ordered, self._machine.proof()
        forgot_at = self._epoch.forgot_at
        return {
            **self.facts(),
            "pid": os.getpid(),
            **resources_now(machine.watch, machine.comfy, self._folders()),
            "vram_gib": vram_gib,
            "state": machine.comfy.state.value,
            "not_fetching": sorted(self._gate.closed_for),
            "trouble": machine.trouble or self._illness() or self._deafness(),
            "drain": told.value if told else None,
            "redis_forgot_at": forgot_at.isoformat() if forgot_at else None,
            "quarantine": self._quarantine(),
            "nvenc": asdict(machine.nvenc) if machine.nvenc else None,
            "proof": asdict(proof) if proof is not None else None,
            "jobs": {job_id: asdict(progress) for job_id, progress in self._at_work.jobs().items()},
            "attempts_ended": self._at_work.outcomes(),
            MODELS_FIELD: self._shelf.facts(),
            "warm_models": machine.warm.files(),
            "loads": machine.warm.loads(),
            "attention": self._attention(),
            **self._code(),
            FLAGS_FIELD: self._flags(),
            DEFINITIONS_FIELD: self._definitions.digest,
            "node_classes": self._definitions.classes,
        }

    def _flags(self) -> list[str]:
        """Flags that ComfyUI runs with; their values may be paths."""
        facts = self._machine.comfy.facts()
        given = facts.argv if facts is not None else ()
        return sorted({word.partition("=")[0] for word in given if word.startswith("--")})

    def _code(self) -> dict[str, Any]:
        """What ComfyUI's process has imported: as it was installed when that process began."""
        generation = self._machine.comfy.generation
        if generation != self._installed[0]:
            comfyui = comfyui_installed(self._settings)
            nodes = {name: asdict(node) for name, node in custom_nodes(self._settings).items()}
            facts = {"comfyui_revision": comfyui.revision if comfyui else None, "custom_nodes": nodes}
            self._installed = (generation, facts)
        return self._installed[1]

    def _attention(self) -> dict[str, Any] | None:
        known = self._machine.attention.known if self._machine.attention is not None else None
        return asdict(known) if known is not None else None

    def _illness(self) -> str | None:
        illness = self._wellness.quarantine.illness
        return f"out of service: {illness.reason}" if illness is not None else None

    def _deafness(self) -> str | None:
        return self._watchdog.trouble if self._watchdog is not None else None

    def _quarantine(self) -> dict[str, Any] | None:
        illness = self._wellness.quarantine.illness
        if illness is None:
            return None
        return {"code": illness.code, "reason": illness.reason, "probes": illness.probes}

    def _folders(self) -> dict[str, Path]:
        """Where models are, and where a worker writes."""
        models = models_folder(self._settings)
        named = {"work": self._settings.data_dir}
        return named | {"models": models} if models is not None else named


def worker_facts(name: str, gpu: GpuCard | None, comfy: ComfySupervisor) -> dict[str, Any]:
    """What stays the same from job to job."""
    facts = comfy.facts()
    return {
        "name": name,
        "gpu": _gpu_facts(gpu),
        "load_plan": _plan_facts(comfy.plan),
        "comfyui_version": facts.version if facts else None,
        "torch_version": facts.torch if facts else None,
        "python_version": facts.python if facts else None,
        ATTENTION_FIELD: _attention(facts.argv if facts else ()),
        "emulated": comfy.is_emulator,
    }


def _attention(argv: Sequence[str]) -> str:
    """The back-end that ComfyUI was told to use for all models; "default" when it was told none."""
    told = next((each for each in argv if each.startswith("--use-") and each.endswith("-attention")), None)
    return "default" if told is None else told.removeprefix("--use-").removesuffix("-attention")


def resources_now(
    watch: GpuWatch | None, comfy: ComfySupervisor, folders: Mapping[str, Path]
) -> dict[str, Any]:
    """Memory and disk at this moment, in bytes. `gpu_trouble` tells when the card cannot be used any more.

    Args:
        folders: what for -> where; of each the free space is told.
    """
    memory = host.host_memory()
    now: dict[str, Any] = {
        "ram_total_bytes": memory.total_bytes,
        "ram_available_bytes": memory.available_bytes,
        "comfyui_rss_bytes": host.rss_bytes(comfy.pid) if comfy.pid is not None else None,
        "worker_rss_bytes": host.rss_bytes(os.getpid()),
        "disk_free_bytes": {what: host.disk_space(folder).free_bytes for what, folder in folders.items()},
    }
    if watch is not None:
        now |= _card_now(watch)
    return now


def _card_now(watch: GpuWatch) -> dict[str, Any]:
    if watch.trouble is not None:
        return {"gpu_trouble": str(watch.trouble)}
    card = watch.card
    return {
        "vram_used_bytes": card.used_bytes,
        "vram_free_bytes": card.free_bytes,
        "gpu_temperature_c": card.temperature_c,
        "gpu_ecc_uncorrected": card.ecc_uncorrected,
        "gpu_processes": [asdict(process) for process in card.processes],
    }


def _gpu_facts(gpu: GpuCard | None) -> dict[str, Any] | None:
    if gpu is None:
        return None
    return {
        "name": gpu.name,
        "uuid": gpu.uuid,
        "index": gpu.index,
        "vram_total_bytes": gpu.total_bytes,
        "compute_capability": list(gpu.compute_capability) if gpu.compute_capability else None,
        "driver": gpu.driver,
        "parent_uuid": gpu.parent_uuid,
        "ecc": gpu.ecc,
        "has_nvenc": gpu.has_nvenc,
    }


def _plan_facts(plan: LoadPlan) -> dict[str, Any]:
    return {
        "mode": plan.mode.value,
        "flags": list(plan.flags),
        "reserve_bytes": plan.reserve_bytes,
        "reasons": list(plan.reasons),
    }
