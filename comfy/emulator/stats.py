"""The body of `GET /system_stats`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any, Final

from comfy.emulator.about import about
from comfy.emulator.world import NOTICE, World

_MIB: Final = 2**20


def system_stats(world: World) -> dict[str, Any]:
    """What a server says of its machine, with one field more that says what this one is."""
    settings = world.settings
    ram_total, ram_free = ram_bytes()
    known = about(settings.generation)
    packages = {} if known.packages is None else {"comfy_package_versions": _as_list(known.packages)}
    return {
        "system": {
            "os": known.os,
            "ram_total": ram_total,
            "ram_free": ram_free,
            "comfyui_version": settings.generation.version,
            "required_frontend_version": known.frontend,
            "installed_templates_version": known.templates,
            "required_templates_version": known.templates,
            **packages,
            "python_version": sys.version,
            "pytorch_version": "2.9.1+cpu" if settings.gpu is None else "2.9.1+cu128",
            "embedded_python": False,
            "argv": list(settings.argv),
        },
        "devices": [_device(world, ram_total, ram_free)],
        "emulator": NOTICE,
    }


def _as_list(packages: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "installed": version, "required": version} for name, version in packages.items()]


def _device(world: World, ram_total: int, ram_free: int) -> dict[str, Any]:
    gpu = world.settings.gpu
    if gpu is None:
        return {
            "name": "cpu",
            "type": "cpu",
            "index": None,
            "vram_total": ram_total,
            "vram_free": ram_free,
            "torch_vram_total": ram_total,
            "torch_vram_free": ram_free,
        }
    used = int(world.residency.used_mib() * _MIB)
    total = gpu.vram_mib * _MIB
    # What the driver and torch itself take before the first model.
    free = max(0, total - used - 600 * _MIB)
    return {
        "name": f"cuda:0 {gpu.name} : cudaMallocAsync",
        "type": "cuda",
        "index": 0,
        "vram_total": total,
        "vram_free": free,
        "torch_vram_total": used,
        "torch_vram_free": 0,
    }


def ram_bytes() -> tuple[int, int]:
    """Total and free memory of this machine, in bytes."""
    page = os.sysconf("SC_PAGE_SIZE")
    return os.sysconf("SC_PHYS_PAGES") * page, os.sysconf("SC_AVPHYS_PAGES") * page
