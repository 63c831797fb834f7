"""How soon a drained worker's job runs elsewhere: `farm drain NAME --now`, over real processes.

    .venv/bin/python -m bench.drain --rounds 10

Counted from the moment in which the order stands in Redis to the claim by the other worker, by Redis's
clock; the budget is one second.
"""

from __future__ import annotations

import argparse
import statistics

from bench.whole_farm import running_farm
from farm.store.base import Drain
from tests.support.valkey import eventually
from tests.support.whole_farm import JOB_S, WholeFarm, a_clip

_BUDGET_S = 1.0


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    with running_farm("bench-drain-") as farm:
        farm.wait_ready(farm.launch("a"), farm.launch("b"))
        took = [drained_s(farm) for _ in range(rounds)]
    median, worst = statistics.median(took), max(took)
    print(f"drained job claimed elsewhere: median {median:.3f} s, worst {worst:.3f} s of {rounds}")
    print("within the budget" if worst <= _BUDGET_S else f"OVER the budget of {_BUDGET_S:g} s")


def drained_s(farm: WholeFarm) -> float:
    """Drain the worker of a new job; seconds from the order to the other worker's claim."""
    job = farm.submit(a_clip(steps=100))
    farm.wait_step(job)
    first = str(job.record.worker)
    ordered_ms = int(farm.farm.store.ping()["now"].timestamp() * 1000)
    farm.farm.store.set_drain(first, Drain.NOW)
    eventually(lambda: job.refresh().record.worker not in (None, first), within_s=JOB_S)
    claimed = job.record.claimed_at
    assert claimed is not None
    job.cancel()
    farm.wait_final(job)
    farm.farm.store.set_drain(first, None)
    farm.wait_ready(*farm.workers)
    return claimed.timestamp() - ordered_ms / 1000


if __name__ == "__main__":
    main()
