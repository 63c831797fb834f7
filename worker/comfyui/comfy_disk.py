"""The disk of the worker's ComfyUI: where it reads and writes, and what of this machine it has to itself."""

from __future__ import annotations

from pathlib import Path

from farm.settings.worker import WorkerSettings
from worker.comfyui.folders import WorkerFolders, open_folders, remove_by_prefix
from worker.comfyui.launch import ComfyKind, Target
from worker.comfyui.locks import HeldLock, gpu_lock_path
from worker.errors import ComfyStartFailed
from worker.gpu.card import GIB, GpuCard


class ComfyDisk:
    """Folders, with the locks on them and on the card. They are there once they are taken.

    Of a server that is not ours only its output folder is at hand, and only where its disk is shared.
    """

    def __init__(self, settings: WorkerSettings, target: Target, gpu: GpuCard | None, *, holder: str) -> None:
        """`holder`: this worker; whoever finds its folder or card taken reads it."""
        self._settings = settings
        self._target = target
        self._gpu = gpu
        self._holder = holder
        self._is_ours = target.kind is not ComfyKind.ATTACHED
        self._folders: WorkerFolders | None = None
        self._held: list[HeldLock] = []

    def take(self) -> None:
        """Take the worker's folder and card, for this process alone.

        Raises:
            InUse: another worker has the folder or the card.
            FolderUnusable: the folder cannot be used.
        """
        settings, gpu = self._settings, self._gpu
        self._folders, held = open_folders(settings.data_dir, holder=self._holder, user=self._target.user)
        self._held.append(held)
        if gpu is None or self._target.kind is not ComfyKind.INSTALLED:
            return
        self._held.append(
            HeldLock.take(
                gpu_lock_path(gpu.uuid),
                what=f"GPU {gpu.index} ({gpu.name}, {gpu.uuid})",
                holder=self._holder,
                advice="one worker per card: choose another with CUDA_VISIBLE_DEVICES",
                for_all=True,
            )
        )

    def release(self) -> None:
        """Give folder and card back. Does nothing the second time."""
        for held in self._held:
            held.release()

    @property
    def is_taken(self) -> bool:
        """Whether `take` was called."""
        return self._folders is not None

    @property
    def folders(self) -> WorkerFolders:
        """The worker's own.

        Raises:
            ComfyStartFailed: they are not taken.
        """
        if self._folders is None:
            raise ComfyStartFailed("the worker's folder is not held", "call start() first")
        return self._folders

    @property
    def output(self) -> Path | None:
        """Where it writes files; None when its disk is not ours."""
        return self._own.output if self._own is not None else self._shared

    @property
    def input(self) -> Path | None:
        """Where it looks for inputs; None when its disk is not ours."""
        return self._own.input if self._own is not None else None

    @property
    def work(self) -> Path | None:
        """Its working directory; None when its disk is not ours."""
        return self._own.work if self._own is not None else None

    @property
    def temp(self) -> Path | None:
        """Where it writes previews; None when its disk is not ours."""
        return self._own.temp if self._own is not None else None

    def clean(self, prefix: str) -> None:
        """Remove one job's files from output, temp and input; the rest of the folders stays."""
        if self._own is not None:
            self._own.clean(prefix)
            self._own.shrink(int(self._settings.scratch_limit_gib * GIB))
        elif self._shared is not None:
            remove_by_prefix(self._shared, prefix)

    def empty_temp(self) -> None:
        """Remove the previews of the job that has just left the card; those of a server not ours stay."""
        if self._own is not None:
            self._own.empty_temp()

    @property
    def _own(self) -> WorkerFolders | None:
        return self._folders if self._is_ours else None

    @property
    def _shared(self) -> Path | None:
        return None if self._is_ours else self._settings.comfyui_output
