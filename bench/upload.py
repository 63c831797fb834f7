"""What an upload costs beside boto3's own: the same files to the same server, the two in turn.

    .venv/bin/python -m bench.upload                      # against rclone over a temporary folder
    .venv/bin/python -m bench.upload --sizes 1,20,100 --rounds 7

Ours also computes SHA-256, can be stopped, and is what a worker really calls; boto3's is `upload_file` with
the same client settings and nothing else. Each way runs in a process of its own, so that the peak of memory
is its own; the order changes with each round, so that a busy moment hits both.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from farm.settings.s3 import S3Settings
from tests.support.s3 import S3Server, running_rclone

_BUDGET = 0.8  # of boto3's throughput


def main() -> None:
    """Run and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1,20,100", help="MiB, with commas")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--one", help=argparse.SUPPRESS)  # a child: "ours" or "boto3"
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        serve_rounds(arguments.one, arguments.file)
        return
    with (
        tempfile.TemporaryDirectory(prefix="bench-upload-") as folder,
        running_rclone(Path(folder)) as server,
    ):
        for size_mib in (int(size) for size in arguments.sizes.split(",")):
            file = Path(folder) / f"{size_mib}.mp4"
            with file.open("wb") as out:
                for _ in range(size_mib):
                    out.write(os.urandom(1 << 20))
            print_row(size_mib, compare(server, file, arguments.rounds))


def compare(server: S3Server, file: Path, rounds: int) -> dict[str, tuple[list[float], int]]:
    """Seconds of each round, and peak RSS in bytes, by way."""
    ways = {way: start_child(server, way, file) for way in ("boto3", "ours")}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds + 1):
        for way in sorted(ways, reverse=number % 2 == 1):
            took = ask(ways[way], "go")["seconds"]
            if number > 0:  # the first one makes client and connections
                seconds[way].append(took)
    peaks = {way: ask(child, "end")["peak_bytes"] for way, child in ways.items()}
    for child in ways.values():
        child.wait()
    return {way: (seconds[way], peaks[way]) for way in ways}


def print_row(size_mib: int, found: dict[str, tuple[list[float], int]]) -> None:
    """One size: medians, the ratio of each round, peaks."""
    (theirs, their_peak), (ours, our_peak) = found["boto3"], found["ours"]
    ratios = sorted(boto3 / our for boto3, our in zip(theirs, ours, strict=True))
    ratio = statistics.median(ratios)
    fastest = min(theirs) / min(ours)  # what is left when nothing else ran
    print(
        f"{size_mib:5d} MiB   boto3 {statistics.median(theirs) * 1000:7.1f} ms"
        f"   ours {statistics.median(ours) * 1000:7.1f} ms"
        f"   throughput ratio {ratio:.2f} (rounds {ratios[0]:.2f} to {ratios[-1]:.2f}, fastest {fastest:.2f})"
        f"   {'within' if ratio >= _BUDGET else 'BELOW'} budget {_BUDGET}"
        f"   peak RSS boto3 {their_peak >> 20} MiB, ours {our_peak >> 20} MiB"
    )


def start_child(server: S3Server, way: str, file: Path) -> subprocess.Popen[str]:
    """A process that uploads when it is asked to."""
    environment = {
        **os.environ,
        "FARM_S3_ENDPOINT_URL": server.url,
        "FARM_S3_BUCKET": server.bucket,
        "FARM_S3_ACCESS_KEY_ID": server.access_key_id,
        "FARM_S3_SECRET_ACCESS_KEY": server.secret_access_key,
        "FARM_S3_REGION": "us-east-1",
        "FARM_S3_PREFIX": "",
    }
    command = [sys.executable, "-m", "bench.upload", "--one", way, "--file", str(file)]
    return subprocess.Popen(
        command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def ask(child: subprocess.Popen[str], word: str) -> dict[str, Any]:
    """Say a word to the child and read its answer."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(word + "\n")
    child.stdin.flush()
    answer: dict[str, Any] = json.loads(child.stdout.readline())
    return answer


def serve_rounds(way: str, file: Path) -> None:
    """The child's side: one upload for each "go", the peak of memory at the end."""
    upload = upload_ours(file) if way == "ours" else upload_boto3(file)
    for word in sys.stdin:
        if word.strip() != "go":
            break
        started = time.perf_counter()
        upload()
        print(json.dumps({"seconds": time.perf_counter() - started}), flush=True)
    print(json.dumps({"peak_bytes": peak_rss_bytes()}), flush=True)


def peak_rss_bytes() -> int:
    """The highest RSS of this process. (`ru_maxrss` would not do: it is inherited from the parent.)"""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) << 10


def upload_ours(file: Path) -> Any:
    """As a worker does it."""
    from farm.storage import S3Storage

    storage = S3Storage(S3Settings.read())
    return lambda: storage.upload(file, f"ours/{file.name}", media_type="video/mp4")


def upload_boto3(file: Path) -> Any:
    """boto3's own transfer, with its own choice of parts and threads."""
    import boto3
    from botocore.config import Config

    settings = S3Settings.read()
    assert settings.access_key_id is not None
    assert settings.secret_access_key is not None
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=settings.endpoint_url,
        region_name=settings.region,
        aws_access_key_id=settings.access_key_id.get_secret_value(),
        aws_secret_access_key=settings.secret_access_key.get_secret_value(),
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    return lambda: client.upload_file(
        str(file), settings.bucket, f"boto3/{file.name}", ExtraArgs={"ContentType": "video/mp4"}
    )


if __name__ == "__main__":
    main()
