"""Jobs, results and errors for tests of whatever handles them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from farm.job import Artifact, ErrorKind, JobError, JobResult, JobSpec, make_spec, new_job_id
from farm.store.base import Claim, NewJob
from farm.store.roles import AttemptStore

QUEUE = "render.24"
TOKEN, OTHER = "5e" * 16, "a7" * 16  # of two claims
GRAPH = {"9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "a"}}}


def a_job(
    *, job_id: str | None = None, queue: str = QUEUE, parked: str | None = None, **fields: Any
) -> NewJob:
    """A small job; `fields` are those of its spec."""
    spec = make_spec({"graph": GRAPH, **fields})
    return NewJob(job_id=job_id or new_job_id(), spec=spec, queue=queue, parked=parked)


def claimed(store: AttemptStore, job_id: str, worker: str = "w1") -> Claim:
    """The claim of a job that a worker must get."""
    claim = store.claim(job_id, worker=worker)
    assert isinstance(claim, Claim), claim
    return claim


def a_claim(graph: Mapping[str, Any], **spec: Any) -> Claim:
    """As if the graph's job had just been claimed."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return Claim(
        job_id=uuid.uuid4().hex,
        attempt=1,
        token=uuid.uuid4().hex,
        spec=JobSpec(graph=dict(graph), **spec),
        submitted_at=now,
        claimed_at=now,
        lease_until=now,
    )


def a_result(name: str = "clip") -> JobResult:
    """One clip, as if it had been stored."""
    artifact = Artifact(key=f"{name}.mp4", size_bytes=3, sha256="ab" * 32, media_type="video/mp4")
    return JobResult(bucket="farm", artifacts=(artifact,), manifest_key=f"{name}.json")


def an_error(kind: ErrorKind = ErrorKind.TRANSIENT, message: str = "S3 did not answer") -> JobError:
    """Why an attempt went wrong."""
    return JobError(kind=kind, code="made_up", message=message, details={"tried": [], "times": 3})
