"""What a worker costs that has nothing to do: memory, and CPU seconds over a while.

    .venv/bin/python -m bench.idle --seconds 20

The worker alone, without its ComfyUI (the emulator here), which is shown beside it.
"""

from __future__ import annotations

import argparse
import time

import psutil

from bench.whole_farm import running_farm
from tests.support.whole_farm import WorkerProcess

_BUDGET_MB = 150
_SETTLE_S = 5.0  # after its start a worker stores node definitions and proves its plan


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    seconds = parser.parse_args().seconds
    with running_farm("bench-idle-") as farm:
        started = time.monotonic()
        worker = farm.start_worker()
        print(f"ready after {time.monotonic() - started:.2f} s")
        watch(worker, seconds)
        farm.submit().wait(60)
        time.sleep(_SETTLE_S)
        print("after one job:")
        watch(worker, seconds)


def watch(worker: WorkerProcess, seconds: float) -> None:
    """Look at both processes before and after a while in which nothing is asked of them."""
    time.sleep(_SETTLE_S)
    processes = {"worker": psutil.Process(worker.child.pid), "emulator": worker.comfy()}
    before = {name: cpu_s(process) for name, process in processes.items()}
    time.sleep(seconds)
    for name, process in processes.items():
        spent_s = cpu_s(process) - before[name]
        rss_mb = process.memory_info().rss / 1e6
        verdict = f"   {'within' if rss_mb <= _BUDGET_MB else 'ABOVE'} {_BUDGET_MB} MB" * (name == "worker")
        print(
            f"{name:>9}  RSS {rss_mb:6.1f} MB   CPU {spent_s:5.2f} s in {seconds:.0f} s"
            f" = {spent_s / seconds:6.2%}   threads {process.num_threads()}{verdict}",
            flush=True,
        )


def cpu_s(process: psutil.Process) -> float:
    """CPU seconds so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
