"""How often Python looks for garbage in reference cycles."""

from __future__ import annotations

import gc
from typing import Final

# Python's own 700 is for small programs: a worker's start makes 200,000 objects that stay, and looked
# through them 270 times, for a twentieth of its imports. A tenth of the looks is no slower than none.
_NEW_OBJECTS: Final = 10_000


def look_seldom() -> None:
    """Look once so many objects are new; for the first lines of a program, before all that it imports."""
    gc.set_threshold(_NEW_OBJECTS)
