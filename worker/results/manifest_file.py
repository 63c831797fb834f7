"""The manifest as it is stored: what the run knew of itself, and what publishing found out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from pydantic_core import to_json

from farm.asking.sources import public_source
from farm.job import Artifact
from worker.results.media import Inspected

MANIFEST_NAME: Final = "manifest.json"


def manifest_json(
    run: Mapping[str, Any],
    artifacts: Sequence[Artifact],
    inspected: Sequence[Inspected],
    timings_s: Mapping[str, float],
) -> bytes:
    """The JSON for people and programs that find it beside the files.

    Args:
        run: as `worker.results.manifest.manifest_of` gives it.
        inspected: one for each artifact.
    """
    described = [
        {**_fields(artifact), "image": facts.image, "audio": facts.audio, "metadata": facts.metadata}
        for artifact, facts in zip(artifacts, inspected, strict=True)
    ]
    # A presigned link is a secret for as long as it is good.
    inputs = {input_path: public_source(str(source)) for input_path, source in run.get("inputs", {}).items()}
    whole = {
        **run,
        "inputs": inputs,
        "published_at": datetime.now(tz=UTC),
        "timings_s": {name: round(seconds, 4) for name, seconds in timings_s.items()},
        "artifacts": described,
    }
    # A number that JSON does not know (a node's NaN) becomes a string rather than the job's failure.
    return to_json(whole, indent=2, inf_nan_mode="strings", serialize_unknown=True)


def _fields(artifact: Artifact) -> dict[str, Any]:
    return {name: getattr(artifact, name) for name in Artifact.__dataclass_fields__}
