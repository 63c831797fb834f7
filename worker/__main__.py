"""``python -m worker``: one worker for one card; ``python -m worker up``: one for each card."""

from __future__ import annotations

import os
import sys

from comfy.log.foreign import forgive_encodings, plain
from farm.errors import FarmError
from farm.process.privacy import close_to_others
from worker.errors import WorkerError
from worker.exits import EX_CONFIG
from worker.up import up


def main_script() -> None:
    """The console script ``farm-worker``."""
    close_to_others()  # before all that takes time: the environment holds secrets
    forgive_encodings()
    arguments = sys.argv[1:]
    if arguments[:1] == ["--strict"]:
        os.environ["FARM_STRICT"] = "true"  # as `up --strict`; what follows is Celery's
        arguments = arguments[1:]
    if arguments[:1] != ["up"]:
        # Only now: the import reads the environment and makes the Celery app.
        from worker.one import main

        main(arguments)
        return
    try:
        sys.exit(up(arguments[1:]))
    except (FarmError, WorkerError) as exc:
        sys.stderr.write(plain(f"farm-worker: {exc}\n"))
        sys.exit(EX_CONFIG)


if __name__ == "__main__":
    main_script()
