"""``python -m comfy.emulator``."""

from __future__ import annotations

import sys

from comfy.emulator.arguments import parse


def main() -> int:
    """Read the command line and be a server; the exit code is ComfyUI's."""
    settings = parse(sys.argv[1:])
    # Only now: `--help` has to answer in no time, as ComfyUI's does.
    from comfy.emulator.start import run

    return run(settings)


if __name__ == "__main__":
    sys.exit(main())
