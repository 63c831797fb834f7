"""``python -m comfy.canary http://127.0.0.1:8188``: send one through a server that runs, and tell."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from comfy.canary.flight import run_canary
from comfy.canary.report import CanaryReport, Verdict
from comfy.canary.waiting import CanaryLimits
from comfy.log.foreign import plain
from comfy.protocol.address import ComfyAddress
from comfy.protocol.client import ComfyClient


def main(argv: Sequence[str] | None = None) -> int:
    """Print what was found; 0 unless the server cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m comfy.canary", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="its output folder on this disk")
    parser.add_argument(
        "--wait", type=float, default=30.0, metavar="SECONDS", help="behind prompts of others"
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    given = parser.parse_args(argv)
    address = ComfyAddress.parse(given.url)
    if authorization := os.environ.get("COMFYUI_AUTHORIZATION"):
        address = replace(address, headers={"Authorization": authorization})
    client = ComfyClient(address)
    try:
        report = run_canary(client, output_dir=given.output, limits=CanaryLimits(queue_s=given.wait))
    finally:
        client.close()
    told = json.dumps(report.to_json()) if given.json else _in_lines(report)
    sys.stdout.write(f"{plain(told)}\n")
    return int(report.verdict is Verdict.UNUSABLE)


def _in_lines(report: CanaryReport) -> str:
    return "\n".join([report.sentence, *(f"  {row}" for row in report.rows)])


if __name__ == "__main__":
    sys.exit(main())
