"""How often Python looks for garbage in reference cycles."""

from __future__ import annotations

import gc
from typing import Final

# Python's own 700 is for small programs. A worker's start makes 200,000 objects that stay, and looked through
# them 270 times: a seventh of the time of its imports.
_NEW_OBJECTS: Final = 100_000


def look_seldom() -> None:
    """Look once so many objects are new; for the first lines of a program, before all that it imports."""
    gc.set_threshold(_NEW_OBJECTS)
