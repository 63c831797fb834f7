"""How long a job takes beside sampling: loading, the VAE, interpolation, encoding; from published times."""

from __future__ import annotations

from typing import Final

from comfy.wan.fit import Fit
from comfy.wan.models import GIB
from comfy.wan.precision import Precision
from comfy.wan.speed import GB, Estimate, link_bytes_per_s, rate_of
from comfy.wan.workload import Workload

HOST_MARGIN_BYTES: Final = 8 * GIB  # of host memory, beside the files

# First run less second run of five documented workflows: 23 to 37 s for 33 to 35 GiB of files.
# Source: docs.comfy.org, tutorials/video/wan/wan2_2 (4090D).
_COLD: Final = (1.6 * GB, 1.2 * GB, 1.0 * GB)
_DISK: Final = (6 * GB, 4 * GB, 2 * GB)  # NVMe, where host memory does not hold the files
# 71 s of four forwards at 12.3 s each and the rest: 22 s at 640×640×81, of which encoding takes 2.
_VAE_S: Final = 20.0
_VAE_PIXELS: Final = 640 * 640 * 81
_VAE_SOURCE: Final = "what ComfyUI's documented times on a 4090D leave beside sampling, by pixels and rate"
# libx264, crf 19, medium, two cores: 1.8 s for 832×480×81, 5.6 s for 1280×720×81; NVENC or more cores: less.
_SAVE_S_PER_PIXEL: Final = 1.8 / (832 * 480 * 81)
# RIFE at 832×480×81, twice the frames: 0.8 s since March 2026, 36 s before; taken: the geometric middle.
_FRAMES_S: Final = (0.8, 5.4, 36.0)
_FRAMES_PIXELS: Final = 832 * 480 * 81
_FRAMES_SOURCE: Final = "RIFE on a 5090, old or new version (ComfyUI-Frame-Interpolation pull request 102)"


def phase_times(work: Workload, gpu: str, found: Fit, ram_bytes: int | None) -> dict[str, Estimate]:
    """Seconds by phase: "load" (of a cold worker), "swap", "vae", "frames", "save"; text is not published.

    Args:
        gpu: as NVML names it.
        ram_bytes: of the host; None: not known.
    """
    pixels = work.size.batch * work.size.width * work.size.height * work.size.frames
    out_pixels = pixels * work.output_frames / work.size.frames
    phases = {
        "load": _by_rate(work.file_bytes, _COLD, "first less second run of ComfyUI's documented workflows"),
        "save": _about(out_pixels * _SAVE_S_PER_PIXEL, 0.25, 1.5, "libx264 on two cores, measured"),
    }
    rate, known = rate_of(gpu, Precision.WIDE), rate_of("RTX 4090 D", Precision.WIDE)
    if rate is not None and known is not None:
        seconds = _VAE_S * pixels / _VAE_PIXELS * known.flops / rate.flops
        phases["vae"] = _about(seconds, 0.5, 1.8, _VAE_SOURCE)
    if work.interpolates:
        scale = pixels / _FRAMES_PIXELS * max(work.multiplier - 1, 1)
        low, taken, high = (seconds * scale for seconds in _FRAMES_S)
        phases["frames"] = Estimate(seconds=taken, low=low, high=high, source=_FRAMES_SOURCE)
    if (swap := _swap(work, gpu, found, ram_bytes)) is not None:
        phases["swap"] = swap
    return phases


def _swap(work: Workload, gpu: str, found: Fit, ram_bytes: int | None) -> Estimate | None:
    """The experts taking turns on the card."""
    experts = work.experts()
    if ram_bytes is not None and ram_bytes < work.file_bytes + HOST_MARGIN_BYTES:
        again = max(each.file_bytes for each in experts)
        return _by_rate(again, _DISK, "an expert from disk again: host memory does not hold the files")
    if found.all_stay or len(experts) < 2:
        return None
    slow, link, fast = link_bytes_per_s(gpu)
    swapped = sum(each.resident_bytes for each in experts)
    return _by_rate(swapped, (fast, link, slow), f"the experts over the bus at {link / GB:g} GB/s")


def _by_rate(size_bytes: float, rates: tuple[float, float, float], source: str) -> Estimate:
    """`rates` in bytes per second: at best, taken, at worst."""
    best, taken, worst = rates
    return Estimate(seconds=size_bytes / taken, low=size_bytes / best, high=size_bytes / worst, source=source)


def _about(seconds: float, low: float, high: float, source: str) -> Estimate:
    return Estimate(seconds=seconds, low=seconds * low, high=seconds * high, source=source)
