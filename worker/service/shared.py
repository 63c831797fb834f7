"""What is too large for a worker's status, and the same on many workers: stored once, under its digest."""

from __future__ import annotations

import hashlib
import json
import threading
import time
import zlib
from collections.abc import Callable
from typing import Any, Final

from farm.store.roles import StatusStore

_TTL_S: Final = 3600.0
_STORE_AGAIN_S: Final = 600.0


class Shared:
    """One such thing. May be called from any thread."""

    def __init__(self, store: StatusStore, name_of: Callable[[str], str]) -> None:
        """Prepare; `name_of` makes the name of the stored blob out of its digest."""
        self._store = store
        self._name_of = name_of
        self._lock = threading.Lock()
        self._digest: str | None = None
        self._stored_at = 0.0

    @property
    def digest(self) -> str | None:
        """Which one is stored now; None before the first."""
        return self._digest

    def forget(self) -> None:
        """The store has lost it: the next `put` stores it again."""
        with self._lock:
            self._digest = None

    def put(self, value: Any) -> None:
        """Have this JSON value stored, unless it is there already.

        Raises:
            StoreUnavailable: it could not be stored.
        """
        text = json.dumps(_alike(value), separators=(",", ":")).encode()
        digest = hashlib.sha256(text).hexdigest()[:32]
        with self._lock:
            now = time.monotonic()
            if digest != self._digest or now - self._stored_at >= _STORE_AGAIN_S:
                self._store.put_blob(self._name_of(digest), zlib.compress(text, 6), ttl_s=_TTL_S)
                self._digest, self._stored_at = digest, now


def _alike(value: Any) -> Any:
    """The same with its first level sorted: custom nodes are not read in the same order on every machine.

    Below that the order stays. A node's inputs are in that of the editor's widgets, which have no names.
    """
    return dict(sorted(value.items())) if isinstance(value, dict) else value
