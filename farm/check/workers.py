"""What the workers that live have found out about their ComfyUI."""

from __future__ import annotations

from pathlib import Path

from comfy.canary.report import Verdict
from farm.check.comfyui import CANARY, judge_canary
from farm.check.finding import Finding
from farm.errors import SettingsError, StoreUnavailable
from farm.local.surroundings import settings_here
from farm.notifier import store_at
from farm.settings.redis import RedisSettings


def check_workers(folder: Path | None = None) -> list[Finding]:
    """What the canary of each live worker has found; nothing where Redis does not answer."""
    try:
        store = store_at(settings_here(RedisSettings, folder))
        workers = store.workers()
    except (SettingsError, StoreUnavailable):
        return []  # told by `check_variables` and `check_redis`
    return [
        judge_canary(
            Verdict(worker.canary.verdict), worker.canary.sentence, name=f"{CANARY} of {worker.name}"
        )
        for worker in workers
        if worker.canary is not None and worker.canary.verdict in set(Verdict)
    ]
