"""For tests, and for who builds on the farm: store, storage and notifier without a server.

The contract tests hold each to the same promises as the form that production uses.
"""

from farm.testing.memory.store import MemoryJobStore
from farm.testing.notifier import PlainNotifier
from farm.testing.storage import FolderStorage

__all__ = ["FolderStorage", "MemoryJobStore", "PlainNotifier"]
