"""The renders of one attempt: another one when the card ran out of memory, or when the clip is spoilt."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from comfy.doctor.clip import Thresholds
from comfy.doctor.times import SecondRender
from comfy.errors import OutOfMemory
from farm.job import EventKind
from farm.store.base import NewEvent
from worker.jobs.context import RenderContext
from worker.jobs.render import render
from worker.jobs.second_render import Spoilt, spoilt_by, spoilt_clip
from worker.plan.fallback import FallbackStep, next_step
from worker.results.rendered import Rendered

log = logging.getLogger(__name__)

# PyTorch's attention takes up to 1.6 times as long at the sizes of videos, and ComfyUI starts anew.
_ROOM_FOR_ANOTHER: Final = 2.0


class Tries:
    """Renders a claim until something came of it; a bounded number of times."""

    def __init__(
        self,
        facts: Mapping[str, object],
        tell: Callable[[NewEvent], None],
        attention: Callable[[], str | None],
        limits: Thresholds,
    ) -> None:
        """Keep whom to tell.

        Args:
            facts: of the attempt, for the log.
            tell: takes an event for those who follow the job, at once.
            attention: what ComfyUI was told to use for all models; None: nothing.
            limits: when a clip is bad.
        """
        self.steps: list[FallbackStep] = []  # taken because the card ran out of memory
        self._facts = facts
        self._tell = tell
        self._attention = attention
        self._limits = limits
        self.first_began_s: float | None = None  # the first render; monotonic
        self.began_s = 0.0  # the render in hand

    def render(self, context: RenderContext) -> Rendered:
        """Render it, in whatever way comes out well.

        Raises:
            OutOfMemory: whatever is offered here does not help.
            Exception: as `worker.jobs.render.render`.
        """
        rendered = self._in_memory(context)
        first_s = time.monotonic() - self.began_s
        spoilt = self._spoilt(context, rendered, first_s)
        if spoilt is not None:
            rendered = self._once_more(context, spoilt)
        thrown_away_s = self.began_s - (self.first_began_s or self.began_s)
        if len(self.steps) + (spoilt is not None):
            rendered = replace(rendered, timings_s={**rendered.timings_s, "discarded": thrown_away_s})
        return rendered

    def fell_back(self, step: FallbackStep, node_id: str | None, node_type: str | None) -> None:
        """Tell of a step that is taken because the card ran out of memory."""
        self.steps.append(step)
        told = {"fallback_step": step.value, "node_id": node_id, "node_type": node_type}
        log.warning("Out of memory", extra={"event": "out_of_memory", **self._facts, **told})
        self._tell(NewEvent(kind=EventKind.FINDING, data={"code": "out_of_memory", **told}))

    def _in_memory(self, context: RenderContext) -> Rendered:
        while True:
            self.began_s = time.monotonic()
            self.first_began_s = self.first_began_s or self.began_s
            try:
                return render(replace(context, fallback_steps=tuple(self.steps)))
            except OutOfMemory as exc:
                step = self._next_step(context, exc)
                if step is None:
                    raise
                self.fell_back(step, exc.node_id, exc.node_type)
                context.comfy.fall_back(step)

    def _next_step(self, context: RenderContext, exc: OutOfMemory) -> FallbackStep | None:
        if context.stop.is_set():
            return None
        return next_step(self.steps, context.comfy.offers(), exc.node_type)

    def _spoilt(self, context: RenderContext, rendered: Rendered, first_s: float) -> Spoilt | None:
        """What is wrong with the clip, if that can be mended here, and there is time for it."""
        spoilt = spoilt_clip(rendered.outputs, rendered.graph, self._attention(), self._limits)
        if spoilt is None or context.stop.is_set():
            return None
        if spoilt.of_server and FallbackStep.SDPA not in context.comfy.offers():
            return None
        return spoilt if time.monotonic() + _ROOM_FOR_ANOTHER * first_s < context.until else None

    def _once_more(self, context: RenderContext, spoilt: Spoilt) -> Rendered:
        first_began_s = self.began_s
        self._tell_spoilt(spoilt)
        if spoilt.of_server:
            context.comfy.fall_back(FallbackStep.SDPA)
        rendered = self._in_memory(replace(context, sdpa=True))
        helped = spoilt_by(rendered.outputs, self._limits) is None
        again = SecondRender(
            because=spoilt.fault.id,
            attention=spoilt.attention,
            seconds=round(self.began_s - first_began_s, 3),
            helped=helped,
        )
        log.info(
            "A clip was rendered once more",
            extra={"event": "rendered_again", **self._facts, "helped": helped, "seconds": again.seconds},
        )
        return replace(rendered, again=again)

    def _tell_spoilt(self, spoilt: Spoilt) -> None:
        fault, attention = spoilt.fault, spoilt.attention
        log.warning(
            "The clip is spoilt; it is rendered once more with PyTorch's attention",
            extra={"event": "clip_spoilt", **self._facts, "fault": fault.id, "attention": attention},
        )
        message = (
            f"{fault.message} ({fault.seen}); {attention} attention: it is rendered once more with PyTorch's"
        )
        data: dict[str, Any] = {"code": fault.id, "message": message}
        self._tell(NewEvent(kind=EventKind.FINDING, data=data))
