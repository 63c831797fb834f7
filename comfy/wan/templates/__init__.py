"""Graphs that work, with typed parameters: `get_template` and `Template.build`."""

from __future__ import annotations

from typing import Final

from comfy.errors import GraphError, GraphProblem
from comfy.graphs.graph import near_names
from comfy.wan.templates.core import CORE
from comfy.wan.templates.template import BuiltGraph, Preset, Template
from comfy.wan.templates.wrapper import WRAPPER

__all__ = ["TEMPLATES", "BuiltGraph", "Preset", "Template", "get_template"]

TEMPLATES: Final = {template.name: template for template in (*CORE, *WRAPPER)}


def get_template(name: str) -> Template:
    """Give a built-in template by name.

    Raises:
        GraphError: there is none of that name; the message lists them.
    """
    if name not in TEMPLATES:
        known = ", ".join(near_names(name, TEMPLATES, limit=len(TEMPLATES)))
        message = f"there is no template {name!r}; there are: {known}"
        raise GraphError([GraphProblem(kind="unknown_template", message=message)])
    return TEMPLATES[name]
