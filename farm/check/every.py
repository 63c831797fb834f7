"""All checks, side by side: one that waits for a dead server must not hold up the others."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from farm.check.comfyui import check_comfyui, check_server
from farm.check.finding import Finding, bad
from farm.check.machine import check_disk, check_gpu, check_python, check_video, check_wheels
from farm.check.services import check_redis, check_s3, check_variables
from farm.check.workers import check_workers

log = logging.getLogger(__name__)


def check_everything(
    folder: Path | None = None,
    *,
    comfyui_url: str | None = None,
) -> list[Finding]:
    """What was found on this machine, in a fixed order; takes as long as the slowest server (seconds).

    Args:
        folder: of the local stack that counts; default: the one that is found from here.
        comfyui_url: a ComfyUI to look at instead of the one that the settings name.
    """
    checks: list[Callable[[], list[Finding]]] = [
        lambda: check_disk(folder),  # first: without room nothing of what follows works
        check_python,
        check_variables,
        lambda: check_redis(folder),
        lambda: check_s3(folder),
        lambda: check_comfyui(folder) if comfyui_url is None else check_server(comfyui_url),
        lambda: check_workers(folder),
        check_gpu,
        check_video,
        check_wheels,
    ]
    with ThreadPoolExecutor(max_workers=len(checks)) as pool:
        return [finding for found in pool.map(_guarded, checks) for finding in found]


def passed(findings: list[Finding]) -> bool:
    """Whether nothing stands in the way."""
    return not any(finding.blocks for finding in findings)


def _guarded(check: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return check()
    except Exception as exc:
        log.exception("A check failed", extra={"event": "check_failed"})
        return [bad("check", f"a check itself failed: {type(exc).__name__}: {exc}", "please report this")]
