"""One prompt, from the outside: feed it what the server says, ask it for progress and outcome.

No I/O and no clock: whoever feeds it gives monotonic seconds. What decides the outcome is the history entry;
messages only say when to look for it, because `execution_success` comes before the entry is written, and
`executing null` comes after failures too.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from comfy.errors import UnknownMessage
from comfy.protocol import wire
from comfy.protocol.events import (
    Event,
    Executed,
    Executing,
    ExecutionCached,
    ExecutionError,
    ExecutionInterrupted,
    ExecutionStart,
    ExecutionSuccess,
    Progress,
    ProgressState,
)
from comfy.protocol.outputs import NodeText, OutputFile, list_outputs, list_texts
from comfy.protocol.phases import Phase
from comfy.protocol.progress import NodeTiming, RunProgress, WorkTracker
from comfy.protocol.whereabouts import Whereabouts

log = logging.getLogger(__name__)


class Outcome(StrEnum):
    """How a prompt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"  # a node raised
    INTERRUPTED = "interrupted"
    LOST = "lost"  # the server does not know it (any more)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTimes:
    """When the server began and ended, by its own clock, in ms since the epoch."""

    start_ms: int | None
    end_ms: int | None

    @property
    def execution_s(self) -> float | None:
        """Seconds between the two: ComfyUI's own execution time."""
        if self.start_ms is None or self.end_ms is None:
            return None
        return (self.end_ms - self.start_ms) / 1000


