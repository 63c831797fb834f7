"""One attempt on the GPU: from the claim to finished files on this disk. Knows no Celery and no store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from comfy.client import ComfyClient
from comfy.events import Event
from comfy.graph import set_inputs
from comfy.outputs import OutputFile, locate
from comfy.rewrites import Change, output_prefix
from comfy.run import PromptRun
from farm.job import Progress
from farm.store.base import Claim
from worker.errors import TimeLimitReached
from worker.inputs import InputCache
from worker.publish import LocalOutput


class Comfy(Protocol):
    """The ComfyUI that this worker owns, as far as a render needs it."""

    @property
    def output_dir(self) -> Path | None:
        """Where it writes files; None when its disk is not ours."""

    @property
    def input_dir(self) -> Path | None:
        """Where it looks for inputs; None when its disk is not ours."""

    def client(self) -> ComfyClient:
        """A client for the server as it runs now; starts it when it does not."""

    @property
    def died(self) -> threading.Event:
        """Set when the process that was started last has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """What a run on the GPU left behind."""

    outputs: tuple[LocalOutput, ...]  # never empty; the files are whole and closed
    graph: dict[str, Any]  # as it was executed
    changes: tuple[Change, ...]  # what the farm changed in it, and why
    timings_s: dict[str, float] = field(default_factory=dict)
    node_seconds: dict[str, float] = field(default_factory=dict)  # node id -> s


@dataclass(frozen=True, slots=True, kw_only=True)
class Ears:
    """Who wants to hear of a run while it goes on."""

    phase: Callable[[str], None]
    progress: Callable[[Progress], None]
    preview: Callable[[str, str, bytes], None] | None = None  # node id, media type, image


def run_prefix(claim: Claim) -> str:
    """The folder of an attempt's files within ComfyUI's output folder.

    The attempt is in it: a second attempt on a warm ComfyUI would else be answered from its cache
    with the first attempt's file, which may be gone.
    """
    return f"jobs/{claim.job_id}-{claim.attempt}"


def render(
    claim: Claim, comfy: Comfy, inputs: InputCache, scratch: Path, ears: Ears, stop: threading.Event
) -> Rendered:
    """Run the claim's graph to its end.

    Raises:
        GraphRejected, RunFailed, OutOfMemory, RunInterrupted, RunLost, NothingToShow,
        ServerUnreachable: as `ComfyClient.run`.
        InputUnavailable: an input cannot be had.
        TimeLimitReached: the attempt ran longer than the job allows; it was interrupted.
    """
    started = time.monotonic()
    ears.phase("preparing")
    client = comfy.client()
    graph, changes = _final_graph(claim, inputs, comfy, client)
    prepared = time.monotonic()
    outcome = client.run(
        graph,
        prompt_id=f"{claim.job_id}-{claim.attempt}",
        time_limit_s=_time_left_s(claim, prepared - started),
        should_stop=lambda: stop.is_set() or comfy.died.is_set(),
        on_event=_Listener(ears),
    )
    executed = time.monotonic()
    outputs = _collect(client, comfy, outcome.outputs, scratch / run_prefix(claim))
    return Rendered(
        outputs=outputs,
        graph=graph,
        changes=changes,
        timings_s={
            "prepare": prepared - started,
            "execute": outcome.execution_s,
            "comfy": executed - prepared,
            "collect": time.monotonic() - executed,
        },
        node_seconds=dict(outcome.node_seconds),
    )
