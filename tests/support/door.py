"""A proxy before a server, as people put one before ComfyUI: it has a path of its own and asks who comes."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Self

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, web

_PATH = "/ui"


class Door:
    """Passes on what comes below ``/ui`` with the right ``Authorization``; everything else is 401 or 404."""

    def __init__(self, upstream: str, authorization: str) -> None:
        self._upstream = upstream
        self._authorization = authorization
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.turned_away = 0
        self.host = ""  # with its port

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(30)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    async def _open(self) -> None:
        app = web.Application(client_max_size=1 << 28)
        app.router.add_route("*", _PATH + "/{rest:.*}", self._pass_on)
        self._session = ClientSession()
        self._runner = web.AppRunner(app, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.host = f"127.0.0.1:{self._runner.addresses[0][1]}"

    async def _close(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != self._authorization:
            self.turned_away += 1
            return web.Response(status=401, text="who are you?")
        url = f"{self._upstream}/{request.match_info['rest']}"
        if request.headers.get("Upgrade") == "websocket":
            return await self._pass_socket_on(request, url)
        kept = {name: request.headers[name] for name in ("Content-Type", "Range") if name in request.headers}
        async with self._session.request(
            request.method, url, params=request.query, data=await request.read(), headers=kept
        ) as answer:
            told = {
                name: value
                for name, value in answer.headers.items()
                if name in ("Content-Type", "Content-Length")
            }
            body = await answer.read()
            return web.Response(status=answer.status, body=body or None, headers=told)

    async def _pass_socket_on(self, request: web.Request, url: str) -> web.StreamResponse:
        near = web.WebSocketResponse()
        await near.prepare(request)
        async with self._session.ws_connect(url, params=request.query, max_msg_size=0) as far:
            await asyncio.wait(
                [asyncio.ensure_future(_pump(near, far)), asyncio.ensure_future(_pump(far, near))],
                return_when=asyncio.FIRST_COMPLETED,
            )
        return near


_Socket = web.WebSocketResponse | ClientWebSocketResponse


async def _pump(source: _Socket, target: _Socket) -> None:
    async for message in source:
        if message.type is WSMsgType.TEXT:
            await target.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await target.send_bytes(message.data)
