"""A job as a caller asks for it; `farm.asking.prepare` makes of it what can be queued."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypedDict, Unpack

from comfy.rewrites.change import ChangeKind
from comfy.rewrites.options import Attention
from comfy.wan.binding import Bindings
from farm.asking.building import GraphSource, InputSource
from farm.asking.kinds import not_as_asked
from farm.errors import InvalidJob


class JobOptions(TypedDict, total=False):
    """What may be said about any job, whatever it renders."""

    title: str  # shown in lists and Flower; may hold {prompt}, {seed}, {graph}, {labels}, any parameter
    priority: int  # 0 most urgent … 9; default 5
    deadline: datetime | None  # aware; not started by then: expired
    time_limit_s: float  # of one attempt; default 3600
    max_attempts: int  # failed attempts before the job is failed; default 3
    labels: Sequence[str]  # to list and retry by
    idempotency_key: str | None  # the same key twice: the same job
    reuse: bool  # take the stored result of an equal job that asked for this too, and render nothing
    vram_gib: int  # smallest VRAM class, when you know better than the estimate
    # When no live worker has the card, nodes and models: refuse it (default), or let it wait for one.
    if_unplaceable: Literal["refuse", "park"]
    accept: ChangeKind | str  # "exact", "near" (default) or "different": what the worker may change
    attention: Attention | str  # "sdpa" (default), "keep" or "auto"
    lightning: bool  # few-step LoRAs with the settings they want
    keep_metadata: bool  # the graph, with its prompt, inside the files
    keep_offloading: bool  # devices, block swap and offload of models as the graph says
    mp4: bool  # a clip saved as animated WEBP becomes H.264 in MP4
    max_width: int  # pixels; the clip keeps its proportions
    max_height: int  # pixels
    max_frames: int  # generated, before interpolation
    max_fps: float
    max_seconds: float  # of the clip
    interpolation: int  # largest factor; 1: none


@dataclass(frozen=True, slots=True, init=False)
class JobRequest:
    """One job as a caller asks for it: a graph or a template, its parameters, its options."""

    graph: GraphSource | None
    template: str | None
    # Of the template; or of the graph: "node.input", a name of `bind`, or a role ("prompt", "frames", …).
    parameters: Mapping[str, Any]
    inputs: Mapping[str, InputSource]  # files, by names of the same kinds
    bind: Bindings  # names of your own -> "node.input" of the graph, or several
    options: JobOptions

    def __init__(
        self,
        graph: GraphSource | None = None,
        parameters: Mapping[str, Any] | None = None,
        *,
        template: str | None = None,
        inputs: Mapping[str, InputSource] | None = None,
        bind: Bindings | None = None,
        options: JobOptions | None = None,
        **more: Unpack[JobOptions],
    ) -> None:
        """What `Farm.submit` takes; options come one by one, or together as `options`.

        Raises:
            InvalidJob: `options` are none.
        """
        if not isinstance(options, Mapping | None):
            raise InvalidJob([not_as_asked(options, "options", "are names with values")])
        given = {
            "graph": graph,
            "template": template,
            "parameters": {} if parameters is None else parameters,
            "inputs": {} if inputs is None else inputs,
            "bind": {} if bind is None else bind,
            "options": {**(options or {}), **more},
        }
        for name, value in given.items():
            object.__setattr__(self, name, value)
