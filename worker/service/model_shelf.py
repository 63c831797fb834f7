"""The model files that this worker's ComfyUI has on disk, with their sizes, shared beside its status."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Final

from farm.errors import StoreUnavailable
from farm.fleet.model_lists import models_name
from farm.job import ModelFile
from farm.settings.worker import WorkerSettings
from farm.status.worker import ModelsStatus
from farm.store.roles import StatusStore
from worker.plan.model_files import files_in, models_folder
from worker.service.shared import Shared

log = logging.getLogger(__name__)

_LOOK_EVERY_S: Final = 60.0
_SOON_S: Final = 5.0


class ModelShelf:
    """A thread that lists them: on a network volume that takes seconds, and the status must not wait."""

    def __init__(self, store: StatusStore, settings: WorkerSettings) -> None:
        self._shared = Shared(store, models_name)
        self._folder = models_folder(settings)
        self._files: dict[str, int] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="model-shelf", daemon=True)

    def start(self) -> None:
        """Look now, and once a minute from then on; not at all where the disk is not ours."""
        if self._folder is not None:
            self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()

    def forget(self) -> None:
        """The store has lost the list: it is stored again at the next look."""
        self._shared.forget()

    def facts(self) -> ModelsStatus | None:
        """How many files there are, of how many bytes, and where the list is; None before it is stored."""
        if self._shared.digest is None:
            return None
        files = self._files
        return ModelsStatus(files=len(files), bytes=sum(files.values()), list=self._shared.digest)

    def sizes_of(self, files: Sequence[ModelFile]) -> dict[str, int]:
        """Folder and name -> bytes of those that the last look has found."""
        listed = self._files
        names = [f"{file.folder}/{file.name}" for file in files]
        return {name: listed[name] for name in names if name in listed}

    def _run(self) -> None:
        while not self._stopping.wait(self._look()):
            pass

    def _look(self) -> float:
        """List and store; seconds until the next look."""
        try:
            if self._folder is not None:
                found = files_in(self._folder)
                self._files = {f"{folder}/{name}": size for (folder, name), size in found.items()}
                self._shared.put(self._files)
        except StoreUnavailable:
            return _SOON_S
        except OSError as exc:
            log.warning("Listing the models failed", extra={"event": "models_unlisted", "reason": str(exc)})
        except Exception:
            log.exception("Listing the models failed", extra={"event": "models_unlisted"})
        return _LOOK_EVERY_S
