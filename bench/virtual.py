"""Days of a farm's life under a virtual clock, seed by seed; what fails can be shrunk.

    python -m bench.virtual --seeds 1 100 --faults 50
    python -m bench.virtual --seeds 17 --shrink

Exit code 1 when a sentence of the promise was broken. A move is a script that Valkey carried out.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.support.valkey import ValkeyServer
from tests.virtual.plan import Fault, Plan, make_plan
from tests.virtual.play import Played, play, shrink


def main(arguments: Sequence[str]) -> int:
    """Play the seeds; 1 when anything was broken."""
    parser = argparse.ArgumentParser(description="Break a farm that lives by a virtual clock.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="one, or the first and the last")
    parser.add_argument(
        "--seconds", type=float, default=1200.0, help="of work and faults, by the virtual clock"
    )
    parser.add_argument("--spells", type=int, default=1, help="that these come in")
    parser.add_argument("--every", type=float, default=0.0, help="seconds from one spell to the next")
    parser.add_argument("--jobs", type=int, default=60)
    parser.add_argument("--faults", type=int, default=50)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", type=Fault, default=list(Fault), choices=list(Fault))
    parser.add_argument("--shrink", action="store_true", help="tell the least that fails as the seed does")
    options = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    played = []
    with _server() as (server, folder):
        for seed in range(options.seeds[0], options.seeds[-1] + 1):
            plan = make_plan(
                seed,
                for_s=options.seconds,
                jobs=options.jobs,
                faults=options.faults,
                workers=options.workers,
                kinds=tuple(options.kinds),
                spells=options.spells,
                every_s=options.every,
            )
            played.append(_play(plan, server, folder))
            _tell(played[-1])
            if played[-1].violations and options.shrink:
                _tell_least(plan, server, folder)
    moves, real_s = sum(each.moves for each in played), sum(each.real_s for each in played)
    hours = sum(each.virtual_s for each in played) / 3600
    print(f"{hours:.1f} h of a farm in {real_s:.0f} s: {moves} moves, {60 * moves / real_s:.0f} a minute")
    return 1 if any(each.violations for each in played) else 0


def _play(plan: Plan, server: redis.Redis, folder: Path) -> Played:
    shutil.rmtree(folder / "play", ignore_errors=True)
    return play(plan, server, folder / "play")


def _tell(played: Played) -> None:
    verdict = f"{len(played.violations)} violations" if played.violations else "kept"
    print(
        f"seed {played.plan.seed}: {verdict}; {len(played.history.stories)} jobs, "
        f"{len(played.plan.faults)} faults, {len(played.history.runs)} renders, {played.moves} moves, "
        f"{played.virtual_s / 60:.0f} min in {played.real_s:.1f} s",
        flush=True,
    )
    for violation in played.violations:
        print(f"  {violation}", flush=True)


def _tell_least(plan: Plan, server: redis.Redis, folder: Path) -> None:
    breaches = {each.breach for each in _play(plan, server, folder).violations}
    least = shrink(
        plan, lambda tried: bool(breaches & {each.breach for each in _play(tried, server, folder).violations})
    )
    print("  the least that fails so:")
    for part in (*least.jobs, *least.faults):
        print(f"    {part}")
    for violation in _play(least, server, folder).violations:
        print(f"    {violation}", flush=True)


@contextmanager
def _server() -> Iterator[tuple[redis.Redis, Path]]:
    with tempfile.TemporaryDirectory(prefix="farm-virtual-") as name:
        folder = Path(name)
        valkey = ValkeyServer(folder, "--appendonly", "no", "--unixsocket", str(folder / "socket"))
        valkey.start()
        try:
            with redis.Redis(unix_socket_path=str(folder / "socket")) as client:
                yield client, folder
        finally:
            valkey.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
