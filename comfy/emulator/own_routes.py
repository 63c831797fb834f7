"""The routes that no ComfyUI has: `/emulator/faults`, `/emulator/future` and `/emulator/record`."""

from __future__ import annotations

import asyncio
import json

from aiohttp import web

from comfy.emulator.fault_injection import FaultInjector
from comfy.emulator.faults import BadFaultError, Moment, Phase, read_faults
from comfy.emulator.future import read_future
from comfy.emulator.record import Record
from comfy.emulator.world import World


class OwnRoutes:
    """What a test asks the emulator for."""

    def __init__(self, world: World, fault_injector: FaultInjector, record: Record) -> None:
        self._world = world
        self._fault_injector = fault_injector
        self._record = record

    def add_to(self, app: web.Application) -> None:
        """Add the routes to the server's application."""
        app.router.add_get("/emulator/record", self._get_record)
        app.router.add_get("/emulator/faults", self._get_faults)
        app.router.add_post("/emulator/faults", self._post_faults)
        app.router.add_put("/emulator/future", self._put_future)
        app.router.add_delete("/emulator/faults", self._delete_faults)

    async def _get_record(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(self._record.entries())

    async def _get_faults(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(self._fault_injector.faults.to_json())

    async def _post_faults(self, request: web.Request) -> web.StreamResponse:
        try:
            faults = read_faults(await request.json())
        except (BadFaultError, json.JSONDecodeError) as exc:
            return web.json_response({"error": str(exc)}, status=400)
        self._fault_injector.faults.add(faults)
        # The answer must be on its way before a fault that takes effect now cuts it off.
        asyncio.get_running_loop().call_later(0.01, self._fault_injector.reach, Moment(at=Phase.NOW))
        return web.json_response(self._fault_injector.faults.to_json())

    async def _put_future(self, request: web.Request) -> web.StreamResponse:
        """Differ from all that is known in these ways only: a JSON list, as the words of `--future`."""
        try:
            self._world.future = read_future(await request.json())
        except (ValueError, TypeError, AttributeError) as exc:
            return web.json_response({"error": str(exc)}, status=400)
        return web.Response(status=204)

    async def _delete_faults(self, _: web.Request) -> web.StreamResponse:
        self._fault_injector.faults.clear()
        return web.json_response([])
