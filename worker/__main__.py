"""``python -m worker``: one worker for one card; ``python -m worker up``: one for each card."""

from __future__ import annotations

import os
import sys

from comfy.log.foreign import forgive_encodings, plain
from farm.errors import FarmError
from farm.installed import MODULES_OF_WORKER, how_to_install, is_installed
from farm.process.garbage import look_seldom
from farm.process.privacy import close_to_others
from worker.errors import WorkerError
from worker.exits import EX_CONFIG


def main_script() -> None:
    """The console script ``farm-worker``."""
    close_to_others()  # before all that takes time: the environment holds secrets
    forgive_encodings()
    look_seldom()
    missing = [module for module in MODULES_OF_WORKER if not is_installed(module)]
    if missing:
        sys.stderr.write(f"farm-worker: {', '.join(missing)} not installed: {how_to_install('worker')}\n")
        sys.exit(EX_CONFIG)
    arguments = sys.argv[1:]
    if arguments[:1] == ["--strict"]:
        os.environ["FARM_STRICT"] = "true"  # as `up --strict`; what follows is Celery's
        arguments = arguments[1:]
    # Only now: these need the extra, and `one` reads the environment and makes the Celery app.
    if arguments[:1] != ["up"]:
        from worker.one import main

        main(arguments)
        return
    from worker.up import up

    try:
        sys.exit(up(arguments[1:]))
    except (FarmError, WorkerError) as exc:
        sys.stderr.write(plain(f"farm-worker: {exc}\n"))
        sys.exit(EX_CONFIG)


if __name__ == "__main__":
    main_script()
