"""How servers that tests started are ended."""

from __future__ import annotations

import signal
import subprocess

_GRACE_S = 10.0


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, frozen or not, and make it: whoever is asked can still tell what it has covered."""
    process.send_signal(signal.SIGCONT)
    process.terminate()
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
