"""The worker's card: what it says of itself in Redis, refreshed while it lives."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from farm.errors import StoreUnavailable
from farm.preflight import definitions_name
from farm.store.base import JobStore

log = logging.getLogger(__name__)

REFRESH_S: Final = 5.0
TTL_S: Final = 15.0
_BLOB_TTL_S: Final = 3600.0
_STORE_AGAIN_S: Final = 600.0
_READ_AGAIN_S: Final = 60.0


class CardKeeper:
    """Publishes the card every few seconds, and at once when told that something changed."""

    def __init__(self, store: JobStore, name: str, read: Callable[[], Mapping[str, Any]]) -> None:
        self._store = store
        self._name = name
        self._read = read
        self._changed = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="card", daemon=True)

    def start(self) -> None:
        """Publish, and go on doing so."""
        self._thread.start()

    def changed(self) -> None:
        """Publish soon: the job, the phase or the health is another one."""
        self._changed.set()

    def stop(self) -> None:
        """Take the card back: the worker leaves in good order."""
        self._closing = True
        self._changed.set()
        self._thread.join(timeout=5.0)
        try:
            self._store.drop_worker(self._name)
        except StoreUnavailable:
            log.info("Card left to its end", extra={"event": "card_left", "worker": self._name})

    def _run(self) -> None:
        while not self._closing:
            try:
                self._store.put_worker(self._name, dict(self._read()), ttl_s=TTL_S)
            except StoreUnavailable as exc:
                log.debug("Card not written", extra={"event": "card_not_written", "reason": str(exc)})
            except Exception:
                log.exception("Card not made", extra={"event": "card_failed"})
            self._changed.wait(timeout=REFRESH_S)
            self._changed.clear()


class Definitions:
    """The node definitions of this worker's ComfyUI, shared with producers so that they can check jobs.

    They are half a megabyte and the same on every worker of one image: stored once, by their digest.
    """

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._digest: str | None = None
        self._generation = -1
        self._read_at = 0.0
        self._stored_at = 0.0

    @property
    def digest(self) -> str | None:
        """Name of the stored definitions; None before the first."""
        return self._digest

    def due(self, generation: int) -> bool:
        """Whether they should be read again: another start of ComfyUI, or a while ago (a model file
        may have come; reading them takes ComfyUI up to 0.3 s, so not each time)."""
        return generation != self._generation or time.monotonic() - self._read_at >= _READ_AGAIN_S

    def share(self, object_info: Mapping[str, Any], *, generation: int) -> None:
        """Store what ``/object_info`` says, unless it is there already.

        Raises:
            StoreUnavailable: it could not be stored.
        """
        text = json.dumps(object_info, sort_keys=True, separators=(",", ":")).encode()
        digest = hashlib.sha256(text).hexdigest()[:32]
        now = time.monotonic()
        if digest != self._digest or now - self._stored_at >= _STORE_AGAIN_S:
            self._store.put_blob(definitions_name(digest), zlib.compress(text, 6), ttl_s=_BLOB_TTL_S)
            self._digest, self._stored_at = digest, now
        self._generation, self._read_at = generation, now
