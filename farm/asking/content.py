"""What stands for the content that a job would make: equal contents may share a result."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from comfy.graphs.required import input_files
from farm.asking.graphs import with_values
from farm.asking.sources import scheme_of, without_pin
from farm.errors import Problem
from farm.job import JobSpec, spec_to_json

# What a job asks for besides its pixels. A field that is not named here counts: a new one makes another
# job until somebody has thought about it.
_NO_CONTENT: Final = frozenset(
    {
        "title",
        "template",
        "template_parameters",  # they are in the graph
        "priority",
        "deadline",
        "time_limit_s",
        "max_attempts",
        "labels",
        "idempotency_key",
        "requirements",
        "reuse",
    }
)
_STORED_INPUT: Final = re.compile(r"/inputs/([0-9a-f]{64})(\.[^/]*)?$")  # as `KeyLayout.input_key` names it


def content_of(spec: JobSpec) -> str:
    """The same for jobs that would make the same files of the same models: 32 hex digits.

    Graph with its parameters set (seeds among them), contents of the inputs, allowed changes; not the
    order in which a graph is written, and not what its nodes are called for people.
    """
    whole = json.loads(spec_to_json(spec))
    counted = {name: value for name, value in whole.items() if name not in _NO_CONTENT}
    graph = with_values(spec.graph, {**counted.pop("parameters", {}), **dict.fromkeys(spec.inputs, "")})
    counted["graph"] = {
        node_id: {name: part for name, part in node.items() if name != "_meta"}
        for node_id, node in graph.items()
    }
    counted["inputs"] = {input_path: known_content(source) for input_path, source in spec.inputs.items()}
    text = json.dumps(counted, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def known_content(source: str) -> str | None:
    """The SHA-256 of what lies at an address, when the address itself says it."""
    if pinned := without_pin(source).sha256:
        return pinned
    stored = _STORED_INPUT.search(source) if scheme_of(source) == "s3" else None
    return stored[1] if stored else None


def reuse_problems(graph: Mapping[str, Any], inputs: Mapping[str, Any]) -> Iterator[Problem]:
    """Each thing that the graph reads and whose content nobody knows: it could be another one each time.

    Args:
        inputs: "node.input" -> as the caller gives it.
    """
    for input_path, source in inputs.items():
        if isinstance(source, str) and scheme_of(source) and known_content(source) is None:
            yield Problem(
                field=f"input {input_path}",
                message="its content is not known, so no result can be reused; give the file itself, or "
                "end the address in #sha256=…",
            )
    for file in input_files(graph):
        if f"{file.node_id}.{file.input_name}" not in inputs:
            yield Problem(
                field=f"node {file.node_id}.{file.input_name}",
                message=f"reads {file.name} from the worker's own input folder, whose content is not known, "
                "so no result can be reused; give the file as an input",
            )
