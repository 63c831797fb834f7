"""The load plan of this machine: settings, card, host and model files put before `plan_load`."""

from __future__ import annotations

import os

from farm.settings.worker import WorkerSettings
from worker.comfyui.launch import ComfyKind, Target, extra_arguments
from worker.comfyui.preload import find_tcmalloc
from worker.gpu.card import GpuCard
from worker.plan.flags import AcceptedFlags
from worker.plan.host import host_memory
from worker.plan.load_plan import LoadMode, LoadPlan, plan_attached, plan_load
from worker.plan.model_files import models_meant


def plan_here(
    settings: WorkerSettings,
    target: Target,
    accepted: AcceptedFlags,
    card: GpuCard | None,
    *,
    host_ram_bytes: int | None = None,
    assume_models: bool = False,
) -> LoadPlan:
    """Plan for a card on this host, with the models that are on its disk.

    Args:
        host_ram_bytes: default: what this host has.
        assume_models: where no model files are found, take the published sizes of the template's.

    Raises:
        ComfyUnusable: an argument is not taken, or models that were named are not there.
    """
    if target.kind is ComfyKind.ATTACHED:
        return plan_attached()
    emulated = target.kind is ComfyKind.EMULATOR
    meant = models_meant(settings, assume=assume_models)
    plan = plan_load(
        card,
        host_memory().total_bytes if host_ram_bytes is None else host_ram_bytes,
        accepted,
        emulated=emulated,
        wanted=LoadMode(settings.load_mode) if settings.load_mode is not None else None,
        models=meant.sizes,
        single_family=meant.single_family,
        extra_args=extra_arguments(settings, target, accepted),
        preload=None if emulated else find_tcmalloc(os.environ),
    )
    return plan.with_reasons(*meant.reasons)
