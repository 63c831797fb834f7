"""The JSON beside the files of a job: how they were made, enough to make them again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from farm.store.base import Claim
from worker.render import Rendered

MANIFEST_VERSION: Final = 1


def manifest_of(claim: Claim, rendered: Rendered, worker: Mapping[str, Any]) -> dict[str, Any]:
    """All but what publishing itself finds out (artifacts, its own seconds).

    Args:
        worker: what the worker says of itself: name, GPU, load plan, versions of ComfyUI and torch.
    """
    spec = claim.spec
    return {
        "manifest_version": MANIFEST_VERSION,
        "job_id": claim.job_id,
        "attempt": claim.attempt,
        "title": spec.title,
        "template": spec.template,
        "template_parameters": spec.template_parameters,
        "parameters": spec.parameters,
        "inputs": spec.inputs,
        "labels": list(spec.labels),
        "submitted_at": claim.submitted_at.isoformat(),
        "claimed_at": claim.claimed_at.isoformat(),
        "graph": rendered.graph,
        "changes": [asdict(change) for change in rendered.changes],
        "out_of_memory": [rung.value for rung in rendered.rungs],
        "node_seconds": {node: round(seconds, 4) for node, seconds in rendered.node_seconds.items()},
        "worker": dict(worker),
    }
