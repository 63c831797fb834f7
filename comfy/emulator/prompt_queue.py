"""What waits, what runs and what ran.

Source: ComfyUI ``execution.py``, ``PromptQueue``.
"""

from __future__ import annotations

import copy
import heapq
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Final

_LONGEST_HISTORY: Final = 10000


@dataclass(order=True, slots=True)
class QueuedPrompt:
    """A prompt in the queue; the smallest number runs first, equals in the order of their ids."""

    number: float
    prompt_id: str
    graph: dict[str, Any] = field(compare=False)
    extra_data: dict[str, Any] = field(compare=False)
    outputs: list[str] = field(compare=False)  # ids of the output nodes that shall run

    def to_json(self) -> list[Any]:
        """As /queue and /history show it."""
        return [self.number, self.prompt_id, self.graph, self.extra_data, self.outputs]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a prompt ended, for the history."""

    outputs: dict[str, Any]
    meta: dict[str, Any]
    succeeded: bool
    messages: list[tuple[str, dict[str, Any]]]


class PromptQueue:
    """Thread-safe queue, list of running prompts and history."""

    def __init__(self) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self._lock = threading.RLock()
        self._not_empty = threading.Condition(self._lock)
        self._waiting: list[QueuedPrompt] = []
        self._running: list[QueuedPrompt] = []
        self._history: dict[str, dict[str, Any]] = {}
        self._flags: dict[str, bool] = {}

    def put(self, prompt: QueuedPrompt) -> None:
        """Queue a prompt."""
        with self._lock:
            heapq.heappush(self._waiting, prompt)
            self.on_change()
            self._not_empty.notify()

    def take(self, timeout_s: float) -> QueuedPrompt | None:
        """The next prompt, which is running from now on; None after `timeout_s` or when a flag was set."""
        with self._not_empty:
            if not self._waiting and not self._flags:
                self._not_empty.wait(timeout=timeout_s)
            if not self._waiting:
                return None
            prompt = heapq.heappop(self._waiting)
            self._running.append(prompt)
            self.on_change()
            return prompt

    def finish(self, prompt: QueuedPrompt, ending: Ending) -> None:
        """Move a running prompt to the history."""
        with self._lock:
            self._running.remove(prompt)
            while len(self._history) > _LONGEST_HISTORY:
                self._history.pop(next(iter(self._history)))
            self._history[prompt.prompt_id] = {
                "prompt": prompt.to_json(),
                "outputs": copy.deepcopy(ending.outputs),
                "status": {
                    "status_str": "success" if ending.succeeded else "error",
                    "completed": ending.succeeded,
                    "messages": [list(message) for message in ending.messages],
                },
                "meta": ending.meta,
            }
            self.on_change()

    def info(self) -> dict[str, Any]:
        """The body of ``GET /prompt``."""
        with self._lock:
            return {"exec_info": {"queue_remaining": len(self._waiting) + len(self._running)}}

    def listing(self) -> dict[str, Any]:
        """The body of ``GET /queue``."""
        with self._lock:
            return {
                "queue_running": [prompt.to_json() for prompt in self._running],
                "queue_pending": [prompt.to_json() for prompt in sorted(self._waiting)],
            }

    def is_running(self, prompt_id: str) -> bool:
        """Whether this prompt runs right now."""
        with self._lock:
            return any(prompt.prompt_id == prompt_id for prompt in self._running)

    def interrupt_if_running(self, prompt_id: str, interrupt: Callable[[], None]) -> bool:
        """Call `interrupt` if this prompt runs; no other one can begin in between."""
        with self._lock:
            runs = self.is_running(prompt_id)
            if runs:
                interrupt()
            return runs

    def delete(self, prompt_id: str) -> bool:
        """Take a waiting prompt out; False when none of this id waits.

        One at a time, the first that fits: that is what the real server does with equal ids.
        """
        with self._lock:
            for index, prompt in enumerate(self._waiting):
                if prompt.prompt_id == prompt_id:
                    del self._waiting[index]
                    heapq.heapify(self._waiting)
                    self.on_change()
                    return True
            return False

    def clear(self) -> None:
        """Take all waiting prompts out."""
        with self._lock:
            self._waiting.clear()
            self.on_change()

    def lose(self) -> None:
        """Forget what waits without telling anybody."""
        with self._lock:
            self._waiting.clear()

    def history(
        self, prompt_id: str | None = None, *, max_items: int | None = None, offset: int = -1
    ) -> dict[str, Any]:
        """The body of ``GET /history`` or ``/history/{id}``."""
        with self._lock:
            if prompt_id is not None:
                entry = self._history.get(prompt_id)
                return {} if entry is None else {prompt_id: copy.deepcopy(entry)}
            ids = list(self._history)
            first = len(ids) - max_items if offset < 0 and max_items is not None else max(offset, 0)
            first = max(first, 0)
            last = None if max_items is None else first + max_items
            return {key: copy.deepcopy(self._history[key]) for key in ids[first:last]}

    def forget(self, prompt_ids: Collection[str] | None) -> None:
        """Take entries out of the history; None: all."""
        with self._lock:
            if prompt_ids is None:
                self._history.clear()
            else:
                for prompt_id in prompt_ids:
                    self._history.pop(prompt_id, None)

    def set_flag(self, name: str, value: bool) -> None:
        """Ask the worker thread for something (`unload_models`, `free_memory`) when it is idle."""
        with self._lock:
            self._flags[name] = value
            self._not_empty.notify()

    def take_flags(self) -> dict[str, bool]:
        """What the worker thread was asked for since the last time."""
        with self._lock:
            flags, self._flags = self._flags, {}
            return flags
