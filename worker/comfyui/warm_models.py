"""Which models ComfyUI holds: those of the last graph it ran, and how it said that each was loaded."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from comfy.graphs.required import model_files
from comfy.log.facts import ModelLoadedFact, OutOfMemoryFact
from comfy.log.reading import LogReader
from farm.status.worker import ModelLoadStatus
from worker.comfyui.supervisor import ComfySupervisor


class WarmModels:
    """What the next job with the same models need not load. A lower bound: ComfyUI may hold older ones too.

    Source: ComfyUI execution.py: whatever the cache, the results of the last prompt's loaders are kept.
    """

    def __init__(self, comfy: ComfySupervisor) -> None:
        self._comfy = comfy
        self._generation = 0
        self._files: tuple[str, ...] = ()
        self._loads: dict[str, ModelLoadedFact] = {}
        self._read_until = time.monotonic()

    def rendered(self, graph: Mapping[str, Any]) -> None:
        """ComfyUI has run this graph to its end."""
        if self._comfy.generation != self._generation:
            self.forget()
        self._generation = self._comfy.generation
        self._files = tuple(sorted({f"{file.folder}/{file.name}" for file in model_files(graph)}))
        since, self._read_until = self._read_until, time.monotonic()
        log = LogReader()
        for line in self._comfy.lines_since(since):
            match log.take(line):
                case ModelLoadedFact() as loaded:
                    self._loads[loaded.model_class or "?"] = loaded
                case OutOfMemoryFact():
                    self._loads.clear()

    def forget(self) -> None:
        """ComfyUI was told to let go of all models."""
        self._files, self._loads = (), {}

    def files(self) -> list[str]:
        """Folder and name of each model file of the last graph; none after a restart."""
        return list(self._files) if self._holds() else []

    def loads(self) -> dict[str, ModelLoadStatus]:
        """Of each kind of model (``WAN21``, ``WanTEModel``, …) how it was loaded last; sizes in MiB."""
        loads = dict(self._loads) if self._holds() else {}
        return {
            kind: ModelLoadStatus(
                state=fact.state.value,
                loaded_mib=fact.loaded_mib,
                offloaded_mib=fact.offloaded_mib,
                patches=fact.patches,
            )
            for kind, fact in loads.items()
        }

    def _holds(self) -> bool:
        return self._comfy.generation == self._generation
