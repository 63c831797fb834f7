"""The JSON beside the files of a job: how they were made, enough to make them again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from comfy.rewrites.optimize import Optimized
from farm.store.base import Claim
from worker.results.rendered import Rendered

MANIFEST_VERSION: Final = 2  # 1 said "came" for a rewrite's status, and "wishes" for its options


def manifest_of(
    claim: Claim, rendered: Rendered, worker: Mapping[str, Any], *, rendered_by: int | None = None
) -> dict[str, Any]:
    """All but what publishing itself finds out (artifacts, its own seconds).

    Args:
        worker: what the worker says of itself: name, GPU, load plan, versions of ComfyUI and torch.
        rendered_by: the attempt whose files these are; default: this one.
    """
    spec = claim.spec
    return {
        "manifest_version": MANIFEST_VERSION,
        "job_id": claim.job_id,
        "attempt": claim.attempt,
        "rendered_by_attempt": rendered_by or claim.attempt,
        "title": spec.title,
        "template": spec.template,
        "template_parameters": spec.template_parameters,
        "parameters": spec.parameters,
        "inputs": spec.inputs,
        "labels": list(spec.labels),
        "submitted_at": claim.submitted_at.isoformat(),
        "claimed_at": claim.claimed_at.isoformat(),
        "graph": rendered.graph,
        "accept": spec.accept.value,
        "rewrite_options": asdict(spec.rewrite_options),
        "changes": [asdict(change) for change in rendered.changes],
        "rewrites": _rewrites(rendered.fitted),
        "out_of_memory": [step.value for step in rendered.fallback_steps],
        "rendered_again": asdict(rendered.again) if rendered.again is not None else None,
        "node_seconds": {node: round(seconds, 4) for node, seconds in rendered.node_seconds.items()},
        "model_bytes": rendered.model_bytes,
        "texts": [asdict(text) for text in rendered.texts],
        "blocked": [asdict(blocked) for blocked in rendered.blocked],
        "worker": dict(worker),
    }


def _rewrites(fitted: Optimized) -> list[dict[str, Any]]:
    """What became of each rewrite that had something to do; what was written stands under `changes`."""
    told: list[dict[str, Any]] = [
        {
            "rewrite": outcome.rewrite,
            "kind": outcome.kind.value,
            "status": outcome.status.value,
            "changes": len(outcome.changes),
            "notes": list(outcome.notes),
        }
        for outcome in fitted.outcomes
    ]
    if fitted.untried:
        told.append({"rewrite": "all", "status": "untried", "notes": [fitted.untried]})
    return told
