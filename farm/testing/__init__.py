"""For tests, and for who builds on the farm: store, storage and bell without a server.

The contract tests hold each to the same promises as the form that production uses.
"""

from farm.testing.bell import PlainBell
from farm.testing.memory.store import MemoryJobStore
from farm.testing.storage import FolderStorage

__all__ = ["FolderStorage", "MemoryJobStore", "PlainBell"]
