"""What a worker does to a job, done at once and only when a test says so."""

from __future__ import annotations

import base64
from dataclasses import replace

from farm.job import Artifact, ErrorKind, EventKind, JobError, JobState, Progress, VideoFacts
from farm.storage import Storage
from farm.store.base import Claim, LeaseAnswer, NewEvent
from farm.store.roles import JobStore
from tests.support.jobs import a_result

CLIP = b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 8  # what a job makes

_FACTS = VideoFacts(codec="h264", width=64, height=48, frames=8, fps=8.0, duration_s=1.0)


class HandWorker:
    """Claims and ends jobs by hand."""

    def __init__(self, store: JobStore, storage: Storage, name: str = "w1") -> None:
        self._store, self._storage, self._name = store, storage, name
        self._claims: dict[str, Claim] = {}

    def start(self, job_id: str) -> Claim:
        """Take the job."""
        claim = self._store.claim(job_id, worker=self._name)
        assert isinstance(claim, Claim), claim
        self._claims[job_id] = claim
        return claim

    def step(self, job_id: str, step: int, steps: int = 4, *, picture: bytes | None = None) -> None:
        """Tell how far it is, with a preview."""
        claim = self._claims[job_id]
        events = []
        if picture is not None:
            image = base64.b64encode(picture).decode()
            data = {"node_id": "9", "media_type": "image/jpeg", "image": image}
            events.append(NewEvent(kind=EventKind.PREVIEW, data=data))
        progress = Progress(
            phase="sample_high",
            fraction=step / steps,
            node_id=next(iter(claim.spec.graph)),
            step=step,
            steps=steps,
            nodes_done=1,
            nodes_total=3,
        )
        told = NewEvent(kind=EventKind.PROGRESS, data={"fraction": step / steps})
        self._store.report(job_id, claim.attempt, [*events, told], progress=progress, token=claim.token)

    def succeed(self, job_id: str, *, clip: bytes = CLIP, poster: bytes | None = None) -> None:
        """Store a clip and commit it; one with a `poster` counts as a video."""
        claim = self._claims[job_id]
        key = f"{self._storage.keys.attempt_prefix(job_id, claim.token)}clip.mp4"
        stored = self._storage.put_bytes(clip, key, media_type="video/mp4")
        if poster is not None:
            self._storage.put_bytes(poster, f"{key}.jpg", media_type="image/jpeg")
        artifact = Artifact(
            key=key,
            size_bytes=stored.size_bytes,
            sha256=stored.sha256,
            media_type="video/mp4",
            node_id="9",
            filename="clip.mp4",
            video=None if poster is None else _FACTS,
            poster_key=None if poster is None else f"{key}.jpg",
        )
        result = replace(a_result(), bucket=self._storage.bucket, artifacts=(artifact,))
        assert self._store.succeed(job_id, claim.attempt, result, token=claim.token) is LeaseAnswer.OK

    def fail(self, job_id: str) -> None:
        """Fail it for good."""
        error = JobError(
            kind=ErrorKind.JOB,
            code="node_failed",
            message="KSampler: the shapes differ",
            node_id="9",
            node_type="KSampler",
            details={"traceback": ["line 1\n", "line 2\n"]},
        )
        claim = self._claims[job_id]
        state = self._store.fail(job_id, claim.attempt, error, retry_in_s=None, token=claim.token)
        assert state is JobState.FAILED

    def stop(self, job_id: str) -> None:
        """End a job whose cancel was requested."""
        claim = self._claims[job_id]
        self._store.end_canceled(job_id, claim.attempt, token=claim.token)
