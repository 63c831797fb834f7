"""Give each job its own output folder, by the prefix of every node that saves.

Two reasons. A job's files are found and deleted as one folder. And ComfyUI answers a graph that it ran before
from its cache, naming the *old* file, which may be gone: a prefix that is new re-runs the saving node.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

from comfy.graphs.links import inputs_of, is_link
from comfy.graphs.values import literal
from comfy.node_defs.node_classes import OUTPUT_PREFIX
from comfy.rewrites.change import Change, ChangeKind

_NAME_IF_UNKNOWN = "out"
_SAFE_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_WHY = "every attempt at a job writes into a folder of its own"


def set_output_prefix(
    graph: Mapping[str, Any], job_id: str, *, attempt: int | None = None
) -> tuple[dict[str, Any], tuple[Change, ...]]:
    """Give a copy of the graph whose saving nodes write to ``jobs/<job_id>/[<attempt>/]<the user's name>``.

    A linked prefix is cut from its link and written as a literal. With `attempt` a second attempt on a warm
    server cannot be answered with the files of the first.

    Raises:
        ValueError: the job id cannot be the name of a folder.
    """
    if not _SAFE_ID.fullmatch(job_id):
        raise ValueError(f"{job_id!r} cannot name a folder: letters, digits, '.', '_' and '-' can")
    folder = f"jobs/{job_id}" if attempt is None else f"jobs/{job_id}/{attempt}"
    rewritten: dict[str, Any] = copy.deepcopy(dict(graph))
    changes = []
    for node_id in graph:
        if OUTPUT_PREFIX not in inputs_of(graph, node_id):
            continue
        old = inputs_of(graph, node_id)[OUTPUT_PREFIX]
        new = f"{folder}/{_last_part(literal(graph, node_id, OUTPUT_PREFIX))}"
        rewritten[node_id]["inputs"][OUTPUT_PREFIX] = new
        why = f"{_WHY}; the prefix was linked to node {old[0]}" if is_link(old) else _WHY
        changes.append(
            Change(
                node_id=node_id, input_name=OUTPUT_PREFIX, old=old, new=new, why=why, kind=ChangeKind.EXACT
            )
        )
    return rewritten, tuple(changes)


def _last_part(prefix: Any) -> str:
    """Keep what the user called the file; the folders in front of it give way to the job's."""
    if not isinstance(prefix, str):
        return _NAME_IF_UNKNOWN
    name = re.split(r"[/\\]", prefix)[-1].strip()
    return name if name.strip(".") else _NAME_IF_UNKNOWN
