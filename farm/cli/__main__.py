"""The console script, and ``python -m farm.cli``: a Ctrl-C may come before the command line is loaded."""

from __future__ import annotations

import os
import signal

from farm.process.garbage import look_seldom

_INTERRUPTED = 130  # as `farm.cli.terminal.exits` has it, which is not loaded yet


def main() -> None:
    """Load the command line and run it; whoever interrupts that sees no traceback."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    look_seldom()
    # Only now: these take a fifth of a second on a quick machine, and seconds on a busy one.
    from farm.cli.main import main as run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
