"""The HTTP side: ComfyUI's routes, all of them under `/api` too, and the emulator's own under `/emulator`.

Source: ComfyUI ``server.py``; status codes and bodies as measured.
"""

from __future__ import annotations

import asyncio
import json
import mimetypes
import os
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from comfy.emulator.about import about
from comfy.emulator.faults import FaultKind, Moment, Phase
from comfy.emulator.hub import MAX_UPLOAD_BYTES, Hub
from comfy.emulator.mischief import Mischief
from comfy.emulator.own_routes import OwnRoutes
from comfy.emulator.places import MODEL_FOLDERS, input_file
from comfy.emulator.prompt_queue import PromptQueue, QueuedPrompt
from comfy.emulator.record import Record
from comfy.emulator.stats import system_stats
from comfy.emulator.uploads import store_upload
from comfy.emulator.world import NOTICE, World
from comfy.judging.validation import (
    Verdict,
    validate,
)
from comfy.node_defs.definitions import (
    definitions_to_json,
    node_to_json,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Answers requests; runs on the event loop only."""

    def __init__(
        self, world: World, hub: Hub, queue: PromptQueue, mischief: Mischief, record: Record
    ) -> None:
        self.world = world
        self.hub = hub
        self.queue = queue
        self.mischief = mischief
        self.record = record
        self._number = 0

    def application(self) -> web.Application:
        """The aiohttp application with all routes."""
        app = web.Application(
            client_max_size=MAX_UPLOAD_BYTES, middlewares=[self._origin, self._stall, self._from_the_future]
        )
        for method, path, handler in self._routes():
            app.router.add_route(method, path, handler)
            app.router.add_route(method, f"/api{path}", handler)
        app.router.add_get("/", self._front_page)
        OwnRoutes(self.world, self.mischief, self.record).add_to(app)
        return app

    def _routes(self) -> list[tuple[str, str, Handler]]:
        return [
            ("GET", "/ws", self.hub.serve),
            ("GET", "/prompt", self._get_prompt),
            ("POST", "/prompt", self._post_prompt),
            ("GET", "/queue", self._get_queue),
            ("POST", "/queue", self._post_queue),
            ("GET", "/history", self._get_history),
            ("GET", "/history/{prompt_id}", self._get_history_of),
            ("POST", "/history", self._post_history),
            ("POST", "/interrupt", self._post_interrupt),
            ("POST", "/free", self._post_free),
            ("GET", "/view", self._get_view),
            ("POST", "/upload/image", self._post_upload),
            ("GET", "/object_info", self._get_object_info),
            ("GET", "/object_info/{node}", self._get_object_info_of),
            ("GET", "/models", self._get_models),
            ("GET", "/models/{folder}", self._get_models_of),
            ("GET", "/system_stats", self._get_system_stats),
            ("GET", "/features", self._get_features),
            ("GET", "/internal/logs", self._get_logs),
            ("GET", "/internal/logs/raw", self._get_raw_logs),
            ("PATCH", "/internal/logs/subscribe", self._patch_logs),
        ]

    # --- prompts ---

    async def _post_prompt(self, request: web.Request) -> web.StreamResponse:
        if self.mischief.asked(FaultKind.REFUSE_PROMPT, Moment(at=Phase.HTTP)) is not None:
            raise _trouble()
        self.world.console.line("got prompt")
        data = await _json(request, kinds=(dict, list, str))
        number = self._take_number(data)
        # In a list or a text nothing is found either: the real server asks the same way.
        if "prompt" not in data:
            error = {"type": "no_prompt", "message": "No prompt provided", "details": "No prompt provided"}
            body = {"error": {**error, "extra_info": {}}, "node_errors": {}}
            return web.json_response(body, status=400)
        if not isinstance(data, dict):
            raise _trouble()
        prompt_id = str(data.get("prompt_id", uuid.uuid4()))
        verdict = self._judge(data)
        self._print_rejections(verdict)
        if verdict.status == 500:
            raise _trouble()
        if not verdict.accepted:
            self.world.console.line(f"invalid prompt: {verdict.error}")
            return web.json_response(verdict.rejection(), status=400)
        prompt = self._queued(data, number, prompt_id, verdict)
        self.record.note("posted", prompt_id, number=number, client_id=prompt.extra_data.get("client_id"))
        self.queue.put(prompt)
        self.mischief.reach(Moment(at=Phase.POSTED, prompt_id=prompt_id))
        answer = {"prompt_id": prompt_id, "number": number, "node_errors": verdict.node_errors}
        return web.json_response(answer)

    def _take_number(self, data: Any) -> float:
        if not isinstance(data, dict):
            data = {}
        if "number" in data:
            try:
                return float(data["number"])
            except (TypeError, ValueError):
                raise _trouble() from None
        number = -self._number if data.get("front") else self._number
        self._number += 1
        return number

    def _judge(self, data: dict[str, Any]) -> Verdict:
        places = self.world.settings.places
        return validate(
            data["prompt"],
            self.world.definitions(),
            generation=self.world.settings.generation,
            input_file_exists=lambda name: input_file(places, name).is_file(),
            targets=data.get("partial_execution_targets"),
        )

    def _queued(self, data: dict[str, Any], number: float, prompt_id: str, verdict: Verdict) -> QueuedPrompt:
        extra = data.get("extra_data")
        extra_data = dict(extra) if isinstance(extra, dict) else {}
        if "client_id" in data:
            extra_data["client_id"] = data["client_id"]
        if self.world.settings.generation.stamps_prompts:
            extra_data["create_time"] = int(time.time() * 1000)
        return QueuedPrompt(number, prompt_id, dict(verdict.graph), extra_data, list(verdict.outputs))

    def _print_rejections(self, verdict: Verdict) -> None:
        line = self.world.console.line
        for node_id, entry in verdict.node_errors.items():
            for output in entry["dependent_outputs"]:
                line(f"Failed to validate prompt for output {output}:")
            line(f"* {entry['class_type']} {node_id}:")
            for reason in entry["errors"]:
                line(f"  - {reason['message']}: {reason['details']}")
            line("Output will be ignored")

    async def _get_prompt(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(self.queue.info())

    async def _get_queue(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(self.queue.listing())

    async def _post_queue(self, request: web.Request) -> web.StreamResponse:
        data = await _json(request)
        if data.get("clear"):
            self.queue.clear()
        if "delete" in data:
            self.queue.delete(data["delete"])
        return web.Response(status=200)

    async def _get_history(self, request: web.Request) -> web.StreamResponse:
        max_items = request.query.get("max_items")
        offset = request.query.get("offset")
        body = self.queue.history(
            max_items=int(max_items) if max_items is not None else None,
            offset=int(offset) if offset is not None else -1,
        )
        return web.json_response(body)

    async def _get_history_of(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self.queue.history(request.match_info["prompt_id"]))

    async def _post_history(self, request: web.Request) -> web.StreamResponse:
        data = await _json(request)
        if data.get("clear"):
            self.queue.forget(None)
        if "delete" in data:
            self.queue.forget(data["delete"])
        return web.Response(status=200)

    async def _post_interrupt(self, request: web.Request) -> web.StreamResponse:
        try:
            data = await request.json()
        except json.JSONDecodeError:
            data = {}
        prompt_id = data.get("prompt_id")
        line = self.world.console.line
        if not prompt_id or self.world.future.cancels_widely:
            line("Global interrupt (no prompt_id specified)")
            self.world.interrupted.set()
        elif self.queue.is_running(prompt_id):
            line(f"Interrupting prompt {prompt_id}")
            self.world.interrupted.set()
        else:
            line(f"Prompt {prompt_id} is not currently running, skipping interrupt")
        return web.Response(status=200)

    async def _post_free(self, request: web.Request) -> web.StreamResponse:
        data = await _json(request)
        for name in ("unload_models", "free_memory"):
            if data.get(name):
                self.queue.set_flag(name, True)
        return web.Response(status=200)

    # --- files ---

    async def _get_view(self, request: web.Request) -> web.StreamResponse:
        name = request.query.get("filename")
        if name is None:
            return web.Response(status=404)
        root = self.world.settings.places.of_type(request.query.get("type", "output"))
        if not name or name.startswith("/") or ".." in name or root is None:
            return web.Response(status=400)
        # resolve() would follow links, which an operator may have put there on purpose.
        folder = Path(os.path.abspath(root / request.query.get("subfolder", "")))  # noqa: PTH100
        if not folder.is_relative_to(root):
            return web.Response(status=403)
        path = folder / Path(name).name
        if not path.is_file():
            return web.Response(status=404)
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        headers = {"Content-Disposition": f'filename="{path.name}"', "Content-Type": kind}
        return web.FileResponse(path, headers=headers)

    async def _post_upload(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        stored = await asyncio.to_thread(store_upload, self.world.settings.places, form)
        return web.Response(status=400) if stored is None else web.json_response(stored)

    # --- what the server is ---

    async def _get_object_info(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(definitions_to_json(self.world.definitions()))

    async def _get_object_info_of(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["node"]
        node = self.world.definitions().get(name)
        return web.json_response({} if node is None else {name: node_to_json(node)})

    async def _get_models(self, _: web.Request) -> web.StreamResponse:
        return web.json_response([*MODEL_FOLDERS, "custom_nodes", "VHS_video_formats"])

    async def _get_models_of(self, request: web.Request) -> web.StreamResponse:
        files = self.world.shelf.files(request.match_info["folder"])
        return web.Response(status=404) if files is None else web.json_response(files)

    async def _get_system_stats(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(system_stats(self.world))

    async def _get_features(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(dict(about(self.world.settings.generation).features))

    async def _get_logs(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(self.world.console.text())

    async def _get_raw_logs(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(self.world.console.raw())

    async def _patch_logs(self, request: web.Request) -> web.StreamResponse:
        data = await _json(request)
        self.hub.subscribe_logs(str(data.get("clientId")), bool(data.get("enabled")))
        return web.Response(status=200)

    async def _front_page(self, _: web.Request) -> web.StreamResponse:
        return web.Response(
            text=f"<!doctype html><title>emulator</title><p>{NOTICE}", content_type="text/html"
        )

    # --- around every request ---

    @web.middleware
    async def _origin(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse browsers that come from another page, as the real server does on loopback."""
        origin = request.headers.get("Origin")
        if origin is not None and origin.split("//")[-1] != request.headers.get("Host"):
            return web.Response(status=403)
        return await handler(request)

    @web.middleware
    async def _from_the_future(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer as no known server does, where `--future` says so."""
        future = self.world.future
        if request.path.startswith("/emulator"):
            return await handler(request)
        answer = future.early_answer(request)
        if answer is None:
            answer = future.altered(request, await handler(request))
        return answer

    @web.middleware
    async def _stall(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Be slow where a fault says so."""
        if not request.path.startswith("/emulator"):
            fault = self.mischief.asked(FaultKind.STALL_HTTP, Moment(at=Phase.HTTP, path=request.path))
            if fault is not None:
                await asyncio.sleep(fault.seconds if fault.seconds is not None else 1e9)
        return await handler(request)


def _trouble() -> web.HTTPInternalServerError:
    """What aiohttp answers when a handler of the real server stumbles."""
    return web.HTTPInternalServerError(text="500 Internal Server Error\n\nServer got itself in trouble")


async def _json(request: web.Request, *, kinds: tuple[type, ...] = (dict,)) -> Any:
    """The body as JSON of one of these kinds; like the real server, a 500 when it is none."""
    try:
        data = await request.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise _trouble() from None
    if not isinstance(data, kinds):
        raise _trouble()
    return data
