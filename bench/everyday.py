"""Measures what everyday work costs: jobs by the thousand submitted, canceled, fetched, listed, watched.

    python -m bench.everyday [--records 100000] [--clip-kib 512]

Starts a Valkey (append-only file on, `everysec`) and an S3 server of its own. Prints one line per figure.
Jobs are those of the built-in WAN 2.2 template; commands are timed as a person runs them, with their start.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from bench.servers import own_valkey
from bench.store import jobs, store_at
from farm import Farm, JobRequest, Selection
from farm.asking.selection import select_ids
from farm.cli.jobs.tracking import Tracker
from farm.job import Artifact, JobResult
from farm.settings.redis import RedisSettings
from farm.settings.s3 import S3Settings
from farm.storage import S3Storage
from farm.store.base import Claim
from farm.store.redis.store import RedisJobStore
from tests.support.s3 import S3Server, running_rclone

TEMPLATE = "wan22-t2v-a14b"
SUBMITS, CANCELS, DOWNLOADS, LOOKS, STARTS = 2_000, 1_000, 200, 20, 5
BATCH = 500
_T = TypeVar("_T")


def main() -> None:
    """Run every measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000, help="jobs to list and to watch")
    parser.add_argument("--clip-kib", type=int, default=512, help="size of a downloaded clip")
    chosen = parser.parse_args()
    with own_valkey() as url, tempfile.TemporaryDirectory(prefix="bench-everyday-") as folder:
        with running_rclone(Path(folder) / "s3") as server, farm_at(url, server) as farm:
            steer(farm)
            download(farm, store_at(url, "bench"), Path(folder), chosen.clip_kib << 10)
        start_up(url)
        many(url, chosen.records)


@contextmanager
def farm_at(url: str, server: S3Server) -> Iterator[Farm]:
    """A producer of these two servers."""
    storage = S3Storage(S3Settings.read(**server.settings().model_dump()))
    with Farm(redis=RedisSettings.read(url=url, namespace="bench"), storage=storage) as farm:
        yield farm


def steer(farm: Farm) -> None:
    """Submit and cancel, in batches."""

    def request(number: int) -> JobRequest:
        parameters = {"prompt": f"a red fox, take {number}", "seed": number}
        return JobRequest(template=TEMPLATE, parameters=parameters, labels=["steer"])

    submitted = timed(
        f"{SUBMITS:,} submits (submit_many)",
        lambda: farm.submit_many(request(number) for number in range(SUBMITS)),
    )
    ids = [job.job_id for job in submitted[:CANCELS]]
    timed(f"{CANCELS:,} cancels (cancel_many)", lambda: farm.cancel_many(ids))
    timed("the rest canceled, by label", lambda: farm.cancel_many(Selection(label="steer")))


def download(farm: Farm, store: RedisJobStore, folder: Path, size_bytes: int) -> None:
    """Fetch a clip of each of many jobs; then again, when all are there."""
    source = folder / "clip.mp4"
    ids = []
    for new in jobs(DOWNLOADS):
        source.write_bytes(uuid.uuid4().bytes * (size_bytes // 16))
        ids.append(rendered(farm, store, store.submit([new])[0].job_id, source))
    into = folder / "clips"
    what = f"{DOWNLOADS} downloads of {size_bytes >> 10} KiB"
    files = timed(what, lambda: [path for _, paths in farm.pull_many(ids, into) for path in paths])
    timed(f"{what}, all there already", lambda: list(farm.pull_many(ids, into)))
    if len(set(files)) != DOWNLOADS:
        raise AssertionError("files overwrote each other")


def rendered(farm: Farm, store: RedisJobStore, job_id: str, clip: Path) -> str:
    """Do what a worker does for a job, but for rendering."""
    claim = store.claim(job_id, worker="bench")
    if not isinstance(claim, Claim):
        raise TypeError(claim)
    key = f"{farm.storage.keys.attempt_prefix(job_id, claim.token)}clip.mp4"
    stored = farm.storage.upload(clip, key, media_type="video/mp4")
    artifact = Artifact(
        key=key, size_bytes=stored.size_bytes, sha256=stored.sha256, media_type="video/mp4", node_id="61"
    )
    result = JobResult(bucket=farm.storage.bucket, artifacts=(artifact,), manifest_key=f"{key}.json")
    store.succeed(job_id, claim.attempt, result, token=claim.token)
    return job_id


def start_up(url: str) -> None:
    """How long commands take that do next to nothing."""
    for arguments in (["--version"], ["--help"], ["ls"]):
        took = [run_command(url, "bench", arguments) for _ in range(STARTS)]
        say(f"farm {' '.join(arguments)}", f"{statistics.median(took):.2f} s (median of {STARTS})")


def many(url: str, count: int) -> None:
    """List and watch a long queue."""
    store = store_at(url, "bench-many")
    for _ in range(max(count // BATCH, 1)):
        store.submit(jobs(BATCH))
    shown = f"{count:,} records"
    say(f"farm ls, {shown}", f"{run_command(url, 'bench-many', ['ls']):.2f} s")
    by_label = ["ls", "--label", "batch=7", "--page", "100"]
    say(f"farm ls by label, page 100, {shown}", f"{run_command(url, 'bench-many', by_label):.2f} s")
    for search in (["--search", "nowhere"], ["--where", "seed=123456789"]):
        command = ["ls", *search]
        say(f"farm {' '.join(command)}, {shown}", f"{run_command(url, 'bench-many', command):.2f} s")
    ids = timed(f"ids of a label, {shown}", lambda: list(select_ids(store, Selection(label="batch=7"))))
    tracker = timed(f"farm watch begins, {shown}", lambda: Tracker(store, ids))
    spent, on_cpu = [], []
    for _ in range(LOOKS):
        began, began_on_cpu = time.perf_counter(), time.process_time()
        tracker.look()
        spent.append(time.perf_counter() - began)
        on_cpu.append(time.process_time() - began_on_cpu)
    took = (
        f"{statistics.median(spent) * 1000:.0f} ms, {statistics.median(on_cpu) * 1000:.0f} of them on the CPU"
    )
    say(f"farm watch, a look, {shown}", took)


def run_command(url: str, namespace: str, arguments: list[str]) -> float:
    """Seconds of a command, from its start to its end."""
    environ = {**os.environ, "FARM_REDIS_URL": url, "FARM_NAMESPACE": namespace}
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "farm.cli", *arguments], env=environ, check=True, capture_output=True
    )
    return time.perf_counter() - began


def timed(what: str, act: Callable[[], _T]) -> _T:
    """Do it, and say how long it took."""
    began, began_on_cpu = time.perf_counter(), time.process_time()
    found = act()
    on_cpu = time.process_time() - began_on_cpu
    say(what, f"{time.perf_counter() - began:.2f} s, {on_cpu:.2f} of them on this process's CPU")
    return found


def say(what: str, figure: str) -> None:
    """One line."""
    print(f"{what}: {figure}", flush=True)


if __name__ == "__main__":
    main()
