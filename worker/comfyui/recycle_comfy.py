"""The recycler of a supervised ComfyUI: what it holds by its process and by NVML."""

from __future__ import annotations

from collections.abc import Callable

from comfy.wan.models import GIB
from farm.settings.worker import WorkerSettings
from worker.comfyui.recycle import RecycleLimits, Recycler, Usage
from worker.comfyui.supervisor import ComfySupervisor
from worker.errors import GpuUnusable
from worker.gpu.card import GpuCard, read_card
from worker.plan.host import rss_bytes


def recycler_of(
    supervisor: ComfySupervisor, settings: WorkerSettings, *, on_free: Callable[[], None]
) -> Recycler:
    """A recycler with the limits of the settings; one that is only attached is never restarted.

    Args:
        on_free: called when ComfyUI is told to let go of all models.
    """

    def free() -> None:
        supervisor.client().free(unload_models=True, free_memory=True)
        on_free()

    return Recycler(
        RecycleLimits(
            jobs=settings.recycle_jobs,
            rss_bytes=int(settings.recycle_rss_gib * GIB),
            vram_bytes=int(settings.recycle_vram_gib * GIB),
        ),
        usage=lambda: _usage(supervisor),
        free=free,
        restart=supervisor.request_restart,
    )


def _usage(supervisor: ComfySupervisor) -> Usage:
    pid = supervisor.pid
    return Usage(
        rss_bytes=rss_bytes(pid) if pid is not None else None,
        vram_bytes=_vram_bytes(supervisor.gpu, pid) if supervisor.gpu is not None else None,
    )


def _vram_bytes(before: GpuCard, pid: int | None) -> int | None:
    """What ComfyUI holds: its own line where the driver lists it, else what is used more than before it."""
    try:
        now = read_card(before.uuid)
    except GpuUnusable:
        return None
    own = [item.used_bytes for item in now.processes if item.pid == pid]
    if own and own[0] is not None:
        return own[0]
    return max(now.used_bytes - before.used_bytes, 0)
