"""Prompts as `/api/jobs` tells them: one shape for what waits, runs and is done.

Source: ComfyUI ``comfy_execution/jobs.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

_VISUAL: Final = frozenset({"images", "video", "audio", "3d"})


class JobStatus(StrEnum):
    """Where a job is."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"  # its history says `error`


def queued_job(item: list[Any], status: JobStatus) -> dict[str, Any]:
    """A job that waits or runs; `item` is its entry in /queue."""
    number, prompt_id, _, extra_data, _ = item
    job = {"id": prompt_id, "status": status.value, "priority": number, "outputs_count": 0}
    return job | _created(extra_data)


def finished_job(entry: Mapping[str, Any], *, whole: bool) -> dict[str, Any]:
    """A job that is in the history.

    Args:
        whole: with outputs, messages and graph, as `/api/jobs/{id}` tells it.
    """
    number, prompt_id, graph, extra_data, _ = entry["prompt"]
    messages = dict(entry["status"]["messages"])
    job: dict[str, Any] = {
        "id": prompt_id,
        "status": _status(entry["status"]["completed"], messages).value,
        "priority": number,
        "outputs_count": len(list(_files(entry["outputs"]))),
        **_created(extra_data),
        **_times(messages),
    }
    if "execution_error" in messages:
        job["execution_error"] = messages["execution_error"]
    if (preview := _preview(entry["outputs"])) is not None:
        job["preview_output"] = preview
    if whole:
        job["outputs"] = entry["outputs"]
        job["execution_status"] = entry["status"]
        job["workflow"] = {"prompt": graph, "extra_data": extra_data}
    return job


def _created(extra_data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: extra_data[key] for key in ("create_time",) if key in extra_data}


def _status(completed: bool, messages: Mapping[str, Any]) -> JobStatus:
    if completed:
        return JobStatus.COMPLETED
    return JobStatus.CANCELLED if "execution_interrupted" in messages else JobStatus.FAILED


def _times(messages: Mapping[str, Any]) -> dict[str, Any]:
    times = {"execution_start_time": messages["execution_start"]["timestamp"]}
    for ending in ("execution_success", "execution_error", "execution_interrupted"):
        if ending in messages:
            times["execution_end_time"] = messages[ending]["timestamp"]
    return times


def _files(outputs: Mapping[str, Any]) -> Iterable[tuple[str, str, Mapping[str, Any]]]:
    for node_id, shown in outputs.items():
        for media_type, items in shown.items():
            for item in items if isinstance(items, list) else ():
                if isinstance(item, Mapping):
                    yield node_id, media_type, item


def _preview(outputs: Mapping[str, Any]) -> dict[str, Any] | None:
    """The first file that was saved, else the first that was shown."""
    found = [
        {**item, "nodeId": node_id, "mediaType": media_type}
        for node_id, media_type, item in _files(outputs)
        if media_type in _VISUAL or str(item.get("format", "")).startswith(("video/", "audio/"))
    ]
    saved = (item for item in found if item.get("type") == "output")
    return next(saved, found[0] if found else None)
