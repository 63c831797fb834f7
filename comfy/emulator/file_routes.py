"""Routes of files: `/view` and `/upload/image`.

Source: ComfyUI ``server.py``; status codes and headers as measured.
"""

from __future__ import annotations

import asyncio
import mimetypes
import os
from pathlib import Path
from typing import Final

from aiohttp import web

from comfy.emulator.http import Routes
from comfy.emulator.uploads import store_upload
from comfy.emulator.world import Settings

# What a browser might run in the name of the server.
_ACTIVE: Final = frozenset(
    {"text/html", "text/javascript", "application/javascript", "text/css", "image/svg+xml", "text/xml"}
)


class FileRoutes:
    """What is asked about files."""

    def __init__(self, settings: Settings) -> None:
        self._folders = settings.folders
        self._guards_views = settings.generation.guards_views

    def routes(self) -> Routes:
        """Methods, paths and who answers."""
        return [
            ("GET", "/view", self._get_view),
            ("HEAD", "/view", self._get_view),
            ("POST", "/upload/image", self._post_upload),
        ]

    async def _get_view(self, request: web.Request) -> web.StreamResponse:
        name = request.query.get("filename")
        if name is None:
            return web.Response(status=404)
        root = self._folders.of_type(request.query.get("type", "output"))
        if not name or name.startswith("/") or ".." in name or root is None:
            return web.Response(status=400)
        # resolve() would follow links, which an operator may have put there on purpose.
        folder = Path(os.path.abspath(root / request.query.get("subfolder", "")))  # noqa: PTH100
        if not folder.is_relative_to(root):
            return web.Response(status=403)
        path = folder / Path(name).name
        if not path.is_file():
            return web.Response(status=404)
        return web.FileResponse(path, headers=self._headers(path.name))

    def _headers(self, name: str) -> dict[str, str]:
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        headers = {"Content-Disposition": f'filename="{name}"', "Content-Type": kind}
        if not self._guards_views:
            return headers
        headers["X-Content-Type-Options"] = "nosniff"
        if kind in _ACTIVE or kind.endswith("+xml"):
            headers |= {
                "Content-Type": "application/octet-stream",
                "Content-Disposition": f'attachment; filename="{name}"',
                "Cache-Control": "no-store",
                "Vary": "Sec-Fetch-Dest",
            }
        return headers

    async def _post_upload(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        stored = await asyncio.to_thread(store_upload, self._folders, form)
        return web.Response(status=400) if stored is None else web.json_response(stored)
