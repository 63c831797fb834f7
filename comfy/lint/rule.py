"""What a lint rule is, and what it looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from comfy.graphs.graph import LeftOut
from comfy.graphs.links import class_of
from comfy.graphs.values import literal
from comfy.lint.diagnostic import Severity
from comfy.node_defs.node_classes import base_class
from comfy.rewrites.site import Site
from comfy.wan.roles import Expert, Roles, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Where a rule strikes, and what is there."""

    message: str
    node_id: str | None = None
    input_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A graph as rules see it."""

    graph: Mapping[str, Any]
    roles: Roles
    site: Site
    left_out: tuple[LeftOut, ...] = ()  # nodes of the editor's file that the graph does not have

    def class_of(self, node_id: str) -> str:
        """A node's class without a variant's suffix."""
        return base_class(class_of(self.graph, node_id) or "")

    def value(self, node_id: str, input_name: str) -> Any:
        """What an input gets, as far as that can be known before the graph runs."""
        return literal(self.graph, node_id, input_name)

    def running(self, *classes: str) -> list[str]:
        """The nodes that run, in the graph's order; of these classes, if any are named."""
        return [
            node_id
            for node_id in self.graph
            if node_id in self.roles.running and (not classes or self.class_of(node_id) in classes)
        ]

    def two_samplers(self) -> tuple[Stage, Stage] | None:
        """The stages of the two experts where each has a sampler of its own; else None."""
        pair = self.pair()
        return None if pair is None or pair[0].sampler_id == pair[1].sampler_id else pair

    def pair(self) -> tuple[Stage, Stage] | None:
        """The stages of the two experts; None when the graph has other ones."""
        stages = self.roles.stages
        if [stage.expert for stage in stages] != [Expert.HIGH, Expert.LOW]:
            return None
        return stages[0], stages[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One entry of the table of all rules; its words are the documentation."""

    id: str  # stable
    severity: Severity
    title: str  # what is wrong, in general
    remedy: str
    check: Callable[[Subject], Iterable[Found]]
    source: str  # link, and the file behind it in brackets
    any_model: bool = False  # whether it is about graphs of other models than WAN too
    by_definitions: bool = False  # an error only where the worker itself told its nodes: ours may be older
