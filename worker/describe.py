"""What a worker says of itself, on its card and in manifests: no secret, no path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from worker import host
from worker.gpu import GpuCard
from worker.gpu_watch import GpuWatch
from worker.load_plan import LoadPlan
from worker.supervisor import ComfySupervisor


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
        "emulated": comfy.is_emulator,
    }


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
