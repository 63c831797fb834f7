"""What a job costs beside its run on ComfyUI: seconds from submit to succeeded that no node was at work.

    .venv/bin/python -m bench.overhead                      # small clip, 20 and 100 MiB, against rclone
    .venv/bin/python -m bench.overhead --sizes 0,20 --jobs 15

One real worker with the emulator, which pads its clips to the size; Valkey with its append-only file on, and
rclone's S3, all on this machine. The jobs run one after the other, so nothing of one hides behind another;
what the GPU waits between two *queued* jobs is the last column: there the upload overlaps with the next run.
Each size has a worker of its own, so that the peak of memory is its own.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from bench.servers import own_valkey
from farm.handle import Job
from tests.support.s3 import S3Server, running_rclone
from tests.support.whole_farm import WholeFarm, WorkerProcess, a_clip

_WAIT_S = 120.0
_PARTS = ("queue", "prepare", "comfy - execute", "check", "upload", "rest", "OVERHEAD")


def main() -> None:
    """Run and print a table of medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", default="0,20,100", help="MiB, with commas; 0: a small clip as it is")
    parser.add_argument("--jobs", type=int, default=15, help="of each size, after one that warms up")
    arguments = parser.parse_args()
    print("medians in ms; overhead = submit to succeeded, less ComfyUI's execution")
    print(f"{'clip':>8}  " + "  ".join(f"{part:>15}" for part in _PARTS) + "   GPU gap   worker RSS, peak")
    with tempfile.TemporaryDirectory(prefix="bench-overhead-") as name:
        folder = Path(name)
        with own_valkey() as valkey_url, running_rclone(folder / "s3") as s3:
            for size_mib in (int(size) for size in arguments.sizes.split(",")):
                measure(folder / str(size_mib), valkey_url, s3, size_mib, arguments.jobs)


def measure(folder: Path, valkey_url: str, s3: S3Server, size_mib: int, count: int) -> None:
    """One size: a worker, its jobs one by one, then as many in a row."""
    farm = WholeFarm(
        folder, valkey_url, s3.settings(prefix=f"s{size_mib}"), lease_s=15.0, renew_s=3.0, sweep_s=1.0
    )
    try:
        worker = farm.start_worker(emulator=f"--clip-mib {size_mib}")
        farm.submit().wait(_WAIT_S)
        rows = [parts_ms(farm.submit(a_clip(steps=2)).wait(_WAIT_S)) for _ in range(count)]
        queued = [farm.submit(a_clip(steps=10)) for _ in range(count)]
        for job in queued:
            job.wait(_WAIT_S)
        medians = [statistics.median(row[part] for row in rows) for part in _PARTS]
        size = f"{size_mib} MiB" if size_mib else "small"
        print(
            f"{size:>8}  "
            + "  ".join(f"{median:15.1f}" for median in medians)
            + f"   {gap_ms(worker, queued):7.1f}   {memory(worker)}",
            flush=True,
        )
    finally:
        farm.close()


def parts_ms(job: Job) -> dict[str, float]:
    """Where a job's seconds went, in ms. All clocks but the store's are the worker's."""
    record, spent_s = job.record, job.result().facts.timings_s
    assert record.finished_at is not None
    total_s = (record.finished_at - record.submitted_at).total_seconds()
    overhead_s = total_s - spent_s["execute"]
    named = {
        "queue": spent_s["queue"],
        "prepare": spent_s["prepare"],
        "comfy - execute": spent_s["comfy"] - spent_s["execute"],
        "check": spent_s["check"],
        "upload": spent_s["upload"],
    }
    found = {**named, "rest": overhead_s - sum(named.values()), "OVERHEAD": overhead_s}
    return {part: seconds * 1000 for part, seconds in found.items()}


def gap_ms(worker: WorkerProcess, jobs: Sequence[Job]) -> float:
    """Median from the end of a run to the arrival of the next one, at ComfyUI, in ms."""
    at: dict[tuple[str, str], float] = {
        (job.job_id, entry["event"]): entry["at"] for job in jobs for entry in worker.record(job.job_id)
    }
    gaps = [at[after.job_id, "posted"] - at[before.job_id, "ended"] for before, after in pairwise(jobs)]
    return statistics.median(gaps) * 1000


def memory(worker: WorkerProcess) -> str:
    """What the worker itself holds now, and at most held, without ComfyUI."""
    status = Path(f"/proc/{worker.child.pid}/status").read_text().splitlines()
    kib = {line.split(":")[0]: int(line.split()[1]) for line in status if line.startswith(("VmRSS", "VmHWM"))}
    return f"{kib['VmRSS'] >> 10} MiB, {kib['VmHWM'] >> 10} MiB"


if __name__ == "__main__":
    main()
