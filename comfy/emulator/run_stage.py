"""The stage on which a node of a real run stands: its progress goes to the client, its faults happen."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from comfy.emulator.fault_injection import FaultInjector
from comfy.emulator.faults import FaultKind, Moment, Phase
from comfy.emulator.progress import RunProgress
from comfy.emulator.prompt_queue import QueuedPrompt
from comfy.emulator.stage import InterruptedRunError, Stage
from comfy.emulator.world import World

# Newer servers leave out steps that come quicker or are smaller than this, unless they carry a preview.
_SHORTEST_GAP_S: Final = 0.1
_SMALLEST_SHARE: Final = 0.005
_OTHER_ATTENTIONS: Final = ("sage", "flash", "auto")
_ATTENTION_INPUTS: Final = ("sage_attention", "attention_mode", "attention_override")  # KJNodes, the wrapper


class RunStage(Stage):
    """One node's part of a run."""

    def __init__(
        self,
        world: World,
        fault_injector: FaultInjector,
        progress: RunProgress,
        prompt: QueuedPrompt,
        *,
        node_id: str,
        class_type: str,
        inputs: Mapping[str, Any],
    ) -> None:
        super().__init__(
            world,
            node_id=node_id,
            class_type=class_type,
            inputs=inputs,
            graph=prompt.graph,
            extra_data=prompt.extra_data,
        )
        self._fault_injector = fault_injector
        self._progress = progress
        self._prompt_id = prompt.prompt_id
        self._told_at = 0.0  # time.monotonic() of the last step that was told
        self._told_value = 0

    def progress(self, value: int, total: int, *, preview: bytes | None = None) -> None:
        """Report a step, and stop here when somebody asked for it."""
        if self.world.interrupted.is_set():
            raise InterruptedRunError
        if preview is not None or self._is_worth_telling(value, total):
            self._told_at, self._told_value = time.monotonic(), value
            self._progress.step(self.node_id, value, total, preview)
        self._fault_injector.reach(self._moment(Phase.STEP, step=value))

    def _is_worth_telling(self, value: int, total: int) -> bool:
        throttles = self.world.settings.generation.throttles_progress
        if not throttles or self._told_value == 0 or value >= total:
            return True
        is_late = time.monotonic() - self._told_at >= _SHORTEST_GAP_S
        return is_late and (value - self._told_value) / total >= _SMALLEST_SHARE

    def saved(self, path: Path) -> None:
        """Let a fault damage the file."""
        moment = self._moment(Phase.SAVED)
        fault = self._fault_injector.asked(FaultKind.SPOIL_OUTPUT, moment)
        if fault is not None:
            self._fault_injector.spoil(path, fault)
        self._fault_injector.reach(moment)

    def spoilt(self) -> str:
        """By a fault that only an attention other than PyTorch's has."""
        attention = (self.world.settings.attention, *_chosen_attentions(self.graph))
        if not any(name in words.lower() for words in attention for name in _OTHER_ATTENTIONS):
            return ""
        fault = self._fault_injector.asked(FaultKind.SPOIL_FRAMES, self._moment(Phase.NODE))
        return "" if fault is None else fault.how or "black"

    def slowness(self) -> float:
        """What the faults say."""
        return self._fault_injector.slowness()

    def _moment(self, at: Phase, *, step: int | None = None) -> Moment:
        return Moment(
            at=at, prompt_id=self._prompt_id, node_id=self.node_id, class_type=self.class_type, step=step
        )


def _chosen_attentions(graph: Mapping[str, Any]) -> list[str]:
    return [str(node["inputs"].get(name, "")) for node in graph.values() for name in _ATTENTION_INPUTS]
