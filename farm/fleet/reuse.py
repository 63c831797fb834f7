"""A job that asks for what was rendered before: which stored results still count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from farm.fleet.model_lists import models_of
from farm.job import JobResult
from farm.storage import Storage
from farm.store.roles import ViewerStore

if TYPE_CHECKING:
    from farm.status.worker import WorkerStatus


def reusable(store: ViewerStore, storage: Storage, contents: Sequence[str]) -> dict[str, str]:
    """Of each content the succeeded job whose result would be rendered again, if there is one.

    Its files are still there, and of the workers that live, if any does, one has the ComfyUI that made them,
    and no model file of another size.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    found = store.find_results(contents)
    if not found:
        return {}
    fleet = _Fleet(store)
    return {
        content: record.job_id
        for content, record in found.items()
        if record.result is not None and fleet.would_make(record.result) and _is_there(record.result, storage)
    }


class _Fleet:
    """The workers that live, and the model files that each of them has."""

    def __init__(self, store: ViewerStore) -> None:
        self._store = store
        self._workers = [each for each in store.workers() if not each.is_starting]
        self._sizes: dict[str, Mapping[str, int]] = {}  # worker -> folder and name -> bytes

    def would_make(self, result: JobResult) -> bool:
        """Whether one of them would render it again as it is; true when none lives to be asked."""
        maker = (result.comfyui_version, result.emulated)
        return not self._workers or any(
            (worker.comfyui_version, worker.emulated) == maker
            and self._has_the_same(worker, result.model_bytes)
            for worker in self._workers
        )

    def _has_the_same(self, worker: WorkerStatus, model_bytes: Mapping[str, int]) -> bool:
        """Whether no file is known to differ; a size that either side does not know is not judged."""
        if not model_bytes:
            return True
        here = self._sizes_on(worker)
        return all(here.get(name, size) == size for name, size in model_bytes.items())

    def _sizes_on(self, worker: WorkerStatus) -> Mapping[str, int]:
        if worker.name not in self._sizes:
            self._sizes[worker.name] = models_of(self._store, worker) or {}
        return self._sizes[worker.name]


def _is_there(result: JobResult, storage: Storage) -> bool:
    return result.bucket == storage.bucket and all(
        storage.exists(artifact.key) for artifact in result.artifacts
    )
