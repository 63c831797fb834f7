"""From settings to a server that listens, with the lines that a real one prints on the way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sys
import threading

from aiohttp import web

from comfy.emulator.about import about
from comfy.emulator.console import Console
from comfy.emulator.executor import Executor
from comfy.emulator.fault_injection import FaultInjector
from comfy.emulator.faults import Moment, Phase
from comfy.emulator.hub import Hub
from comfy.emulator.loading import LoadMode
from comfy.emulator.prompt_queue import PromptQueue
from comfy.emulator.record import Record
from comfy.emulator.run import Workshop
from comfy.emulator.schedule import Caching, NodeCache
from comfy.emulator.server import Server
from comfy.emulator.stats import ram_bytes
from comfy.emulator.world import NOTICE, Settings, World, make_world
from comfy.node_defs.definitions import Definitions, parse_definitions


def announce(settings: Settings, console: Console) -> None:
    """Print what a server of this kind prints at start, after saying loudly that it is none."""
    ram_mib = ram_bytes()[0] // 2**20
    gpu = settings.gpu
    console.line("#" * 100)
    console.line(f"#  EMULATOR. {NOTICE}")
    console.line("#" * 100)
    known = about(settings.generation)
    for line in known.first_lines:
        console.line(line)
    console.line("Checkpoint files will always be loaded safely.")
    console.line(f"Total VRAM {gpu.vram_mib if gpu else ram_mib} MB, total RAM {ram_mib} MB")
    console.line(f"pytorch version: {'2.9.1+cu128' if gpu else '2.9.1+cpu'}")
    console.line(f"Set vram state to: {settings.vram_state}")
    console.line(f"Device: cuda:0 {gpu.name} : cudaMallocAsync" if gpu else "Device: cpu")
    if gpu is not None and settings.generation.tells_offloading:
        console.line("Using async weight offloading with 2 streams")
        console.line(f"Enabled pinned memory {ram_mib * 0.9:.1f}")
    if settings.load_mode is LoadMode.DYNAMIC:
        console.line("DynamicVRAM support detected and enabled")
    console.line(settings.attention)
    console.line(f"Python version: {' '.join(sys.version.split())}")
    console.line(f"ComfyUI version: {settings.generation}")
    for line in (*known.package_lines(), *known.last_lines):
        console.line(line)
    console.line("\nImport times for custom nodes:")
    for folder in ("ComfyUI-GGUF", "ComfyUI-Frame-Interpolation", "ComfyUI-VideoHelperSuite"):
        console.line(f"   0.0 seconds: {settings.folders.base / 'custom_nodes' / folder}")
    console.line("")


async def serve(settings: Settings, console: Console) -> None:
    """Listen until this is canceled, or the process ends."""
    world = make_world(settings, console, _extra_definitions(settings))
    # A real server empties its temp folder when it starts.
    shutil.rmtree(settings.folders.temp, ignore_errors=True)
    settings.folders.create()
    queue = PromptQueue()
    hub = Hub(dict(about(settings.generation).features), queue.info)
    hub.late_s = lambda: world.future.late_s
    hub.alter = lambda event, data: world.future.messages(event, data)  # noqa: PLW0108 - it may be replaced
    queue.on_change = hub.send_status
    console.on_write = hub.send_log
    world.faults.add(list(settings.faults))
    fault_injector = FaultInjector(world, hub, queue)
    record = Record(settings.record_file)
    server = Server(world, hub, queue, fault_injector, record)
    runner = await _listen(server, world)
    executor = Executor(
        Workshop(
            world=world,
            hub=hub,
            fault_injector=fault_injector,
            record=record,
            cache=NodeCache(settings.caching),
        ),
        queue,
    )
    threading.Thread(target=executor.run_forever, name="prompt worker", daemon=True).start()
    fault_injector.reach(Moment(at=Phase.NOW))
    try:
        await hub.publish()
    finally:
        await runner.cleanup()


async def _listen(server: Server, world: World) -> web.AppRunner:
    settings = world.settings
    if settings.caching is not Caching.NOTHING and settings.generation.keeps_results_while_memory_lasts:
        world.console.line("Using RAM pressure cache.")
    world.console.line("Starting server\n")
    # Whoever is connected when it ends is cut off, as by the end of a real server.
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=0.0)
    await runner.setup()
    site = web.TCPSite(runner, settings.host, settings.port)
    await site.start()
    port = runner.addresses[0][1]
    world.console.line(f"To see the GUI go to: http://{settings.host}:{port}")
    return runner


def _extra_definitions(settings: Settings) -> Definitions:
    if settings.extra_definitions is None:
        return {}
    return parse_definitions(json.loads(settings.extra_definitions.read_text(encoding="utf-8")))


def run(settings: Settings) -> int:
    """Be a server until somebody stops it; the exit code is ComfyUI's."""
    console = Console(
        sys.stdout if settings.log_to_stdout else None,
        # What a coming server may put in front stands in the place of the level.
        colours_levels=settings.generation.colours_levels and not settings.future.log_prefix,
        prefix=settings.future.log_prefix,
    )
    announce(settings, console)
    # SIGTERM is left as it is: a real server dies of it at once, without a word.
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(settings, console))
    console.line("\nStopped server")
    shutil.rmtree(settings.folders.temp, ignore_errors=True)
    return 0
