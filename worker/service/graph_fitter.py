"""Fit a job's graph to this worker: the rewrites that the job accepts, with what is known of this worker."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from comfy.errors import ComfyError
from comfy.graphs.required import model_files
from comfy.rewrites.optimize import Optimized, optimize
from comfy.rewrites.options import Attention
from comfy.rewrites.site import Site
from comfy.wan.cards import IDLE_BYTES
from comfy.wan.models import GIB
from farm.asking.admission import admit
from farm.job import JobSpec
from farm.settings.worker import WorkerSettings
from worker.errors import WorkerError
from worker.machine import Machine
from worker.plan.host import host_memory
from worker.plan.model_files import bytes_on_disk, models_folder
from worker.service.definitions import Definitions

log = logging.getLogger(__name__)


class GraphFitter:
    """Knows the worker, and makes graphs fit it."""

    def __init__(
        self,
        name: str,
        settings: WorkerSettings,
        machine: Machine,
        definitions: Definitions,
        *,
        allowed_nodes: str = "",
    ) -> None:
        """Keep whom to ask; nothing is read yet."""
        self._name = name
        self._settings = settings
        self._machine = machine
        self._definitions = definitions
        self._allowed_nodes = allowed_nodes

    def admit(self, graph: Mapping[str, Any]) -> None:
        """Pass a graph that this deployment allows.

        Raises:
            GraphError: a node class is not allowed, or a file name could lead out of its folder.
        """
        admit(graph, self._allowed_nodes)

    def fit(self, graph: Mapping[str, Any], spec: JobSpec) -> Optimized:
        """The graph with what the job accepts; as it was, with the reason, when this worker cannot be known.

        Never raises: a rewrite is not worth a job.
        """
        try:
            site = self.site(graph, try_attention=spec.rewrite_options.attention is Attention.AUTO)
            return optimize(graph, site, accept=spec.accept, options=spec.rewrite_options)
        except (ComfyError, WorkerError, OSError) as exc:
            log.warning("No rewrite tried", extra={"event": "rewrites_untried", "reason": str(exc)})
            return Optimized(graph=graph, outcomes=(), untried=str(exc))

    def site(self, graph: Mapping[str, Any], *, try_attention: bool = False) -> Site:
        """What is known of this worker, for this graph.

        Args:
            try_attention: find out which attention back-ends are right here, if that is not known.

        Raises:
            ComfyError, WorkerError: ComfyUI does not tell what is installed.
            OSError: the models' folder cannot be read.
        """
        comfy, models = self._machine.comfy, models_folder(self._settings)
        facts = comfy.facts()
        arguments = facts.argv if facts is not None else ()
        return Site(
            definitions=self._definitions.nodes(),
            name=self._name,
            vram_bytes=self._vram_bytes(),
            host_ram_bytes=host_memory().total_bytes,
            nvenc=self._encodes(),
            attention_proven=self._machine.attention_proven(now=try_attention),
            model_bytes=bytes_on_disk(models, model_files(graph)) if models is not None else {},
            # The emulator draws its clips and puts no graph into them.
            writes_metadata=None if comfy.is_emulator else "--disable-metadata" not in arguments,
            arguments=arguments,
            emulated=comfy.is_emulator,
        )

    def _vram_bytes(self) -> int | None:
        """Of the card before ComfyUI was started: what it holds now are the models that are looked at."""
        if self._machine.gpu is not None:
            return self._machine.gpu.free_bytes
        if self._machine.comfy.is_emulator:
            # It stands for a card of the class that it serves, as the fleet takes it too.
            return (self._machine.comfy.vram_class_gib or 0) * GIB - IDLE_BYTES
        facts = self._machine.comfy.facts()
        cards = [each for each in (facts.devices if facts is not None else ()) if each.kind != "cpu"]
        return cards[0].vram_total_bytes if cards else None

    def _encodes(self) -> bool | None:
        """Whether the card encodes video; None for a card over there."""
        if self._machine.nvenc is not None:
            return self._machine.nvenc.usable
        if self._machine.gpu is not None or self._machine.comfy.is_emulator:
            return False
        return None
