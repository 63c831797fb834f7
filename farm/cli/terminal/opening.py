"""Links as a terminal can open them, and files opened with whatever this system opens them with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping

from rich.console import Console
from rich.style import Style
from rich.text import Text

from comfy.log.foreign import plain
from farm.cli.terminal.door import say

_ANSWER_S = 10.0  # an opener that still runs by then shows the clip itself


def say_link(console: Console, label: str, url: str) -> None:
    """A line with an address, in one piece: a terminal opens it by a click, a file keeps it as it is."""
    say(console, Text.assemble(f"{label}: ", (url, Style(link=plain(url)))))


def opener(platform: str = sys.platform, environ: Mapping[str, str] = os.environ) -> str | None:
    """The program that opens an address on this system; None when there is none, or no screen."""
    if platform == "darwin":
        return shutil.which("open")
    if "WSL_DISTRO_NAME" in environ and (found := shutil.which("wslview")):
        return found
    has_screen = environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY")
    return shutil.which("xdg-open") if has_screen else None


def open_with_system(url: str) -> bool:
    """Open an address with the program that is there for it; whether one took it."""
    if sys.platform == "win32":
        os.startfile(url)  # noqa: S606  # as a click on it
        return True
    program = opener()
    if program is None:
        return False
    try:
        shown = subprocess.Popen(
            [program, url],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # the player must outlive the command, and its Ctrl-C
        )
        return shown.wait(_ANSWER_S) == 0
    except subprocess.TimeoutExpired:
        return True
    except OSError:
        return False
