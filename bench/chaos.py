"""Long campaigns of chaos: seeds × jobs × faults, and a table of what each kind of fault did.

    python -m bench.chaos --seeds 1 2 3 --jobs 100 --faults 60 --seconds 120 --workers 3

Exit code 1 when a sentence of the promise was broken; the seed that did it is named with its violations.
Faults overlap, so "recovery" is an upper bound: of any job under way when the fault began, whose attempt
did not end well, the time until its next attempt or its end.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.campaign import Played, play
from tests.chaos.checker import Breach, count


def main(arguments: Sequence[str]) -> int:
    """Play the seeds and print the tables; 1 when anything was broken."""
    parser = argparse.ArgumentParser(description="Break a farm, and look whether it kept its word.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--faults", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=120.0, help="over which both are spread")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--calm", type=float, default=300.0, help="seconds for all to end afterwards")
    options = parser.parse_args(arguments)
    played = []
    for seed in options.seeds:
        with tempfile.TemporaryDirectory(prefix="farm-chaos-") as folder:
            played.append(
                play(
                    Path(folder),
                    seed,
                    jobs=options.jobs,
                    faults=options.faults,
                    over_s=options.seconds,
                    workers=options.workers,
                    calm_s=options.calm,
                )
            )
        print(_line(played[-1]), flush=True)
        for violation in played[-1].violations:
            print(f"  {violation}")
    print(_table(played))
    return 1 if any(each.violations for each in played) else 0


def _line(played: Played) -> str:
    broken = count(played.violations)
    states = Counter(story.state for story in played.history.stories.values())
    return (
        f"seed {played.seed}: {len(played.history.accepted)} jobs {dict(states)}, "
        f"{len(played.faults)} faults, "
        f"lost {broken[Breach.LOST]}, doubled {broken[Breach.DOUBLED]}, "
        f"other violations {len(played.violations) - broken[Breach.LOST] - broken[Breach.DOUBLED]}, "
        f"wasted renders {played.wasted}"
    )


def _table(played: Sequence[Played]) -> str:
    rows = [f"{'fault':<16} {'times':>5} {'in flight':>9} {'worst recovery':>15}"]
    for kind in sorted({kind for each in played for kind, _, _ in each.faults}):
        moments = [(each, at, busy) for each in played for found, at, busy in each.faults if found is kind]
        worst_s = max(each.recovery_s(at) for each, at, _ in moments)
        rows.append(f"{kind:<16} {len(moments):>5} {sum(busy for *_, busy in moments):>9} {worst_s:>13.1f} s")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
