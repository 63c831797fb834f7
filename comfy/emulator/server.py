"""The HTTP side: ComfyUI's routes, all of them under `/api` too, and the emulator's own under `/emulator`.

Source: ComfyUI ``server.py``; status codes and bodies as measured.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from comfy.emulator.about import about
from comfy.emulator.fault_injection import FaultInjector
from comfy.emulator.faults import FaultKind, Moment, Phase
from comfy.emulator.file_routes import FileRoutes
from comfy.emulator.folders import MODEL_FOLDERS
from comfy.emulator.http import Handler, Routes, read_json
from comfy.emulator.hub import MAX_UPLOAD_BYTES, Hub
from comfy.emulator.job_routes import JobRoutes
from comfy.emulator.own_routes import OwnRoutes
from comfy.emulator.prompt_queue import PromptQueue
from comfy.emulator.prompt_routes import PromptRoutes
from comfy.emulator.record import Record
from comfy.emulator.stats import system_stats
from comfy.emulator.world import NOTICE, World
from comfy.node_defs.definitions import definitions_to_json, node_to_json
from comfy.node_defs.replacements import replacements_of


class Server:
    """Answers requests; runs on the event loop only."""

    def __init__(
        self, world: World, hub: Hub, queue: PromptQueue, fault_injector: FaultInjector, record: Record
    ) -> None:
        self.world = world
        self.hub = hub
        self.fault_injector = fault_injector
        self._own = OwnRoutes(world, fault_injector, record)
        self._jobs = JobRoutes(world, queue)
        self._shared = [
            *PromptRoutes(world, queue, fault_injector, record).routes(),
            *FileRoutes(world.settings).routes(),
            *self._routes(),
        ]

    def application(self) -> web.Application:
        """The aiohttp application with all routes."""
        app = web.Application(
            client_max_size=MAX_UPLOAD_BYTES, middlewares=[self._origin, self._stall, self._from_the_future]
        )
        for method, path, handler in self._shared:
            app.router.add_route(method, path, handler)
            app.router.add_route(method, f"/api{path}", handler)
        for method, path, handler in self._jobs.routes():
            app.router.add_route(method, path, handler)
        app.router.add_get("/", self._front_page)
        self._own.add_to(app)
        # The front end's files: so a POST to a path that is not there is a 405, as on a real server.
        app.router.add_get("/{path:.*}", self._no_such_file)
        return app

    def _routes(self) -> Routes:
        found: Routes = [
            ("GET", "/ws", self.hub.serve),
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
        if self.world.settings.generation.replaces_nodes:
            found.append(("GET", "/node_replacements", self._get_replacements))
        return found

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
        data = await read_json(request)
        self.hub.subscribe_logs(str(data.get("clientId")), bool(data.get("enabled")))
        return web.Response(status=200)

    async def _get_replacements(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(replacements_of(self.world.settings.generation))

    async def _no_such_file(self, _: web.Request) -> web.StreamResponse:
        return web.Response(status=404, text="404: Not Found")

    async def _front_page(self, _: web.Request) -> web.StreamResponse:
        return web.Response(
            text=f"<!doctype html><title>emulator</title><p>{NOTICE}", content_type="text/html"
        )

    # --- around every request ---

    @web.middleware
    async def _origin(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse browsers that come from another page, as the real server does on loopback."""
        site = request.headers.get("Sec-Fetch-Site")
        if self.world.settings.generation.refuses_other_sites and site == "cross-site":
            return web.Response(status=403)
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
            fault = self.fault_injector.asked(FaultKind.STALL_HTTP, Moment(at=Phase.HTTP, path=request.path))
            if fault is not None:
                await asyncio.sleep(fault.seconds if fault.seconds is not None else 1e9)
        return await handler(request)
