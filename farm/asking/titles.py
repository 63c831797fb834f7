"""What a job is called in lists and in Flower: what sets it apart from its neighbours comes first."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from farm.asking.building import Built
from farm.asking.graphs import GraphFacts, roles_of
from farm.errors import InvalidJob, Problem
from farm.job import LONGEST_TITLE

_FIELD: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")  # a brace is written twice
_PROMPT_LENGTH: Final = 48  # characters of a prompt that a list can show
_SPACES: Final = re.compile(r"\s+")


def default_title(built: Built, facts: GraphFacts) -> str:
    """Such as "a red fox in snow · seed 7 · WAN 2.2 T2V A14B 832×480 81f 20 steps"."""
    seed = _value(built, "seed")
    parts = (_beginning(_value(built, "prompt")), "" if seed is None else f"seed {seed}", facts.makes)
    return " · ".join(part for part in parts if part)[:LONGEST_TITLE]


def filled_title(
    title: str, built: Built, facts: GraphFacts, given: Mapping[str, Any], labels: Sequence[str]
) -> str:
    """A caller's own title with its `{fields}` filled.

    Args:
        title: may hold `{prompt}`, `{seed}`, `{graph}` (what it makes), `{labels}`, or any parameter; ``{{``
            and ``}}`` are braces.
        given: the parameters, by the names that the caller uses.

    Raises:
        InvalidJob: a field is nothing of this job.
    """
    if "{" not in title and "}" not in title:
        return title
    values: dict[str, Any] = {
        "prompt": _beginning(_value(built, "prompt")),
        "seed": _value(built, "seed"),
        "graph": facts.makes,
        "labels": " ".join(labels),
    }
    values = {**built.values, **built.template_parameters, **given, **values}

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name is None:
            return found[0][0]
        if name not in values:
            known = ", ".join(sorted(values))
            message = f"there is no {{{name}}}; there are {known}; a brace itself is {{{{"
            raise InvalidJob([Problem(field="title", message=message)])
        return _beginning(values[name])

    return _FIELD.sub(value, title)[:LONGEST_TITLE]


def _beginning(value: Any) -> str:
    text = _SPACES.sub(" ", "" if value is None else str(value)).strip()
    if len(text) <= _PROMPT_LENGTH:
        return text
    whole_words = text[:_PROMPT_LENGTH].rpartition(" ")[0] or text[: _PROMPT_LENGTH - 1]
    return whole_words.rstrip(" ,.;:") + "…"


def _value(built: Built, role: str) -> Any:
    """What the graph has for a role: of a template by its name, else where its first setting stands."""
    if role in built.template_parameters:
        return built.template_parameters[role]
    # Roles are remembered for graphs that differ in texts and seeds: take where one stands, not its value.
    for setting in roles_of(built.graph, built.key).of(role):
        if not setting.is_computed:
            return built.graph[setting.set_at.node_id]["inputs"].get(setting.set_at.input_name)
    return None
