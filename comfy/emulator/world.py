"""What the parts of the emulator share: its settings, its folders, its card, its faults."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from comfy.emulator.console import Console
from comfy.emulator.faults import FaultList, Raised
from comfy.emulator.folders import ModelShelf, ServerFolders, input_images
from comfy.emulator.future import Future
from comfy.emulator.loading import LoadMode, Residency
from comfy.emulator.schedule import Caching
from comfy.generations import Generation
from comfy.node_defs.definitions import Definitions, shipped_definitions, with_choices

NOTICE: Final = (
    "This is comfy.emulator, a stand-in for ComfyUI: "
    "no model runs here, and its clips are drawn, not generated."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """The card that /system_stats pretends."""

    name: str
    vram_mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that the command line decides."""

    host: str
    port: int
    generation: Generation
    folders: ServerFolders
    gpu: Gpu | None  # None: --cpu
    load_mode: LoadMode
    step_s: float
    load_s: float
    clip_bytes: int  # what SaveVideo's clips are padded to; 0: as they are
    previews: bool
    write_metadata: bool
    caching: Caching
    vram_state: str  # NORMAL_VRAM, LOW_VRAM, …
    attention: str  # the start-up line that tells it
    log_to_stdout: bool
    pretended_models: tuple[str, ...]
    extra_definitions: Path | None
    record_file: Path | None
    faults: tuple[Any, ...]
    argv: tuple[str, ...]
    future: Future  # how it differs from all that is known


@dataclass(slots=True, kw_only=True)
class World:
    """The emulated machine."""

    settings: Settings
    console: Console
    shelf: ModelShelf
    residency: Residency
    faults: FaultList = field(default_factory=FaultList)
    interrupted: threading.Event = field(default_factory=threading.Event)
    future: Future = field(default_factory=Future)
    broken_gpu: Raised | None = None  # set by a sticky CUDA error, until the process ends
    extra: Mapping[str, Any] = field(default_factory=dict)  # definitions from --object-info
    # What lay in the folders when the definitions were made, and these; a node asks for them each time.
    _listed: str = ""
    _known: Definitions = field(default_factory=dict)

    def definitions(self) -> Definitions:
        """What the server has, with the model files and input images that are there now."""
        files = {**self.shelf.all_files(), "devices": _devices(self.settings)}
        images = input_images(self.settings.folders)
        found = json.dumps([files, images])
        if found != self._listed:
            known = shipped_definitions(self.settings.generation, files=files)
            load_image = with_choices(known["LoadImage"], "image", images)
            self._listed, self._known = found, {**known, "LoadImage": load_image, **self.extra}
        return self._known


def _devices(settings: Settings) -> list[str]:
    """What MultiGPU's nodes offer to compute on."""
    return ["cpu"] if settings.gpu is None else ["cpu", "cuda:0"]


def make_world(settings: Settings, console: Console, extra: Definitions) -> World:
    """The emulated machine, before it has done anything."""
    budget_mib = settings.gpu.vram_mib * 0.9 if settings.gpu is not None else 64 * 1024.0
    return World(
        settings=settings,
        console=console,
        shelf=ModelShelf(settings.folders.models, settings.pretended_models),
        residency=Residency(
            console, settings.load_mode, settings.generation, load_s=settings.load_s, budget_mib=budget_mib
        ),
        extra=extra,
        future=settings.future,
    )