class PromptRun:
    """What is known of one prompt. Not thread-safe: one thread feeds and asks."""

    def __init__(
        self, prompt_id: str, graph: Mapping[str, Any], *, steps: Mapping[str, int] | None = None
    ) -> None:
        """Know nothing yet.

        Args:
            steps: sampler node -> the steps that it will run, by which it is weighed in the progress.
        """
        self.prompt_id = prompt_id
        self.outcome: Outcome | None = None  # None while open
        self.error: ExecutionError | None = None  # that ended it
        self.blocked: tuple[ExecutionError, ...] = ()  # branches that a node closed, with its reason
        self.interrupted_at: str | None = None  # the node that noticed the interruption
        self.started_s: float | None = None  # when we learned that the server began
        self.ended_s: float | None = None  # when we learned the outcome
        self.server_times = ServerTimes(start_ms=None, end_ms=None)
        self._work = WorkTracker(graph, steps or {})
        self._outputs: dict[str, Any] = {}
        self._success_heard = False
        self._end_heard = False
        self._missed_messages = False
        self._absences = 0
        self._graph = dict(graph)

    @property
    def graph(self) -> dict[str, Any]:
        """The graph as the server ran it, once its history has told; until then as it was sent."""
        return self._graph

    @property
    def outputs(self) -> tuple[OutputFile, ...]:
        """Every file named so far; complete once the outcome is `SUCCEEDED`."""
        return list_outputs(self._outputs)

    @property
    def texts(self) -> tuple[NodeText, ...]:
        """Every text that a node showed so far; complete once the outcome is `SUCCEEDED`."""
        return list_texts(self._outputs)

    @property
    def is_running(self) -> bool:
        """Whether the server has begun with it and its outcome is open."""
        return self.started_s is not None and self.outcome is None

    @property
    def wants_history(self) -> bool:
        """Whether the server has said that the prompt is over, so that its history entry is due."""
        over = self._success_heard or self._end_heard or self.interrupted_at is not None
        return self.outcome is None and (over or self.error is not None)

    @property
    def is_doubtful(self) -> bool:
        """Whether the server knew nothing of the prompt when it was last asked: worth asking again soon."""
        return self.outcome is None and self._absences > 0

    @property
    def progress(self) -> RunProgress:
        """How far it is, as of the last message."""
        if self.outcome is not None:
            return self._work.progress(self.outcome is Outcome.SUCCEEDED, Phase.DONE)
        return self._work.progress(False, None if self.started_s is not None else Phase.QUEUED)

    @property
    def timings(self) -> tuple[NodeTiming, ...]:
        """When each node began and ended, in the order they began. Nodes that ran unheard are missing."""
        return self._work.timings

    @property
    def cached_nodes(self) -> frozenset[str]:
        """The nodes that the server answered from its cache."""
        return self._work.cached

    def belongs(self, event: Event) -> bool:
        """Tell whether an event speaks of this prompt (and not of another, or of the server)."""
        prompt_id = getattr(event, "prompt_id", None)
        if prompt_id is None:
            # After a reconnect the server repeats the running node without saying whose it is. And the older
            # previews name nobody; they go to the prompt's own client only.
            return self.is_running and not (isinstance(event, Executing) and event.node is None)
        return bool(prompt_id == self.prompt_id)

    def feed(self, event: Event, now_s: float) -> bool:
        """Take in one event; False: it was not about this prompt and changed nothing.

        Args:
            now_s: when it arrived, monotonic seconds.
        """
        if self.outcome is not None or not hasattr(event, "prompt_id") or not self.belongs(event):
            return False
        self._seen(now_s)
        match event:
            case ExecutionStart():
                self.server_times = ServerTimes(start_ms=event.timestamp_ms, end_ms=None)
            case ExecutionCached():
                self._work.cache(event.nodes)
            case Executing(node=None):
                self._end_heard = True
                self._work.finish_all(now_s)
            case Executing(node=str(node)):
                self._work.begin(node, now_s)
            case ProgressState():
                self._work.update(event.nodes, now_s)
            case Progress(node=str(node)):
                self._work.step(node, event.value, event.maximum, now_s)
            case Executed():
                self._outputs[event.node] = event.output
                self._work.finish(event.node, now_s)
            case ExecutionSuccess():
                self._success_heard = True
                self._work.finish_all(now_s)
                self.server_times = ServerTimes(
                    start_ms=self.server_times.start_ms, end_ms=event.timestamp_ms
                )
            case ExecutionError():
                self._note_error(event)
            case ExecutionInterrupted():
                self.interrupted_at = event.node_id or ""
            case _:
                pass
        return True

    def note_gap(self) -> None:
        """Say that the socket was away for a while: messages may have been missed."""
        # Nothing that counts comes after the success, so a gap from there on costs nothing.
        self._missed_messages = self._missed_messages or not self._success_heard

    def note_deaf(self, since_s: float, now_s: float) -> None:
        """Say that nobody has listened meanwhile: what is fed from now on may be as old as that."""
        self._work.note_deaf(since_s, now_s)

    def feed_history(self, answer: Mapping[str, Any], now_s: float) -> None:
        """Take in the answer of ``GET /history/{prompt_id}``; ``{}`` means that there is no entry (yet).

        Raises:
            UnknownMessage: the entry does not have the form of one.
        """
        entry = answer.get(self.prompt_id)
        if self.outcome is not None or entry is None:
            return
        if not isinstance(entry, Mapping):
            raise UnknownMessage("history entry", entry)
        outputs = entry.get("outputs")
        if isinstance(outputs, Mapping):
            self._outputs = dict(outputs)
        self._read_prompt(entry.get("prompt"))
        self._read_status(entry.get("status"), now_s)

    def feed_whereabouts(self, told: Whereabouts, now_s: float) -> None:
        """Take in where the server says that the prompt is."""
        if self.outcome is not None:
            return
        if told is Whereabouts.UNKNOWN:
            self._note_absence(now_s)
        else:
            self._seen(now_s if told is Whereabouts.RUNNING else None)

    def conclude(self, now_s: float) -> None:
        """Decide from what was heard, because the server will say no more (it was restarted, or is gone).

        A render whose success and outputs were all heard is finished, whatever became of the server since.
        """
        if self.outcome is not None:
            return
        if self.error is not None:
            self._end(Outcome.FAILED, now_s)
        elif self.interrupted_at is not None:
            self._end(Outcome.INTERRUPTED, now_s)
        elif self._success_heard and not self._missed_messages:
            self._end(Outcome.SUCCEEDED, now_s)
        else:
            self._end(Outcome.LOST, now_s)

    def _seen(self, running_since_s: float | None) -> None:
        self._absences = 0
        if running_since_s is not None and self.started_s is None:
            self.started_s = running_since_s

    def _note_absence(self, now_s: float) -> None:
        self._absences += 1
        # Twice, because a wrong verdict costs a whole render; asking once more costs nothing.
        if self._absences >= 2:
            self.conclude(now_s)

    def _read_prompt(self, prompt: Any) -> None:
        """Learn which graph ran: a server replaces nodes whose class has moved before it checks them.

        Source: ComfyUI server.py, ``post_prompt``: the history has the graph as it was queued.
        """
        graph = prompt[2] if isinstance(prompt, list) and len(prompt) > 2 else None
        if isinstance(graph, Mapping) and graph:
            self._graph = {node_id: _without_empty_meta(node) for node_id, node in graph.items()}
            self._work.learn(self._graph)

    def _read_status(self, status: Any, now_s: float) -> None:
        """Book the outcome of a history entry. Source: ComfyUI execution.py, ``PromptQueue.task_done``."""
        status = status if isinstance(status, Mapping) else {}
        stamps: dict[str, int] = {}
        messages = status.get("messages")
        for message in messages if isinstance(messages, list) else ():
            if isinstance(message, list) and len(message) == 2 and isinstance(message[1], Mapping):
                self._read_history_message(str(message[0]), message[1])
                stamp = message[1].get("timestamp")
                if isinstance(stamp, int):
                    stamps.setdefault("start", stamp)
                    stamps["end"] = stamp
        self.server_times = ServerTimes(start_ms=stamps.get("start"), end_ms=stamps.get("end"))
        # An entry exists only for a prompt that is over, so one without a status is a success.
        if status.get("status_str", "success") == "success":
            self.error = None
            self._end(Outcome.SUCCEEDED, now_s)
        elif self.interrupted_at is not None:
            self._end(Outcome.INTERRUPTED, now_s)
        else:
            self._end(Outcome.FAILED, now_s)

    def _read_history_message(self, kind: str, data: Mapping[str, Any]) -> None:
        if kind not in ("execution_error", "execution_interrupted", "execution_cached"):
            return
        try:
            event = wire.read_message(kind, data)
        except UnknownMessage:
            # The outcome stands without it; only the details are missing.
            log.warning(
                "A message in the history was not understood",
                extra={"event": "history_unknown", "kind": kind},
            )
            return
        match event:
            case ExecutionError():
                self._note_error(event)
            case ExecutionInterrupted():
                self.interrupted_at = event.node_id or ""
            case ExecutionCached():
                self._work.cache(event.nodes)
            case _:
                pass

    def _note_error(self, event: ExecutionError) -> None:
        if event.ends_the_prompt:
            self.error = event
        elif event not in self.blocked:
            self.blocked = (*self.blocked, event)

    def _end(self, outcome: Outcome, now_s: float) -> None:
        self._work.finish_all(now_s)
        self.outcome = outcome
        self.ended_s = now_s


def _without_empty_meta(node: Any) -> Any:
    """The node as somebody wrote it: the empty ``_meta`` was added to send it."""
    if isinstance(node, Mapping) and node.get("_meta") == {}:
        return {name: value for name, value in node.items() if name != "_meta"}
    return node
