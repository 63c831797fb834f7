"""One worker: Celery with the options that Celery takes only from its command line."""

from __future__ import annotations

import platform

from farm.settings.worker import WorkerSettings
from worker.app import app, settings
from worker.errors import WorkerError
from worker.fetching.celery_internals import run_worker
from worker.gpu.card import find_card


def node_name(settings: WorkerSettings) -> str:
    """The worker's name in lists and in Flower: the configured one, else ``gpu<index>@<host>``."""
    if settings.name is not None:
        return settings.name if "@" in settings.name else f"{settings.name}@{platform.node()}"
    try:
        card = find_card()
    except WorkerError:
        card = None  # the worker says what is wrong with it when it starts
    return f"gpu{card.index}@{platform.node()}" if card is not None else f"worker@{platform.node()}"


def main(arguments: list[str]) -> None:
    """Run the worker and exit with its code; `arguments` go to Celery after ours, and win."""
    # Without mingle and gossip the worker is up a second earlier and chatters less; Flower needs neither.
    ours = ["-n", node_name(settings.worker), "--without-mingle", "--without-gossip"]
    run_worker(app, [*ours, *arguments])
