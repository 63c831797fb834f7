"""How far a run is: phase, node, step, fraction of the whole, seconds per step; and each node's time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from comfy.graphs.links import class_of
from comfy.graphs.required import running_nodes
from comfy.protocol.events import NodeProgress
from comfy.protocol.phases import Phase, phase_of, weight_of


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress:
    """How far a run is."""

    phase: Phase
    node_id: str | None  # what runs now
    class_type: str | None
    step: int | None  # of `steps`, in that node; None when it does not count
    steps: int | None
    fraction: float  # 0…1 of the whole run, never falling; by weights, not by time
    # Measured in this node, its first step left out (it pays for loading); None: too quick or few to tell.
    seconds_per_step: float | None
    nodes_done: int  # of those that run for the graph; a cached one is done from the start
    nodes_total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTiming:
    """When one node ran, in the monotonic seconds of whoever fed the run."""

    node_id: str
    class_type: str | None
    phase: Phase
    started_s: float
    ended_s: float | None  # None while it runs
    seconds_per_step: float | None
    unsure_s: float = 0.0  # it may have begun, or ended, so much earlier: nobody listened then

    @property
    def seconds(self) -> float | None:
        """How long it ran; None where that is not known."""
        if self.ended_s is None:
            return None
        seconds = self.ended_s - self.started_s
        return None if self.unsure_s > max(_UNSURE_S, _UNSURE_PART * seconds) else seconds


_UNSURE_S: Final = 3.0
_UNSURE_PART: Final = 0.05  # of its own time
_CATCHES_UP_S: Final = 1.0  # after a time in which nobody listened: what is read then was told meanwhile

# Messages that come closer together than this waited to be read, or tell of steps that a cache skipped: they
# are one moment, and from one moment to itself there is no pace.
_APART_S: Final = 0.005


class _Node:
    """A node that has begun."""

    def __init__(self, started_s: float) -> None:
        self.started_s = started_s
        self.ended_s: float | None = None
        self.unsure_s = 0.0
        self.value = 0.0
        self.maximum = 0.0
        self._first: tuple[float, float] | None = None  # value and moment of the first steps heard
        self._last: tuple[float, float] | None = None

    def step(self, value: float, maximum: float, now_s: float) -> None:
        # progress_state and progress tell the same step; the first of the two has the better moment.
        if value <= self.value and maximum == self.maximum:
            return
        if maximum != self.maximum:
            self._first = self._last = None  # another bar of the same node: its steps are others
        self.value, self.maximum = value, maximum
        if value > 0:
            together = self._last is not None and now_s - self._last[1] < _APART_S
            if self._first is None or (together and self._first == self._last):
                self._first = (value, now_s)
            self._last = (value, now_s)

    @property
    def seconds_per_step(self) -> float | None:
        if self._first is None or self._last is None or self._last[0] <= self._first[0]:
            return None
        return (self._last[1] - self._first[1]) / (self._last[0] - self._first[0])


class WorkTracker:
    """Keeps what ran and what is still to run."""

    def __init__(self, graph: Mapping[str, Any], steps: Mapping[str, int]) -> None:
        """Prepare; `steps`: sampler node -> the steps that it will run, as far as that is known."""
        self.cached: frozenset[str] = frozenset()
        self._class: dict[str, str | None] = {}
        self._phase: dict[str, Phase] = {}
        self.learn(graph)
        self._weight = {
            node_id: weight_of(self._phase[node_id], steps.get(node_id)) for node_id in running_nodes(graph)
        }
        self._begun: dict[str, _Node] = {}
        self._unheard: set[str] = set()
        self._current: str | None = None
        self._last_phase = Phase.OTHER
        self._fraction = 0.0
        self._deaf_s = 0.0  # how long nobody listened, the last time
        self._hears_since_s = float("-inf")

    def learn(self, graph: Mapping[str, Any]) -> None:
        """Take the classes of the nodes from the graph that really ran."""
        self._class = {node_id: class_of(graph, node_id) for node_id in graph}
        self._phase = {node_id: phase_of(graph, node_id) for node_id in graph}

    def cache(self, node_ids: Iterable[str]) -> None:
        """Note nodes that will not run."""
        self.cached |= frozenset(node_ids)

    def note_deaf(self, since_s: float, now_s: float) -> None:
        """Note that nobody has listened meanwhile: what is told from now on may be as old as that."""
        self._deaf_s, self._hears_since_s = now_s - since_s, now_s

    def begin(self, node_id: str, now_s: float) -> None:
        """Note that a node runs now; the one before it is done, as ComfyUI runs one at a time."""
        if self._current is not None and self._current != node_id:
            self.finish(self._current, now_s)
        self._current = node_id
        self._last_phase = self._phase.get(node_id, Phase.OTHER)
        if node_id not in self._begun:
            self._begun[node_id] = _Node(now_s)
            self._doubt(self._begun[node_id], now_s)

    def step(self, node_id: str, value: float, maximum: float, now_s: float) -> None:
        """Note a node's step ``value`` of ``maximum``."""
        self.begin(node_id, now_s)
        self._begun[node_id].step(value, maximum, now_s)

    def update(self, nodes: Iterable[NodeProgress], now_s: float) -> None:
        """Take in the state of all nodes that have run so far: it fills in what was missed."""
        for told in nodes:
            if told.node in self.cached:
                continue
            node = self._begun.get(told.node)
            if told.state == "running":
                if node is None:
                    self.begin(told.node, now_s)
                # "0 of 1" is what every node begins with: no step has been counted.
                if told.maximum > 1:
                    self.step(told.node, told.value, told.maximum, now_s)
            elif told.state == "finished" and node is not None and node.ended_s is None:
                self.finish(told.node, now_s)
            elif told.state == "finished" and node is None:
                # It ran while nobody listened: done, but nobody knows how long it took.
                self._unheard.add(told.node)

    def finish(self, node_id: str, now_s: float) -> None:
        """Note that a node is done."""
        node = self._begun.get(node_id)
        if node is not None and node.ended_s is None:
            node.ended_s = now_s
            self._doubt(node, now_s)
        if self._current == node_id:
            self._current = None

    def _doubt(self, node: _Node, now_s: float) -> None:
        if now_s - self._hears_since_s < _CATCHES_UP_S:
            node.unsure_s = max(node.unsure_s, self._deaf_s)

    def finish_all(self, now_s: float) -> None:
        """Note that nothing runs any more."""
        for node_id in self._begun:
            self.finish(node_id, now_s)

    @property
    def timings(self) -> tuple[NodeTiming, ...]:
        """Every node that was heard to run, in the order they began."""
        return tuple(
            NodeTiming(
                node_id=node_id,
                class_type=self._class.get(node_id),
                phase=self._phase.get(node_id, Phase.OTHER),
                started_s=node.started_s,
                ended_s=node.ended_s,
                seconds_per_step=node.seconds_per_step,
                unsure_s=node.unsure_s,
            )
            for node_id, node in self._begun.items()
        )

    def progress(self, succeeded: bool, phase: Phase | None) -> RunProgress:
        """Sum up; with `phase` given there is no node to name."""
        self._fraction = 1.0 if succeeded else max(self._fraction, self._done_fraction())
        current = self._current if phase is None else None
        node = self._begun.get(current) if current is not None else None
        counts = node is not None and node.maximum > 0
        return RunProgress(
            phase=phase or self._last_phase,  # between two nodes the phase is still the former's
            node_id=current,
            class_type=self._class.get(current or ""),
            step=int(node.value) if node is not None and counts else None,
            steps=int(node.maximum) if node is not None and counts else None,
            fraction=self._fraction,
            seconds_per_step=node.seconds_per_step if node is not None else None,
            nodes_done=len(self._weight) if succeeded else len(self._weight.keys() & self._done()),
            nodes_total=len(self._weight),
        )

    def _done(self) -> set[str]:
        ended = {node_id for node_id, node in self._begun.items() if node.ended_s is not None}
        return ended | self._unheard | self.cached

    def _done_fraction(self) -> float:
        to_run = {node_id: weight for node_id, weight in self._weight.items() if node_id not in self.cached}
        total = sum(to_run.values())
        if total == 0:
            return 0.0
        done = sum(to_run.get(node_id, 0.0) for node_id in self._unheard)
        for node_id, node in self._begun.items():
            part = 1.0 if node.ended_s is not None else _part(node)
            done += to_run.get(node_id, 0.0) * part
        # Only the outcome makes it whole.
        return min(done / total, 0.99)


def _part(node: _Node) -> float:
    return min(node.value / node.maximum, 1.0) if node.maximum > 0 else 0.0
