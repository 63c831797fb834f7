"""What a run on the GPU leaves behind, between the render that makes it and the publisher that stores it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from comfy.doctor.times import SecondRender
from comfy.errors import Blocked
from comfy.protocol.outputs import NodeText
from comfy.protocol.progress import NodeTiming
from comfy.rewrites.change import Change
from comfy.rewrites.optimize import Optimized
from worker.plan.fallback import FallbackStep
from worker.results.publish import LocalOutput


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """What a run on the GPU left behind."""

    outputs: tuple[LocalOutput, ...]  # never empty; the files are whole and closed
    graph: dict[str, Any]  # as it was executed
    changes: tuple[Change, ...]  # what the farm changed in it, and why
    fitted: Optimized  # which rewrites were applied, refused or skipped, and why
    timings_s: dict[str, float] = field(default_factory=dict)
    nodes: tuple[NodeTiming, ...] = ()  # what ran, and how long; nothing of nodes that were cached
    fallback_steps: tuple[FallbackStep, ...] = ()  # what was tried because the card ran out of memory
    again: SecondRender | None = None  # why these are the files of a second render; None: of the first
    model_bytes: dict[str, int] = field(default_factory=dict)  # "vae/x.safetensors" -> bytes, before the run
    texts: tuple[NodeText, ...] = ()  # what nodes showed
    blocked: tuple[Blocked, ...] = ()  # what did not run, because a node before it let nothing past

    @property
    def node_seconds(self) -> dict[str, float]:
        """Node id -> seconds."""
        return {node.node_id: node.seconds for node in self.nodes if node.seconds is not None}
