"""Long campaigns of chaos: seeds × jobs × faults, and tables of what each kind of fault did.

    python -m bench.chaos --seeds 1 2 3 --jobs 100 --faults 60 --seconds 120 --workers 3

Exit code 1 when a sentence of the promise was broken; the seed that did it is named with its violations.
Faults overlap, so wasted renders and recovery of a kind are upper bounds: of any attempt that ran where the
fault struck and did not end well, the render, and the time until the job's next attempt or its end.
With root each worker lives in a network namespace and on a small disk of its own, unless `--processes`.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.campaign import Played, again, play
from tests.chaos.report import by_fault, by_seed, odd_exits


def main(arguments: Sequence[str]) -> int:
    """Play the seeds and print the tables; 1 when anything was broken."""
    parser = argparse.ArgumentParser(description="Break a farm, and look whether it kept its word.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--faults", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=120.0, help="over which the faults are spread")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--calm", type=float, default=300.0, help="seconds for all to end afterwards")
    parser.add_argument(
        "--long", type=float, default=120.0, help="seconds of a storage that is away for long"
    )
    parser.add_argument("--processes", action="store_true", help="no namespaces and disks, with root neither")
    parser.add_argument("--keep", type=Path, help="a folder for all that a seed leaves: logs, files, data")
    options = parser.parse_args(arguments)
    played: list[Played] = []
    with contextlib.suppress(KeyboardInterrupt):  # what was played by then is worth a table
        for seed in options.seeds:
            played.append(_play(seed, options))
            _tell(played[-1], options)
    print(f"\n{by_fault(played)}\n\n{by_seed(played)}")
    return 1 if any(each.violations for each in played) else 0


def _tell(played: Played, options: argparse.Namespace) -> None:
    """What came of one seed, at once: the next may take long."""
    print(by_seed([played]).splitlines()[1], flush=True)
    unended = [f"has not ended: {each}" for each in played.waits_for]
    for line in (*played.violations, *unended, *odd_exits(played)):
        print(f"  {line}", flush=True)
    if played.violations:
        print(f"  again: {_again(played.seed, options)}", flush=True)


def _play(seed: int, options: argparse.Namespace) -> Played:
    with tempfile.TemporaryDirectory(prefix="farm-chaos-") as folder:
        return play(
            options.keep / f"seed{seed}" if options.keep else Path(folder),
            seed,
            jobs=options.jobs,
            faults=options.faults,
            over_s=options.seconds,
            workers=options.workers,
            calm_s=options.calm,
            nodes=not options.processes,
            long_s=options.long,
        )


def _again(seed: int, options: argparse.Namespace) -> str:
    return again(
        seed, jobs=options.jobs, faults=options.faults, over_s=options.seconds, workers=options.workers
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
