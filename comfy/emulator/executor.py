"""The worker thread of the server: one prompt after the other, and what follows each.

Source: ComfyUI ``main.py``, ``prompt_worker``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from comfy.emulator.faults import Moment, Phase
from comfy.emulator.prompt_queue import PromptQueue, QueuedPrompt
from comfy.emulator.run import Run, Workshop

log = logging.getLogger(__name__)


class Executor:
    """The worker thread of the server."""

    def __init__(self, shop: Workshop, queue: PromptQueue) -> None:
        self._shop = shop
        self._queue = queue

    def run_forever(self) -> None:
        """Take prompts from the queue until the process ends."""
        while True:
            prompt = self._queue.take(timeout_s=1000.0)
            if prompt is not None:
                try:
                    self._run(prompt)
                except Exception:
                    log.exception("The emulator failed", extra={"event": "emulator_failed"})
                    raise
            self._obey(self._queue.take_flags())

    def _obey(self, flags: Mapping[str, bool]) -> None:
        free_memory = flags.get("free_memory", False)
        if flags.get("unload_models", free_memory):
            self._shop.world.residency.unload_all()
        if free_memory:
            self._shop.cache.clear()

    def _run(self, prompt: QueuedPrompt) -> None:
        began = time.perf_counter()
        self._shop.fault_injector.begin_run()
        ending = Run(self._shop, prompt).execute()
        self._shop.record.note("ended", prompt.prompt_id, succeeded=ending.succeeded, outputs=ending.outputs)
        self._shop.fault_injector.reach(Moment(at=Phase.BEFORE_HISTORY, prompt_id=prompt.prompt_id))
        # Here is the gap in which a client that trusts execution_success finds no history.
        self._queue.finish(prompt, ending)
        self._shop.fault_injector.reach(Moment(at=Phase.BEFORE_END, prompt_id=prompt.prompt_id))
        if self._shop.hub.client_id is not None:
            self._shop.hub.send(
                "executing", {"node": None, "prompt_id": prompt.prompt_id}, self._shop.hub.client_id
            )
        self._shop.fault_injector.end_run()
        took_s = time.perf_counter() - began
        words = time.strftime("%H:%M:%S", time.gmtime(took_s)) if took_s > 600 else f"{took_s:.2f} seconds"
        self._shop.world.console.line(f"Prompt executed in {words}", green=True)
