"""What is known of where a graph will run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from comfy.node_defs.definitions import Definitions


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A worker, as far as rewrites and lint ask. None: not known, and what depends on it is not judged."""

    definitions: Definitions  # the nodes that are installed, with what they take
    name: str = ""  # for a person: "gpu0@node1", "RTX 4090"
    vram_bytes: int | None = None  # of the card, less what other programs hold of it
    host_ram_bytes: int | None = None
    nvenc: bool | None = None  # whether a frame could be encoded on the card
    # Back-end ("sdpa", "sage", …) -> seconds that the probe took, of those that gave the right answer here.
    attention_proven: Mapping[str, float] = field(default_factory=dict)
    model_bytes: Mapping[str, int] = field(default_factory=dict)  # file as a graph names it -> bytes on disk
    writes_metadata: bool | None = None  # whether core nodes put the prompt into files; a flag of ComfyUI's
    arguments: tuple[str, ...] = ()  # that ComfyUI was started with
    is_live: bool = False  # whether a worker told `definitions`; ours may be older than the graph
    emulated: bool = False  # the farm's stand-in: it draws, whatever the settings
