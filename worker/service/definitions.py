"""The node definitions of this worker's ComfyUI, shared with producers so that they can check jobs."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, Final

from comfy.errors import ComfyError
from comfy.node_defs.definitions import NodeDef, parse_definitions
from farm.fleet.preflight import definitions_name
from farm.store.roles import StatusStore
from worker.comfyui.keeper import ComfyState
from worker.comfyui.supervisor import ComfySupervisor
from worker.errors import WorkerError
from worker.service.shared import Shared

log = logging.getLogger(__name__)

_READ_AGAIN_S: Final = 60.0


class Definitions:
    """Half a megabyte, and the same on every worker of one image."""

    def __init__(self, store: StatusStore, comfy: ComfySupervisor) -> None:
        self._shared = Shared(store, definitions_name)
        self._comfy = comfy
        self._generation = -1
        self._read_at = 0.0
        self._nodes: tuple[int, Mapping[str, NodeDef]] | None = None  # generation, and what it has

    @property
    def digest(self) -> str | None:
        """Name of the stored definitions; None before the first."""
        return self._shared.digest

    @property
    def classes(self) -> int | None:
        """How many node classes they define; None before the first."""
        return len(self._nodes[1]) if self._nodes is not None else None

    def nodes(self) -> Mapping[str, NodeDef]:
        """The nodes that are installed, a minute old at most; asked for now after a start of ComfyUI.

        Raises:
            ComfyError, WorkerError: ComfyUI does not tell.
        """
        generation, known = self._comfy.generation, self._nodes
        if known is None or known[0] != generation:
            known = self._nodes = (generation, parse_definitions(self._comfy.client().object_info()))
        return known[1]

    def refresh(self) -> None:
        """Read them again after a start of ComfyUI, and after a while: model files come and go.

        Raises:
            StoreUnavailable: they could not be stored.
        """
        generation = self._comfy.generation
        if self._comfy.state is not ComfyState.READY or not self._due(generation):
            return
        try:
            info = self._comfy.client().object_info()
        except (ComfyError, WorkerError) as exc:
            log.info(
                "Node definitions could not be read",
                extra={"event": "definitions_unread", "reason": str(exc)},
            )
            return
        self._share(info, generation)

    def forget(self) -> None:
        """The store has lost them: the next `refresh` stores them again."""
        self._shared.forget()
        self._generation = -1

    def _due(self, generation: int) -> bool:
        # Reading them takes ComfyUI up to 0.3 s, so not each time.
        return generation != self._generation or time.monotonic() - self._read_at >= _READ_AGAIN_S

    def _share(self, object_info: Mapping[str, Any], generation: int) -> None:
        before = self._shared.digest
        self._shared.put(object_info)
        if self._shared.digest != before or generation != self._generation:
            self._nodes = (generation, parse_definitions(object_info))
        self._generation, self._read_at = generation, time.monotonic()
