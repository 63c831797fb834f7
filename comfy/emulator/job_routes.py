"""Routes of jobs, where a generation has them: `/api/jobs`, `/api/jobs/{id}`, and cancelling by id.

Source: ComfyUI ``server.py``; status codes and bodies as measured.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from comfy.emulator.http import Routes
from comfy.emulator.jobs import JobStatus, finished_job, queued_job
from comfy.emulator.prompt_queue import PromptQueue
from comfy.emulator.prompt_routes import is_canonical_uuid
from comfy.emulator.world import World


class JobRoutes:
    """What is asked about jobs."""

    def __init__(self, world: World, queue: PromptQueue) -> None:
        self._world = world
        self._queue = queue

    def routes(self) -> Routes:
        """Methods, whole paths and who answers; none where the generation has none."""
        generation = self._world.settings.generation
        found: Routes = []
        if generation.lists_jobs:
            found += [("GET", "/api/jobs", self._get_jobs), ("GET", "/api/jobs/{job_id}", self._get_job)]
        if generation.cancels_jobs:
            found += [
                ("POST", "/api/jobs/cancel", self._post_cancel_of_many),
                ("POST", "/api/jobs/{job_id}/cancel", self._post_cancel),
            ]
        return found

    async def _get_jobs(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        statuses = [each for each in query.get("status", "").split(",") if each] or list(JobStatus)
        wrong = [each for each in statuses if each not in list(JobStatus)]
        if wrong:
            valid = ", ".join(JobStatus)
            return _error(f"Invalid status value(s): {', '.join(wrong)}. Valid values: {valid}")
        try:
            limit = int(query["limit"]) if "limit" in query else None
        except ValueError:
            return _error("limit must be an integer")
        if limit is not None and limit <= 0:
            return _error("limit must be a positive integer")
        offset = max(0, int(query.get("offset", 0)))
        found = [job for job in self._jobs() if job["status"] in statuses]
        found.sort(key=lambda job: job.get("create_time", 0), reverse=query.get("sort_order") != "asc")
        shown = found[offset:][:limit]
        page = {
            "offset": offset,
            "limit": limit,
            "total": len(found),
            "has_more": offset + len(shown) < len(found),
        }
        return web.json_response({"jobs": shown, "pagination": page})

    async def _get_job(self, request: web.Request) -> web.StreamResponse:
        job_id = request.match_info["job_id"]
        if entry := self._queue.history(job_id):
            return web.json_response(finished_job(entry[job_id], whole=True))
        found = next((job for job in self._queued() if job["id"] == job_id), None)
        return _error("Job not found", status=404) if found is None else web.json_response(found)

    def _jobs(self) -> list[dict[str, Any]]:
        entries: Mapping[str, Any] = self._queue.history()
        return [*self._queued(), *(finished_job(entry, whole=False) for entry in entries.values())]

    def _queued(self) -> list[dict[str, Any]]:
        listing = self._queue.listing()
        running = [queued_job(item, JobStatus.IN_PROGRESS) for item in listing["queue_running"]]
        return running + [queued_job(item, JobStatus.PENDING) for item in listing["queue_pending"]]

    async def _post_cancel(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"cancelled": self._cancel(request.match_info["job_id"])})

    async def _post_cancel_of_many(self, request: web.Request) -> web.StreamResponse:
        try:
            data = await request.json()
        except json.JSONDecodeError:
            return _error("Request body must be valid JSON")
        job_ids = data.get("job_ids") if isinstance(data, dict) else None
        if not isinstance(job_ids, list):
            return _error("job_ids must be a list")
        wrong = [job_id for job_id in job_ids if not is_canonical_uuid(job_id)]
        if wrong:
            names = [each if isinstance(each, str) else repr(each) for each in wrong]
            body = {"error": "job_ids contains invalid id(s)", "invalid_ids": names}
            return web.json_response(body, status=400)
        asked = [self._cancel(job_id) for job_id in job_ids]
        return web.json_response({"cancelled": any(asked)})

    def _cancel(self, job_id: str) -> bool:
        """Ask for the end of a job; False when it neither waits nor runs."""
        line = self._world.console.line
        if self._world.future.cancels_widely:
            self._world.interrupted.set()
        if self._queue.interrupt_if_running(job_id, self._world.interrupted.set):
            line(f"Cancelling running prompt {job_id}")
            return True
        if self._queue.delete(job_id):
            line(f"Cancelling pending prompt {job_id}")
            return True
        return False


def _error(text: str, *, status: int = 400) -> web.Response:
    return web.json_response({"error": text}, status=status)
