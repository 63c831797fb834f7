"""The manifest: the JSON beside a job's artifacts that says how they were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from pydantic_core import to_json

from farm.job import Artifact
from worker.media import Inspected

MANIFEST_NAME: Final = "manifest.json"
MANIFEST_VERSION: Final = 1


def manifest_json(
    run: Mapping[str, Any],
    job_id: str,
    attempt: int,
    artifacts: Sequence[Artifact],
    inspected: Sequence[Inspected],
    publish_timings_s: Mapping[str, float],
) -> bytes:
    """What is known of the run, completed by where its files are and what was read in them.

    Args:
        run: graph, versions, timings, GPU and plan; no secret.
        inspected: one for each artifact.
    """
    described = [
        {**_fields(artifact), "image": facts.image, "audio": facts.audio}
        for artifact, facts in zip(artifacts, inspected, strict=True)
    ]
    whole = {
        "manifest_version": MANIFEST_VERSION,
        "job_id": job_id,
        "attempt": attempt,
        "published_at": datetime.now(tz=UTC),
        **run,
        "publish_timings_s": {name: round(seconds, 4) for name, seconds in publish_timings_s.items()},
        "artifacts": described,
    }
    # A number that JSON does not know (a node's NaN) becomes a string rather than the job's failure.
    return to_json(whole, indent=2, inf_nan_mode="strings", serialize_unknown=True)


def _fields(artifact: Artifact) -> dict[str, Any]:
    return {name: getattr(artifact, name) for name in Artifact.__dataclass_fields__}
