"""What an attempt owns is named by the token of its claim, and nothing else is.

A number does not tell two attempts apart: a Redis that came back with older data gives it a second time. So
whoever clears up after an attempt names the token, and can remove nothing that another attempt has made.
"""

from __future__ import annotations

import uuid
from typing import Any, Final

from farm.store.base import Claim

_PROMPTS: Final = uuid.UUID("6f2d3c54-9d0a-5f0e-8a35-3a1c7f0b52d1")  # of all prompts of the farm

# Source: ComfyUI_frontend, the form of a workflow of version 0.4.
_EMPTY_WORKFLOW: Final[dict[str, Any]] = {
    "last_node_id": 0,
    "last_link_id": 0,
    "nodes": [],
    "links": [],
    "groups": [],
    "config": {},
    "extra": {},
    "version": 0.4,
}


def prompt_id(claim: Claim, *, tries: int = 0, repeats: int = 0) -> str:
    """The id under which ComfyUI knows an attempt; made, not given, so that a lost answer can be asked for.

    A UUID in its plain form: since 0.25 ComfyUI takes nothing else.

    Args:
        tries: how often the attempt was run before: the card ran out of memory, or the clip was spoilt.
        repeats: how often that try was run before, because ComfyUI named files of another run.
    """
    return str(uuid.uuid5(_PROMPTS, f"{claim.job_id}/{claim.attempt}/{claim.token}/{tries}/{repeats}"))


def prompt_data(claim: Claim) -> dict[str, Any]:
    """What a prompt carries beside its graph, ComfyUI's ``extra_data``.

    Whose it is, for people who look at ComfyUI's queue or history: its id does not tell them. The editor's
    file, for nodes that read it; they fail where there is none, so they get an empty one. But not into files
    that keep their metadata: the editor would open it in place of the graph.
    """
    spec = claim.spec
    workflow = spec.workflow or (None if spec.rewrite_options.keep_metadata else _EMPTY_WORKFLOW)
    return {
        "farm": {"job_id": claim.job_id, "attempt": claim.attempt},
        "extra_pnginfo": {} if workflow is None else {"workflow": workflow},
    }


def file_prefix(claim: Claim) -> str:
    """What the folder of an attempt's files is called, in ComfyUI's ``jobs/``."""
    return f"{claim.job_id}-{claim.token}"


def run_folder(claim: Claim) -> str:
    """The folder of an attempt's files within ComfyUI's output folder.

    One for each attempt: a second one on a warm ComfyUI would else be answered from its cache with the first
    one's file, which may be gone.
    """
    return f"jobs/{file_prefix(claim)}"
