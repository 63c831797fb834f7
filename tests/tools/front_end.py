"""ComfyUI's own front end in a headless browser: what it exports of a saved workflow is the truth.

Needs a Chromium, and the unpacked package ``comfyui-frontend-package`` of PyPI. Nodes that live in the
editor alone come with their packs, whose ``web`` folders may be served beside it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from comfy.emulator.http import Handler
from comfy.node_defs.definitions import Definitions, definitions_to_json
from tests.support.browser import Page, opened_page

_EXPORT: Final = """
(async () => {
  const given = JSON.parse(new TextDecoder().decode(Uint8Array.from(atob("%s"), c => c.charCodeAt(0))));
  const app = window.comfyAPI.app.app;
  const quiet = {showMissingNodesDialog: false, showMissingModelsDialog: false};
  // With the graph loaded it makes a copy for its list of tabs, which fails on what some packs keep in nodes.
  await app.loadGraphData(given, true, true, null, quiet).catch(failed => {
    if (failed.name !== "DataCloneError") throw failed;
  });
  await new Promise(done => setTimeout(done, 150));
  // "Export (API)" of a page with the pack Use Everywhere.
  const made = app.ue_modified_prompt ? await app.ue_modified_prompt() : await app.graphToPrompt();
  if (!made) throw new Error("with the links of Use Everywhere there is no graph");
  return JSON.stringify(made.output);
})()
"""
# A pack that opens a dialog would wait for ever for somebody to close it.
_SILENT: Final = "window.alert = () => {}; window.confirm = () => true; window.prompt = () => null; 1"
_READY: Final = (
    "Boolean(window.comfyAPI?.app?.app?.vueAppReady && window.comfyAPI.app.app.canvas "
    "&& window.LiteGraph?.registered_node_types?.KSampler && window.comfyAPI.app.app.graph.nodes.length)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """The part of a node pack that runs in the editor."""

    name: str  # as its folder below custom_nodes is called
    web: Path  # its WEB_DIRECTORY
    beside: Mapping[str, Path]  # address -> folder, for what it loads from elsewhere
    scripts: Mapping[str, str]  # address -> JavaScript that its server makes


class FrontEnd:
    """An open page; `export` may be called again and again."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def export(self, workflow: Mapping[str, Any]) -> dict[str, Any]:
        """The graph that "Export (API)" writes of a saved workflow."""
        packed = base64.b64encode(json.dumps(workflow).encode()).decode()
        found = json.loads(self._page.evaluate(_EXPORT % packed))
        return dict(found)

    def evaluate(self, script: str) -> Any:
        """The value of a script on the page, awaited."""
        return self._page.evaluate(script)


@contextmanager
def front_end(static: Path, definitions: Definitions, packs: Sequence[Pack] = ()) -> Iterator[FrontEnd]:
    """Serve the front end over these definitions and open it."""
    with _served(static, definitions, packs) as address, opened_page(address) as page:
        page.wait_until(_READY)
        page.evaluate(_SILENT)
        yield FrontEnd(page)


@contextmanager
def _served(static: Path, definitions: Definitions, packs: Sequence[Pack]) -> Iterator[str]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = web.AppRunner(_application(static, definitions, packs))

    async def start() -> int:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return int(runner.addresses[0][1])

    try:
        port = asyncio.run_coroutine_threadsafe(start(), loop).result()
        yield f"http://127.0.0.1:{port}/"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()


def _application(static: Path, definitions: Definitions, packs: Sequence[Pack]) -> web.Application:
    answers: dict[str, Any] = {
        "object_info": definitions_to_json(definitions),
        "settings": {"Comfy.Workflow.Persist": False, "Comfy.TutorialCompleted": True},
        "users": {"storage": "server", "migrated": True},
        "system_stats": {"system": {"os": "posix", "argv": [], "comfyui_version": "0.33.0"}, "devices": []},
        "extensions": [
            f"/extensions/{pack.name}/{path.relative_to(pack.web).as_posix()}"
            for pack in packs
            for path in sorted(pack.web.rglob("*.js"))
        ],
        "features": {},
        "queue": {"queue_running": [], "queue_pending": []},
    }
    app = web.Application()

    async def answer(request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name in answers:
            return web.json_response(answers[name])
        if name.startswith(("userdata", "jobs")):
            return web.json_response(
                [] if name == "userdata" else {}, status=200 if name == "userdata" else 404
            )
        return web.json_response([] if name.startswith(("history", "embeddings")) else {})

    async def socket(request: web.Request) -> web.StreamResponse:
        opened = web.WebSocketResponse()
        await opened.prepare(request)
        status = {"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 0}}, "sid": "x"}}
        await opened.send_json(status)
        async for _ in opened:
            pass
        return opened

    async def page(_: web.Request) -> web.StreamResponse:
        return web.FileResponse(static / "index.html")

    async def nothing(_: web.Request) -> web.StreamResponse:
        return web.Response(status=404)

    app.router.add_get("/ws", socket)
    app.router.add_get("/api/ws", socket)
    app.router.add_route("*", "/api/{name:.*}", answer)
    for pack in packs:
        app.router.add_static(f"/extensions/{pack.name}", pack.web)
        for beside, folder in pack.beside.items():
            app.router.add_static(beside, folder)
        for address, text in pack.scripts.items():
            app.router.add_get(address, _script(text))
    app.router.add_get("/", page)
    app.router.add_static("/", static)
    return app


def _script(text: str) -> Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text=text, content_type="application/javascript")

    return answer
