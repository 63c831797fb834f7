"""The servers that a measurement starts for itself."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.valkey import ValkeyServer


@contextmanager
def own_valkey() -> Iterator[str]:
    """A Valkey with an append-only file, synced every second, for as long as the block lasts; its address."""
    with tempfile.TemporaryDirectory(prefix="bench-valkey-") as folder:
        valkey = ValkeyServer(Path(folder), "--appendonly", "yes")
        valkey.start()
        try:
            yield valkey.url
        finally:
            valkey.kill()
