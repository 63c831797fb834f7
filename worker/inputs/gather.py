"""All input files of a job, fetched side by side before it takes the GPU."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Final

from farm.errors import InputUnavailable, TransferStopped
from worker.inputs.cache import CachedInput, InputCache

AT_ONCE: Final = 8  # fetches of one job
PATIENCE_S: Final = 2.0  # how long the GPU waits for inputs: most are here already, or come at once


def gather(
    cache: InputCache,
    sources: Mapping[str, str],
    *,
    holder: str,
    time_s: float,
    stop: Callable[[], bool],
    on_slow: Callable[[], None],
) -> None:
    """Have every file in the cache, held for `holder`.

    Args:
        sources: "node.input" -> address.
        time_s: for all of them together.
        stop: True ends it.
        on_slow: called once when it takes longer than a moment.

    Raises:
        InputUnavailable: one of them cannot be had, or not within the time; the others are given up.
        StorageUnavailable, TransferStopped: as `InputCache.fetch`.
    """
    deadline = time.monotonic() + time_s
    given_up = threading.Event()

    def over() -> bool:
        return given_up.is_set() or time.monotonic() > deadline or stop()

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="input") as pool:
        fetches = {
            pool.submit(cache.fetch, source, holder=holder, field=path, stop=over): path
            for path, source in sources.items()
        }
        try:
            done, coming = wait(fetches, timeout=PATIENCE_S, return_when=FIRST_EXCEPTION)
            if coming and not _failed(done):
                on_slow()
                done, _ = wait(fetches, return_when=FIRST_EXCEPTION)
            if failed := _failed(done):
                raise failed
        except TransferStopped as exc:
            if stop():
                raise
            found = f"{len(sources)} files" if len(sources) > 1 else "one file"
            reason = f"it took longer than {time_s:g} s (FARM_INPUTS_TIME_S)"
            raise InputUnavailable(f"of {found}", reason) from exc
        finally:
            given_up.set()
            pool.shutdown(wait=True, cancel_futures=True)


def _failed(done: set[Future[CachedInput]]) -> BaseException | None:
    return next((exc for each in done if (exc := each.exception()) is not None), None)
