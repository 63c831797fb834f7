"""What a node sees of the server while it runs."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comfy.emulator.faults import Raised
from comfy.emulator.world import World


class InterruptedRunError(Exception):
    """Somebody asked for the run to stop, and this is the next place that looks."""


class NodeFailedError(Exception):
    """A node raises what ComfyUI's node would have raised."""

    def __init__(self, raised: Raised) -> None:
        super().__init__(raised.text)
        self.raised = raised


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a node gives and what it has to show."""

    outputs: tuple[Any, ...] = ()
    ui: dict[str, Any] | None = None


def give(*outputs: Any) -> Outcome:
    """What a node that shows nothing gives."""
    return Outcome(outputs=outputs)


class Stage(ABC):
    """One node's run: its inputs with links followed, and what it may do."""

    def __init__(
        self,
        world: World,
        *,
        node_id: str,
        class_type: str,
        inputs: Mapping[str, Any],
        graph: Mapping[str, Any],
        extra_data: Mapping[str, Any],
    ) -> None:
        self.world = world
        self.node_id = node_id
        self.class_type = class_type
        self.inputs = inputs
        self.graph = graph
        self.extra_data = extra_data

    @abstractmethod
    def progress(self, value: int, total: int, *, preview: bytes | None = None) -> None:
        """Report a step; raises `InterruptedRunError` when the run shall stop."""

    @abstractmethod
    def saved(self, path: Path) -> None:
        """Say that a file was written (faults may have plans for it)."""

    @abstractmethod
    def spoilt(self) -> str:
        """How what is decoded here is to be spoilt; empty: not at all."""

    @abstractmethod
    def slowness(self) -> float:
        """By how much everything takes longer than it should."""

    def pause(self, seconds: float) -> None:
        """Take time, as the work would."""
        if seconds > 0:
            time.sleep(seconds * self.slowness())

    def metadata(self) -> dict[str, Any] | None:
        """What is written into files: the graph and what the client sent along."""
        if not self.world.settings.write_metadata:
            return None
        extra = self.extra_data.get("extra_pnginfo")
        return {"prompt": self.graph, **(extra if isinstance(extra, Mapping) else {})}

    def need_gpu(self) -> None:
        """Fail as every CUDA call fails once the context is broken."""
        if self.world.broken_gpu is not None:
            raise NodeFailedError(self.world.broken_gpu)
