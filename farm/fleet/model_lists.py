"""The list of a worker's model files: too large for its status, so it lies beside it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from farm.errors import RecordUnreadable
from farm.limits import MOST_BLOB_BYTES, unpacked
from farm.store.roles import FleetReader

if TYPE_CHECKING:
    from farm.status.worker import WorkerStatus


def models_name(digest: str) -> str:
    """Under which name the store keeps a worker's list of model files.

    The blob is JSON, ``{"vae/wan_2.1_vae.safetensors": bytes, …}``, compressed by zlib.
    """
    return f"models:{digest}"


def models_of(store: FleetReader, worker: WorkerStatus) -> dict[str, int] | None:
    """A worker's model files, folder and name -> bytes; None when it does not tell them.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    digest = worker.models.list if worker.models is not None else None
    blob = store.get_blob(models_name(digest)) if digest else None
    try:
        told = {} if blob is None else json.loads(unpacked(blob, most_bytes=MOST_BLOB_BYTES))
        return None if blob is None else {str(name): int(size) for name, size in told.items()}
    except (
        RecordUnreadable,
        ValueError,
        AttributeError,
        TypeError,
        OverflowError,
        RecursionError,
    ):  # a worker of another version wrote it
        return None
