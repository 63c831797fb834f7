"""Jobs, outputs, assets and errors as Comfy API v2 writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from comfy.graphs.links import class_of
from farm.gateway.refusals import Refusal
from farm.job import Artifact, JobError, JobRecord, JobState, Progress
from farm.store.redis.assets import Asset
from farm.store.webhooks import TENANT_LABEL

PREFIX: Final = "/api/v2"
_KINDS: Final = {"image": "image", "video": "video", "audio": "audio", "text": "text"}

# What other doors call otherwise. The contract has one word for all that is ours to repair.
_CODES: Final = {
    "invalid_job": "invalid_workflow",
    "unplaceable": "invalid_workflow",
    "refused": "invalid_request",
    "store_unavailable": "upstream_error",
    "storage_unavailable": "upstream_error",
    "internal": "upstream_error",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFile:
    """One output of a job, which is an asset too."""

    asset_id: str
    artifact: Artifact
    job: JobRecord

    @property
    def name(self) -> str:
        """As ComfyUI called it, else as it is stored."""
        return self.artifact.filename or self.artifact.key.rpartition("/")[2]


def error(refusal: Refusal) -> dict[str, Any]:
    """The shared envelope of errors."""
    code = _CODES.get(refusal.code, refusal.code)
    told: dict[str, Any] = {"code": code, "message": refusal.message}
    if refusal.details:
        told["details"] = dict(refusal.details)
    return {"error": told}


def status_of(job: JobRecord) -> str:
    """Where a job is, in the contract's words."""
    return "canceling" if job.state is JobState.RUNNING and job.cancel_requested else job.state.value


def job_json(
    job: JobRecord, *, position: int | None, outputs: Iterable[Mapping[str, Any]], retention_s: float
) -> dict[str, Any]:
    """A whole job."""
    own = f"{PREFIX}/jobs/{job.job_id}"
    return {
        "id": job.job_id,
        "status": status_of(job),
        "created_at": stamp(job.submitted_at),
        "started_at": stamp(job.started_at),
        "completed_at": stamp(job.finished_at),
        "expires_at": stamp(expiry_of(job, retention_s)),
        "queue_position": position,
        "progress": progress_json(job, job.progress) if job.progress else None,
        "outputs": list(outputs),
        "error": error_json(job),
        "metrics": _metrics(job),
        "metadata": metadata_of(job),
        "urls": {"self": own, "events": f"{own}/events", "cancel": f"{own}/cancel"},
    }


def summary_json(job: JobRecord) -> dict[str, Any]:
    """A job in a list."""
    changed = job.finished_at or job.claimed_at or job.submitted_at
    return {
        "id": job.job_id,
        "status": status_of(job),
        "create_time": stamp(job.submitted_at),
        "update_time": stamp(changed),
        "metadata": metadata_of(job),
    }


def metadata_of(job: JobRecord) -> dict[str, str]:
    """The labels of a job as pairs; what has no ``=`` is a key without a value."""
    own = (label for label in job.spec.labels if not label.startswith(TENANT_LABEL))
    return {key: value for key, _, value in (label.partition("=") for label in own)}


def progress_json(job: JobRecord, progress: Progress) -> dict[str, Any]:
    """How far it is; whole, so that one tells a client all."""
    node_id = progress.node_id if progress.node_id in job.spec.graph else None
    class_type = class_of(job.spec.graph, node_id) if node_id is not None else None
    done, total = progress.nodes_done, progress.nodes_total
    steps = f" {progress.step}/{progress.steps}" if progress.step is not None and progress.steps else ""
    return {
        "value": min(max(progress.fraction, 0.0), 1.0),
        "nodes_done": done if done is not None else 0,
        "nodes_total": total if total is not None else len(job.spec.graph),
        "current_node": node_id,
        "current_node_class": class_type,
        "step": progress.step,
        "steps": progress.steps,
        "message": f"{class_type or progress.phase}{steps}",
    }


def error_json(job: JobRecord) -> dict[str, Any] | None:
    """Why a job did not end well; nothing of one that was canceled because somebody asked for it."""
    if job.state not in (JobState.FAILED, JobState.EXPIRED):
        return None
    found: JobError | None = job.error
    if job.state is JobState.EXPIRED or found is None:
        return {"code": job.state.value, "message": job.reason or "no reason is known"}
    trace = found.details.get("traceback")
    return {
        "code": found.code,
        "message": found.message,
        "node_id": found.node_id,
        "class_type": found.node_type,
        "traceback": "".join(map(str, trace)) if isinstance(trace, list) else None,
    }


def output_json(output: OutputFile, *, url: str, url_expires_at: datetime) -> dict[str, Any]:
    """One output, with a link to its content."""
    artifact = output.artifact
    return {
        "id": output.asset_id,
        "job_id": output.job.job_id,
        "node_id": artifact.node_id or "",
        "name": output.name,
        "type": kind_of(artifact),
        "content_type": artifact.media_type,
        "size_bytes": artifact.size_bytes,
        "hash": None,  # it has a SHA-256, and the contract knows BLAKE3 alone
        "url": url,
        "url_expires_at": stamp(url_expires_at),
    }


def kind_of(artifact: Artifact) -> str:
    """What an output is, by its type and its ending."""
    if artifact.key.endswith(".latent"):
        return "latent"
    if artifact.media_type == "application/json":
        return "text"
    return _KINDS.get(artifact.media_type.partition("/")[0], "file")


def asset_json(
    asset: Asset, *, url: str, url_expires_at: datetime, created_new: bool | None = None
) -> dict[str, Any]:
    """An uploaded file."""
    told: dict[str, Any] = {
        "id": asset.asset_id,
        "hash": f"blake3:{asset.blob.blake3}",
        "size_bytes": asset.blob.size_bytes,
        "content_type": asset.blob.media_type,
        "file_path": asset.path,
        "created_at": stamp(asset.created_at),
        "url": url,
        "url_expires_at": stamp(url_expires_at),
        "expires_at": stamp(asset.expires_at),
    }
    return told if created_new is None else {**told, "created_new": created_new}


def output_asset_json(
    output: OutputFile, *, url: str, url_expires_at: datetime, retention_s: float
) -> dict[str, Any]:
    """An output, as the asset that it is."""
    job, artifact = output.job, output.artifact
    return {
        "id": output.asset_id,
        "hash": None,
        "size_bytes": artifact.size_bytes,
        "content_type": artifact.media_type,
        "file_path": output.name,
        "created_at": stamp(job.finished_at or job.submitted_at),
        "url": url,
        "url_expires_at": stamp(url_expires_at),
        "expires_at": stamp(expiry_of(job, retention_s)),
        "job_id": job.job_id,
    }


def expiry_of(job: JobRecord, retention_s: float) -> datetime:
    """Until when a job is kept; for one that goes on, if it ended now."""
    return (job.finished_at or datetime.now(UTC)) + timedelta(seconds=retention_s)


def stamp(moment: datetime | None) -> str | None:
    """A time as the contract writes it."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds")


def _metrics(job: JobRecord) -> dict[str, int | None]:
    now = datetime.now(UTC)
    started = job.started_at
    queued = (started or job.finished_at or now) - job.submitted_at
    ran = (job.finished_at or now) - started if started else None
    return {"queue_ms": ms(queued), "execution_ms": None if ran is None else ms(ran)}


def ms(span: timedelta) -> int:
    """A span of time as contracts write it."""
    return max(round(span.total_seconds() * 1000), 0)
