"""Health checks of containers: ``python -m farm.check.health worker NAME | redis | http URL``."""

from __future__ import annotations

import sys
import urllib.request
from collections.abc import Sequence

from farm.errors import FarmError
from farm.notifier import store_at
from farm.settings.redis import RedisSettings

HTTP_TIMEOUT_S = 5.0


def main(arguments: Sequence[str]) -> None:
    """Exit with 0 if the named thing is well, else with 1 and the reason."""
    try:
        problem = examine(arguments)
    except (FarmError, OSError) as exc:
        problem = str(exc)
    sys.exit(problem)


def examine(arguments: Sequence[str]) -> str | None:
    """What is wrong; None if nothing is.

    Raises:
        StoreUnavailable: Redis does not answer.
        OSError: the URL does not.
    """
    match arguments:
        case ["worker", name]:
            workers = store_at(RedisSettings.read()).workers()
            serves = any(each.name == name and not each.is_starting for each in workers)
            return None if serves else f"worker {name} says nothing in Redis: it is not ready, or it hangs"
        case ["redis"]:
            store_at(RedisSettings.read()).ping()
            return None
        case ["http", url]:
            direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with direct.open(url, timeout=HTTP_TIMEOUT_S):
                return None
        case _:
            return "usage: python -m farm.check.health worker NAME | redis | http URL"


if __name__ == "__main__":
    main(sys.argv[1:])
